"""`hcq bench`: what its commands take, and what they refuse at once."""

from __future__ import annotations

import pytest
from in_process import run_here


@pytest.mark.parametrize("name", ["search", "train", "encode", "extract"])
def test_every_bench_has_help_with_examples(name: str) -> None:
    shown = run_here("bench", name, "--help").out
    assert f"hcq bench {name}" in shown and "Examples" in shown


def test_experts_need_a_width() -> None:
    assert "--experts" in run_here("bench", "train", "--experts", "look", code=2).err
