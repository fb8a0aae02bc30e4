"""Ids of stretches of a video: `beach.mp4#t=30,60` is what lies between seconds 30 and 60 of `beach.mp4`.

The form is that of media fragments (W3C), so a path with such an end opens at that place in a browser.
"""

from __future__ import annotations

import re

import numpy as np

from hcq_cli.codes.strings import PackedStrings

FRAGMENT = re.compile(r"#t=([0-9]+(?:\.[0-9]+)?),([0-9]+(?:\.[0-9]+)?)\Z")
MARK, PACKED_FRAGMENT = re.compile(b"#t="), re.compile(FRAGMENT.pattern.encode())


def segment_id(video_id: str, start_s: float, end_s: float) -> str:
    """The id of the stretch between two times, seconds; they are rounded to tenths."""
    return f"{video_id}#t={round(start_s, 1):g},{round(end_s, 1):g}"


def video_of(item_id: str) -> str:
    """The id of the video that a stretch is of; any other id is its own."""
    return FRAGMENT.sub("", item_id)


def segment_start(item_id: str) -> float | None:
    """Where a stretch begins, seconds; None for whatever is no stretch."""
    found = FRAGMENT.search(item_id)
    return float(found[1]) if found else None


def find_segments(ids: PackedStrings) -> tuple[np.ndarray, PackedStrings]:
    """The stretches among `ids`: their rows int64 [n], ascending, and the ids of the videos they are of.

    Where there are none it takes one search through the bytes, which is all that most collections ever need.

    Raises:
        DamagedError: the offsets of `ids` do not fit their bytes.
    """
    places = np.array([match.start() for match in MARK.finditer(ids.blob.data)], np.int64)
    rows, videos = [], []
    for row in np.unique(np.searchsorted(ids.offsets[1:], places.astype(np.uint64), "right")).tolist():
        if row < len(ids) and (found := PACKED_FRAGMENT.search(raw := ids.raw(row))):
            rows.append(row)
            videos.append(raw[: found.start()])
    return np.array(rows, np.int64), PackedStrings.packed(videos)
