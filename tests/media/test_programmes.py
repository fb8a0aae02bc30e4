"""What the tables of a transport stream say of its tracks; tests/media/test_clock.py has films of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.media.programmes import entries, goes_on, parts_of

VIDEO, AUDIO, OTHER_AUDIO = (256, 0x1B), (257, 0x0F), (258, 0x81)


@pytest.mark.parametrize(
    ("before", "now", "goes"),
    [
        (set(), {VIDEO}, True),
        ({VIDEO, AUDIO}, {VIDEO, AUDIO, OTHER_AUDIO}, True),
        ({VIDEO, AUDIO}, {VIDEO}, True),  # the sound is over, the pictures go on
        ({VIDEO}, {VIDEO, AUDIO}, False),
        ({VIDEO, AUDIO}, {VIDEO, OTHER_AUDIO}, False),
        ({VIDEO, AUDIO}, {(256, 0x24), AUDIO}, False),
    ],
)
def test_a_part_ends_where_none_of_its_tracks_goes_on(before: set, now: set, goes: bool) -> None:
    assert goes_on(before, now) == goes


@given(st.binary(min_size=183, max_size=183))
def test_a_table_may_say_anything(table: bytes) -> None:
    entries(bytes([table[0] & 2]) + b"\xb0\x20" + table[3:])


def test_noise_is_one_part(tmp_path: Path) -> None:
    path = tmp_path / "noise.ts"
    path.write_bytes(b"G@\0\x10\0\0\xb0\x0d\0\0\xff\0\0\0\1\xf0\0" * 400 + bytes(range(256)) * 100)
    assert parts_of(str(path)) == [(0, path.stat().st_size)]
