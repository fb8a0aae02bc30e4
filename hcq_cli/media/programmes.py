"""Where in a transport stream another one begins that numbers its tracks otherwise.

FFmpeg goes on with the tracks that it has found at the beginning. Where recordings of several recorders or stations
were joined byte by byte, the second one's pictures may have another number (PID) or another codec, and are lost, or
the number of its sound. Which tracks follow, the tables in the stream say (PAT and PMT, ISO/IEC 13818-1, 2.4.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hcq_cli.media.sniffing import windows

PACKET_BYTES = 188
TABLE = re.compile(rb"\x47([\x40-\x7f])(.)[\x10-\x1f]\x00([\x00\x02]).{182}", re.S)
"""A packet in which a table begins: the number of its track, and whether it lists programmes (0) or tracks (2)."""
PICTURES = {0x01, 0x02, 0x10, 0x1B, 0x20, 0x21, 0x24, 0x33, 0x42, 0xD1, 0xD2, 0xEA}
"""Types of tracks with pictures, from MPEG-1 to H.266; all others count as sound."""
MOST_PARTS = 100
MOST_TABLES = 10_000
"""So many are remembered; noise may look like more."""

Track = tuple[int, int]
"""Number and type."""


def begins_of(path: str) -> list[int]:
    """The first byte of each stretch of a transport stream that goes on with the same tracks.

    Raises:
        OSError: it cannot be read.
    """
    begins, part, listed = [0], set[Track](), set[tuple[int, int]]()
    sections: dict[bytes, set[tuple[int, int]]] = {}  # of the list of programmes, by its number
    programmes: dict[tuple[int, int], set[Track]] = {}  # by a programme's number, and where its own list is
    for at, number, table in tables(path):
        numbers, programme = entries(table), (int.from_bytes(table[3:5]), number)
        if number == 0:
            if any(own[:2] != table[3:5] for own in sections):  # another stream, whatever its programmes are called
                programmes = {}
            # Those of one list have the same stream and version before their number, which is at most the last one's.
            sections = {
                own: some for own, some in sections.items() if own[:3] == table[3:6] and own[3:] <= table[7:8]
            }
            sections[table[3:7]] = {entry for entry in numbers if entry[0]}
            listed = set().union(*sections.values())
            programmes = {each: tracks for each, tracks in programmes.items() if each in listed}
        elif programme in listed:
            # One more programme beside another, whose own list had not come yet, is no new part.
            beside = programme not in programmes and bool(programmes)
            programmes[programme] = set(numbers)
            tracks = set().union(*programmes.values())
            if beside or goes_on(part, tracks):
                part |= tracks
            elif len(begins) < MOST_PARTS:
                part = tracks
                begins.append(at)
    return begins


def goes_on(part: set[Track], tracks: set[Track]) -> bool:
    """Whether of the pictures, and of the sound, some track of `tracks` is one of `part`, or none is needed."""
    for seen in (True, False):
        before, now = ({track for track in of if (track[1] in PICTURES) == seen} for of in (part, tracks))
        if part and now and not before & now:
            return False
    return True


def tables(path: str) -> Iterator[tuple[int, int, bytes]]:
    """Of each table that says something new: the byte of the last list of programmes, its own track, its section."""
    last: dict[tuple[int, bytes, int], bytes] = {}  # by its track, its programme or stream, and its number
    listed_at = 0
    for at, data in windows(path, PACKET_BYTES - 1):
        for match in TABLE.finditer(data):
            number, section = int.from_bytes(match[1] + match[2]) & 0x1FFF, match[0][5:]
            if (match[3] == b"\0") != (number == 0):
                continue
            if number == 0:
                listed_at = at + match.start()
            which = number, section[3:5], section[6]
            if last.get(which) != section:
                if number == 0 or len(last) > MOST_TABLES:  # all count anew but the rest of that list
                    last = {other: said for other, said in last.items() if number == 0 and other[:2] == which[:2]}
                last[which] = section
                if section[5] & 1 and int.from_bytes(section[1:3]) & 0xFFF <= len(section) - 3:
                    yield listed_at, number, section


def entries(table: bytes) -> list[tuple[int, int]]:
    """Of a list of programmes: number and where its own list is. Of a programme's tracks: number and type."""
    end = 3 + (int.from_bytes(table[1:3]) & 0xFFF) - 4  # a checksum follows
    if table[0] == 0:
        words = [int.from_bytes(table[at : at + 2]) for at in range(8, end - 1, 2)]
        return [(number, pid & 0x1FFF) for number, pid in zip(words[::2], words[1::2], strict=False)]
    found, at = list[tuple[int, int]](), 12 + (int.from_bytes(table[10:12]) & 0xFFF)
    while at + 5 <= end:
        found.append((int.from_bytes(table[at + 1 : at + 3]) & 0x1FFF, table[at]))
        at += 5 + (int.from_bytes(table[at + 3 : at + 5]) & 0xFFF)
    return found
