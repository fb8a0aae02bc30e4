"""The transcripts of a store, `words.jsonl`: what was said in a video and what was written on screen, to be read.

    {"id": "talk.mp4", "content_hash": "…", "expert": "ocr", "identity": "…", "words": [[12.0, "Chapter one"], …]}

A line a video and expert, appended by whichever process found it, before its features are safe; the last line about a
content counts. The features hold the same as vectors: losing this file costs nothing but the reading.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hcq_cli.errors import DamagedError
from hcq_cli.features.records import VideoFeatures
from hcq_cli.files import append_lines, open_regular
from hcq_cli.headers import decode

TRANSCRIPTS = "words.jsonl"
Transcript = list[tuple[float, str]]
"""Times in seconds, and what was said or shown then."""


@dataclass(frozen=True)
class _Line:
    content_hash: str
    expert: str
    words: Transcript


def write_transcripts(folder: Path, video: VideoFeatures) -> None:
    """Append what the experts of a video read or heard; any number of processes may do it at once.

    Args:
        folder: the store.
        video: tokens of an expert that recognises words carry them.
    """
    lines = []
    for expert, tokens in video.tokens.items():
        if tokens.words:
            words = [[round(float(at), 3), text] for at, text in zip(tokens.times, tokens.words, strict=True)]
            about = {"id": video.id, "content_hash": video.content_hash, "expert": expert}
            lines.append(json.dumps({**about, "identity": video.identities.get(expert, ""), "words": words}))
    if lines:
        # A line break before, too: a process that was killed may have left half a line.
        append_lines(folder / TRANSCRIPTS, "".join(f"\n{line}\n" for line in lines).encode())


def read_transcripts(folder: Path, content_hash: str) -> dict[str, Transcript]:
    """The transcripts of one video, by the expert that found them.

    Args:
        folder: the store.
        content_hash: of the file, whatever its id: files with the same bytes say the same.
    """
    found: dict[str, Transcript] = {}
    with suppress(FileNotFoundError), os.fdopen(open_regular(folder / TRANSCRIPTS), "rb") as lines:
        for line in lines:  # one at a time: the file may be large, and most lines are about other videos
            if content_hash.encode("utf-8", "replace") in line:
                with suppress(DamagedError):  # a torn line
                    record = decode(_Line, line, TRANSCRIPTS)
                    if record.content_hash == content_hash:
                        found[record.expert] = record.words
    return found
