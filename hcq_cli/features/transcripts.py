"""The transcripts of a store, `words.jsonl`: what was said in a video and what was written on screen, to be read.

    {"id": "talk.mp4", "content_hash": "…", "expert": "ocr", "identity": "…",
     "words": [[12.0, "Chapter one"], …], "spans": [[12.0, 14.0], …]}

A line a video and expert, appended by whichever process found it, before its features are safe; the last line about a
content counts. The features hold the same as vectors: losing this file costs nothing but the reading.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hcq_cli.errors import DamagedError
from hcq_cli.features.records import VideoFeatures
from hcq_cli.files import append_lines, digest_bytes, open_regular, read_regular
from hcq_cli.headers import decode

TRANSCRIPTS = "words.jsonl"
Transcript = list[tuple[float, str]]
"""Times in seconds, and what was said or shown then."""
TimedWords = tuple[float, float, str]
"""Begin and end in seconds, and what was said or shown between them."""


@dataclass(frozen=True)
class _Line:
    content_hash: str
    expert: str
    words: Transcript
    spans: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.spans and len(self.spans) != len(self.words):
            raise ValueError(f"{len(self.spans)} spans of {len(self.words)} words")

    def timed(self) -> list[TimedWords]:
        """The words with begin and end; where an earlier hcq wrote none, both are the time of the words."""
        times = self.spans or [(at, at) for at, _ in self.words]
        return [(begin, end, text) for (begin, end), (_, text) in zip(times, self.words, strict=True)]


def write_transcripts(folder: Path, video: VideoFeatures, log: str = TRANSCRIPTS) -> None:
    """Append what the experts of a video read or heard; any number of processes may do it at once.

    Args:
        folder: the store.
        video: tokens of an expert that recognises words carry them.
        log: the file of the store that they go to; another one is put behind `TRANSCRIPTS` later.
    """
    lines = []
    for expert, tokens in video.tokens.items():
        if tokens.words:
            words = [[round(float(at), 3), text] for at, text in zip(tokens.times, tokens.words, strict=True)]
            about = {"id": video.id, "content_hash": video.content_hash, "expert": expert}
            spans = [[round(begin, 3), round(end, 3)] for begin, end in tokens.spans]
            identity = video.identities.get(expert, "")
            lines.append(json.dumps({**about, "identity": identity, "words": words, "spans": spans}))
    if lines:
        # A line break before, too: a process that was killed may have left half a line.
        append_lines(folder / log, "".join(f"\n{line}\n" for line in lines).encode())


def take_in_transcripts(folder: Path, logs: Path) -> None:
    """Put what runs without the writer lock have noted in `logs` behind what the store has; needs the lock."""
    for other in sorted(logs.glob("words-*.jsonl")):
        # Taken away first: its run may be at work, and what it notes meanwhile begins a new one.
        taken = other.replace(other.with_name(f"words-{secrets.token_hex(8)}.jsonl"))
        append_lines(folder / TRANSCRIPTS, b"\n" + read_regular(taken))
        taken.unlink()


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


class Transcripts:
    """The transcripts of a store, to be looked up for many videos: the file is gone through once.

    Where each lies is noted in a file without a name, which goes with the process: a list of a million would not be
    small.

    Args:
        folder: the store.
    """

    def __init__(self, folder: Path) -> None:
        import sqlite3

        self._places = sqlite3.connect("", isolation_level=None)  # a temporary file, of which a little is in memory
        columns = "content TEXT, expert TEXT, at INTEGER, PRIMARY KEY(content, expert)"
        self._places.execute(f"CREATE TABLE places({columns})")
        self._places.execute("BEGIN")
        self._lines = None
        with suppress(FileNotFoundError):
            self._lines = os.fdopen(open_regular(folder / TRANSCRIPTS), "rb")
        at = 0
        for line in self._lines or ():
            if line.strip():
                with suppress(DamagedError):  # a torn line
                    record = decode(_Line, line, TRANSCRIPTS)
                    place = (record.content_hash, record.expert, at)
                    self._places.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", place)
            at += len(line)

    def of(self, content_hash: str) -> dict[str, list[TimedWords]]:
        """What was said or shown in a video with some content, by the expert that found it."""
        found = {}
        places = "SELECT expert, at FROM places WHERE content = ? ORDER BY expert"
        for expert, at in self._places.execute(places, (content_hash,)).fetchall():
            assert self._lines is not None
            self._lines.seek(at)
            found[expert] = decode(_Line, self._lines.readline(), TRANSCRIPTS).timed()
        return found


def transcripts_digest(folder: Path) -> str:
    """What every new transcript of a store changes, read in no time: their bytes in all, and the last of them."""
    with suppress(FileNotFoundError), os.fdopen(open_regular(folder / TRANSCRIPTS), "rb") as lines:
        size = lines.seek(0, os.SEEK_END)
        lines.seek(max(0, size - (1 << 16)))
        return digest_bytes(str(size).encode(), lines.read())
    return ""
