"""Ids of videos, and of their segments in time.

`beach.mp4#t=30,60` is what lies between seconds 30 and 60 of `beach.mp4`. The form is that of media fragments
(https://www.w3.org/TR/media-frags/), so a path with such an end opens at that place in a browser.
"""

from __future__ import annotations

import re

import numpy as np

from hcq_cli.packed_strings import PackedStrings

FRAGMENT = re.compile(r"#t=([0-9]+(?:\.[0-9]+)?),([0-9]+(?:\.[0-9]+)?)\Z")
SECOND = re.compile(r"#t=([0-9]+(?:\.[0-9]+)?)\Z")
FRAGMENT_START, PACKED_FRAGMENT = re.compile(b"#t="), re.compile(FRAGMENT.pattern.encode())


def segment_id(video_id: str, start_s: float, end_s: float) -> str:
    """The id of the segment between two times, seconds; they are rounded to tenths."""
    return f"{video_id}#t={round(start_s, 1):.12g},{round(end_s, 1):.12g}"


def video_of(item_id: str) -> str:
    """The id of the video that a segment is of; any other id is its own."""
    return FRAGMENT.sub("", item_id) if "#" in item_id else item_id


def segment_times(item_id: str) -> tuple[float, float] | None:
    """Where a segment begins and ends, seconds; None for whatever is no segment."""
    found = FRAGMENT.search(item_id)
    return (float(found[1]), float(found[2])) if found else None


def second_of(item_id: str) -> tuple[str, float | None]:
    """A video's id and a second in it, of an id with a second alone (`beach.mp4#t=30`); of any other None."""
    found = SECOND.search(item_id)
    return (item_id[: found.start()], float(found[1])) if found else (item_id, None)


LONGEST_MS = 2**32 - 1
"""Times of segments are kept in 32 bits: 49 days."""


def find_segments(ids: PackedStrings) -> tuple[np.ndarray, PackedStrings, np.ndarray]:
    """The segments among `ids`: their rows int64 [n], ascending, the ids of the videos they are of, and where they
    begin and end, uint32 [n, 2] milliseconds.

    Raises:
        DamagedError: the offsets of `ids` do not fit their bytes.
    """
    # One search through the bytes of all ids at once; where it finds nothing, which is so for most, no id is decoded.
    places = np.array([match.start() for match in FRAGMENT_START.finditer(ids.blob.data)], np.int64)
    rows, videos, times = [], [], []
    for row in np.unique(np.searchsorted(ids.offsets[1:], places.astype(np.uint64), "right")).tolist():
        if row < len(ids) and (found := PACKED_FRAGMENT.search(raw := ids.raw(row))):
            rows.append(row)
            videos.append(raw[: found.start()])
            times += [round(min(float(second) * 1000, LONGEST_MS)) for second in found.groups()]
    return np.array(rows, np.int64), PackedStrings.packed(videos), np.array(times, np.uint32).reshape(-1, 2)
