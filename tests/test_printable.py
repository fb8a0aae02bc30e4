"""What is shown of a name neither breaks a line nor turns it around; a second is shown as players do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.printable import clock, counted, printable


@given(st.text(st.characters(codec=None)))
def test_whatever_is_shown_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()


def test_what_can_be_printed_stays_and_the_rest_is_escaped() -> None:
    assert printable('été "日本" 🎬') == 'été "日本" 🎬'
    assert printable("a\nb\x1b[31m\u202eexe\udcff") == "a\\nb\\x1b[31m\\u202eexe\\xff"


def test_seconds_are_written_as_players_do() -> None:
    assert [clock(s) for s in (0, 7.9, 65, 3723)] == ["0:00", "0:07", "1:05", "1:02:03"]


def test_one_of_a_thing_is_no_plural() -> None:
    assert [counted(n, "shard") for n in (0, 1, 2, 20_000)] == ["0 shards", "1 shard", "2 shards", "20,000 shards"]
