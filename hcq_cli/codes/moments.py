"""Ids of stretches of a video: `beach.mp4#t=30,60` is what lies between seconds 30 and 60 of `beach.mp4`.

The form is that of media fragments (W3C), so a path with such an end opens at that place in a browser.
"""

from __future__ import annotations

import re

FRAGMENT = re.compile(r"#t=(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)\Z")


def moment_id(video_id: str, start_s: float, end_s: float) -> str:
    """The id of the stretch between two times, seconds; they are rounded to tenths."""
    return f"{video_id}#t={round(start_s, 1):g},{round(end_s, 1):g}"


def video_of(item_id: str) -> str:
    """The id of the video that a stretch is of; any other id is its own."""
    return FRAGMENT.sub("", item_id)


def is_stretch_of(item_id: str, video_id: str) -> bool:
    """Whether an id is that of a stretch of this video."""
    return item_id != video_id and video_of(item_id) == video_id


def start_of(item_id: str) -> float | None:
    """Where a stretch begins, seconds; None for whatever is no stretch."""
    found = FRAGMENT.search(item_id)
    return float(found[1]) if found else None
