"""Sentences for other programs: subtitles that players show (.srt, .vtt), or a line of JSON each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import PurePosixPath

from hcq_cli.words.sentences import Sentence

FORMATS = ("srt", "vtt", "jsonl")
SHOWN_S = 2.0
"""How long a line is shown at least, seconds, if no other begins."""


def exported(sentences: Iterable[Sentence], format: str, **about: str) -> Iterator[str]:
    """The text of a file, in pieces.

    Args:
        sentences: of one video.
        format: one of `FORMATS`; subtitles take what has a time, in its order.
        about: what each line of JSON also says (the video's id and path).
    """
    if format == "jsonl":
        for sentence in sentences:
            yield json.dumps({**about, **asdict(sentence)}, ensure_ascii=True) + "\n"
        return
    timed = sorted((each.start_s, each.end_s or 0.0, each.text) for each in sentences if each.start_s is not None)
    point = "," if format == "srt" else "."
    if format == "vtt":
        yield "WEBVTT\n\n"
    for number, (start_s, end_s, text) in enumerate(timed, 1):
        following = next((start for start, _, _ in timed[number : number + 50] if start > start_s), start_s + SHOWN_S)
        shown = end_s if end_s > start_s else min(start_s + SHOWN_S, following)
        times = f"{_clock(start_s, point)} --> {_clock(shown, point)}"
        # Arrows and ampersands mean something in .vtt; players of .srt show them as they are.
        plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") if format == "vtt" else text
        yield f"{number}\n{times}\n{plain}\n\n" if format == "srt" else f"{times}\n{plain}\n\n"


def _clock(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"


def file_of(video_id: str, format: str) -> PurePosixPath:
    """The file of a video's words below a folder: the id with another ending, and never outside of the folder."""
    parts = [part for part in PurePosixPath(video_id).parts if part not in ("..", ".", "/")] or ["video"]
    return PurePosixPath(*parts[:-1], f"{parts[-1]}.{format}")
