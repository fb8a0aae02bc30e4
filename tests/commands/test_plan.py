"""`hcq plan` as a person sees it."""

from __future__ import annotations

import pytest
from in_process import run_here

from hcq_cli.commands.plan import _duration


def test_table_and_json(clips, tmp_path):
    place = ("-w", tmp_path / "work", "--experts", "audio", "--workers", "1")
    shown = run_here("plan", clips, *place).out
    assert shown.startswith("6 videos, 9 s, ") and "as asked" in shown and " 1.5 KB" in shown
    document = run_here("plan", clips, *place, "--json").json
    assert document["videos"] == 6 and document["costs"][0]["experts"] == ["audio"]


@pytest.mark.parametrize(("seconds", "text"), [(38, "38 s"), (720, "12 min"), (12600, "3.5 h"), (362880, "4.2 days")])
def test_durations_read_well(seconds, text):
    assert _duration(seconds) == text
