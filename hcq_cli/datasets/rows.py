"""What a caption file says, row by row, in any format: a `CaptionRow`, or the `Problem` of a line that is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

VIDEO_KEYS = (
    *("video", "file_name", "video_id", "file", "videoid", "filename", "video_name", "video_file", "video_path"),
    *("file_path", "filepath", "path", "clip", "name", "id"),
)
CAPTION_KEYS = (
    *("captions", "caption", "text", "sentence", "encap", "description", "sentences", "caption_en", "script"),
    *("descriptions", "title"),
)
"""Keys and columns that are understood, as `plain_key` writes them; the first one present counts."""
BOM = b"\xef\xbb\xbf"
"""Byte order mark that Excel and Windows put before UTF-8."""
HINT = (
    'write one {"video": "a.mp4", "caption": "a man cooking"} a line (JSON Lines), or a CSV file with the columns '
    "video and caption"
)


@dataclass(frozen=True)
class Problem:
    """What is wrong with one line of a file.

    Args:
        line: its number, from 1; 0 for the file as a whole.
        message: what is wrong, in words.
        warning: whether the line is used all the same.
    """

    line: int
    message: str
    warning: bool = False


@dataclass(frozen=True)
class CaptionRow:
    """What one line says, not yet judged: the captions may be empty and the split unknown.

    Args:
        line: its number, from 1.
        video: the video's name.
        captions: at least one.
        split: the name of its part as written; None where the file does not say.
    """

    line: int
    video: str
    captions: list[str]
    split: str | None


Reader = Callable[[Path], Iterator[CaptionRow | Problem]]


@lru_cache(1024)  # not all: keys may be the names of a million videos
def plain_key(name: str) -> str:
    """The name of a key or column as it is compared: `Video Name` is `video_name`."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def first_key(row: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    """The name that the first of `keys` has in a row, of those that have a value there."""
    there = {plain_key(name): name for name, value in reversed(row.items()) if value is not None}
    return next((there[key] for key in keys if key in there), None)


def shown(value: Any) -> str:
    """The beginning of a value, for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:40] + "…"


def interpret(row: dict[str, Any], line: int, prefix: str = "") -> CaptionRow | Problem:
    """A row of any format, given as a dict, as a `CaptionRow`; a `Problem` if it names no video or no text.

    Args:
        row: keys and values; unknown keys are left alone.
        line: its line in the file.
        prefix: put before the problem's message (which entry of the line it is).
    """
    video_key, caption_key = first_key(row, VIDEO_KEYS), first_key(row, CAPTION_KEYS)
    if video_key is None:
        return Problem(line, f'{prefix}no "video"')
    video = row[video_key]
    if not isinstance(video, str) or not video.strip():
        return Problem(line, f'{prefix}"{video_key}" must be the name of a video, not {shown(video)}')
    if caption_key is None:
        return Problem(line, f'{prefix}no "caption" for {video!r}')
    captions = row[caption_key]
    if isinstance(captions, str) or (caption_key != "captions" and not isinstance(captions, list)):
        captions = [captions]
    if not isinstance(captions, list) or not captions:
        return Problem(line, f'{prefix}"{caption_key}" must be a list of sentences, not {shown(captions)}')
    wrong = [caption for caption in captions if not isinstance(caption, str)]
    if wrong:
        return Problem(line, f'{prefix}"{caption_key}" of {video!r} must be text, not {shown(wrong[0])}')
    split = row.get("split")
    if split is not None and not isinstance(split, str):
        return Problem(line, f'{prefix}"split" must be text, not {shown(split)}')
    return CaptionRow(line, video, captions, split)
