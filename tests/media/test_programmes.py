"""What the tables of a transport stream say of its tracks; tests/media/test_clock.py has films of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.media.programmes import begins_of, entries, goes_on

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


def packet(number: int, table: int, body: bytes) -> bytes:
    """A table in a packet of the track `number`, with no right checksum."""
    section = bytes([table]) + (0xB000 | len(body) + 4).to_bytes(2) + body + bytes(4)
    return b"\x47" + (0x4000 | number).to_bytes(2) + b"\x10\0" + section.ljust(183, b"\xff")


def programmes(tables: dict[int, int], section: int = 0, last: int = 0, stream: int = 1) -> bytes:
    """A list of the programmes of a stream, each with the number of the track of its own list."""
    listed = b"".join(programme.to_bytes(2) + (0xE000 | at).to_bytes(2) for programme, at in tables.items())
    return packet(0, 0, bytes([0, stream, 0xC1, section, last]) + listed)


def tracks(at: int, programme: int, *tracks: tuple[int, int]) -> bytes:
    """The list of a programme's tracks."""
    listed = b"".join(bytes([kind]) + (0xE000 | number).to_bytes(2) + b"\xf0\0" for number, kind in tracks)
    return packet(at, 2, programme.to_bytes(2) + b"\xc1\0\0\xe1\0\xf0\0" + listed)


@pytest.mark.parametrize(
    "begin",
    [
        programmes({1: 32, 2: 33}) + tracks(32, 1, (300, 3)) + tracks(33, 2, VIDEO, AUDIO),
        programmes({1: 32, 2: 32}) + tracks(32, 1, (300, 0x1B), (301, 3)) + tracks(32, 2, VIDEO, AUDIO),
        programmes({1: 32}, 0, 1) + programmes({2: 33}, 1, 1) + tracks(32, 1, (300, 3)) + tracks(33, 2, VIDEO, AUDIO),
    ],
    ids=["radio first", "lists of two programmes in one track", "list of programmes in two sections"],
)
def test_programmes_beside_one_another_are_one_part(tmp_path: Path, begin: bytes) -> None:
    path = tmp_path / "several.ts"
    path.write_bytes(3 * begin)
    assert begins_of(str(path)) == [0]
    other = programmes({7: 40}) + tracks(40, 7, (400, 0x1B), (401, 3))
    path.write_bytes(3 * begin + 2 * other)
    assert begins_of(str(path)) == [0, len(3 * begin)]


def test_another_stream_with_the_programme_of_the_first_and_one_beside_is_a_part(tmp_path: Path) -> None:
    first = programmes({1: 32}) + tracks(32, 1, VIDEO, AUDIO)
    beside = tracks(33, 2, (300, 0x1B), (301, 3))
    second = programmes({1: 32, 2: 33}, stream=2) + beside + tracks(32, 1, (400, 0x1B), (401, 3))
    path = tmp_path / "joined.ts"
    path.write_bytes(2 * first + 2 * second)
    assert begins_of(str(path)) == [0, len(2 * first)]


def test_noise_is_one_part(tmp_path: Path) -> None:
    path = tmp_path / "noise.ts"
    path.write_bytes(b"G@\0\x10\0\0\xb0\x0d\0\0\xff\0\0\0\1\xf0\0" * 400 + bytes(range(256)) * 100)
    assert begins_of(str(path)) == [0]
