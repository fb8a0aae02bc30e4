"""What is shown of a name neither breaks a line nor turns it around."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.printable import printable


@given(st.text(st.characters(codec=None)))
def test_whatever_is_shown_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()


def test_what_can_be_printed_stays_and_the_rest_is_escaped() -> None:
    assert printable('été "日本" 🎬') == 'été "日本" 🎬'
    assert printable("a\nb\x1b[31m\u202eexe\udcff") == "a\\nb\\x1b[31m\\u202eexe\\xff"
