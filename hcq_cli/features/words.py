"""`words.jsonl` of a store: what was said in a video and what was written on screen, for a person to read.

    {"id": "talk.mp4", "content_hash": "…", "expert": "ocr", "identity": "…", "words": [[12.0, "Chapter one"], …]}

A line a video and expert, appended by whichever process found it, before its features are safe; the last line about a
content counts. The features hold the same as vectors: losing this file costs nothing but the reading.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hcq_cli.features.records import VideoFeatures

WORDS = "words.jsonl"
Said = list[tuple[float, str]]
"""Times in seconds, and what was said or shown then."""


def write_words(folder: Path, video: VideoFeatures) -> None:
    """Append the words of a video; any number of processes may do it at once."""
    lines = []
    for expert, tokens in video.tokens.items():
        if tokens.words:
            said = [[round(float(at), 3), text] for at, text in zip(tokens.times, tokens.words, strict=True)]
            about = {"id": video.id, "content_hash": video.content_hash, "expert": expert}
            lines.append(json.dumps({**about, "identity": video.identities.get(expert, ""), "words": said}))
    if lines:
        # A line break before, too: a process that was killed may have left half a line.
        text = "".join(f"\n{line}\n" for line in lines).encode()
        handle = os.open(folder / WORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, text)
        finally:
            os.close(handle)


def read_words(folder: Path, content_hash: str) -> dict[str, Said]:
    """The words of one video, by the expert that found them.

    Args:
        folder: the store.
        content_hash: of the file, whatever its id: files with the same bytes say the same.
    """
    found: dict[str, Said] = {}
    for record in _records(folder / WORDS):
        if record.get("content_hash") == content_hash:
            with suppress(KeyError, TypeError, ValueError):
                found[str(record["expert"])] = [(float(at), str(text)) for at, text in record["words"]]
    return found


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that can be read, one at a time."""
    with suppress(FileNotFoundError), path.open("rb") as lines:
        for line in lines:
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    yield record
