"""What the parent and a worker process say to each other: a JSON message a line, over the worker's stdin and stdout.

    parent -> worker   Setup, once; then a Job a video
    worker -> parent   {"ready": true} or {"error": …, "hint": …}, once; then for each job {"duration_s": …} when
                       the file could be opened, {"alive": true} now and then while it waits for a network, and an
                       Answer; or instead of it {"memory": true}, and the worker ends, or {"fatal": …, "hint": …} if
                       the store cannot be written or the process that runs the networks is gone

Names of files travel as JSON strings with lone surrogates for undecodable bytes, so that any name survives.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know before its first job.

    Args:
        experts: as `experts.registry.load` takes them.
        device: "auto", "cpu", "cuda" or "mps".
        decoder: see `decoder.chain`.
        store: the feature store's folder.
        sample_fps: frames a second for every expert that sees; None leaves it to the expert.
        max_seconds: what lies later in a video is left out; None for all.
        memory_bytes: the most memory the worker may take; 0 for no limit.
        parent: process id of the parent.
        decode_only: decode everything and ask no expert (a measurement).
        inference: where the process listens that runs the networks; empty if there is none.
    """

    experts: list[str]
    device: str
    decoder: str
    store: str
    sample_fps: float | None
    max_seconds: float | None
    memory_bytes: int
    parent: int
    decode_only: bool = False
    inference: str = ""


@dataclass(frozen=True)
class Job:
    """One video to extract.

    Args:
        id: its id in the store.
        path: the file, absolute.
        content_hash: SHA-256 of the file.
        size: bytes, when it was hashed.
        mtime_ns: modification time, when it was hashed.
        experts: names of those that are missing.
        identities: what the features of each of them depend on.
    """

    id: str
    path: str
    content_hash: str
    size: int
    mtime_ns: int
    experts: list[str]
    identities: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What became of a job.

    Args:
        error: why it gave nothing; None if it gave something.
        lasting: whether the error is worth remembering until the file changes.
        states: by the expert's name.
        warnings: [expert or None, message] each.
        decoder: the decoder that read it.
        duration_s: of the video, seconds.
        packets: packets read from the file.
        frames: frames decoded.
        seconds: how long the worker took.
    """

    error: str | None = None
    lasting: bool = True
    states: dict[str, str] = field(default_factory=dict)
    warnings: list[tuple[str | None, str]] = field(default_factory=list)
    decoder: str = ""
    duration_s: float = 0.0
    packets: int = 0
    frames: int = 0
    seconds: float = 0.0


def line(message: Setup | Job | Answer | dict[str, Any]) -> bytes:
    """A message as a line."""
    document = message if isinstance(message, dict) else asdict(message)
    return json.dumps(document, ensure_ascii=True).encode() + b"\n"


def parse(text: bytes) -> dict[str, Any]:
    """A line as a dictionary.

    Raises:
        ValueError: it is no message.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("no message")
    return document
