"""A job, how it may end, and the executor protocol: jobs go in, outcomes come out, whatever runs them.

Nothing in a job or an outcome is bound to one machine: a path, facts and names go out, counts and messages come back.
Files are read, hashed and decoded, and features are written, where the workers are. `local.WorkerPool` is the
executor on this machine; another one need only see the same files and the same feature store under the same names.

A job without a content hash asks for that hash alone: most files that were moved or copied are finished then, and no
expert has been loaded for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

from hcq_cli import files
from hcq_cli.features.records import VideoFacts

CHANGED = "it was changed while it was being read"
TOLD_BYTES = 1 << 30
"""Of what is larger it is told how far its reading is: on a network drive, or where most of it is a hole, that takes
minutes."""


@dataclass(frozen=True)
class Job:
    """One video to hash or to extract.

    Args:
        facts: of the file; its content hash is empty where the job is to find it, its duration is not known yet.
        identities: of the experts that are to look at it, what their features depend on.
        deaf: whether its sound is left alone, because the decoder has crashed with it.
    """

    facts: VideoFacts
    identities: dict[str, str] = field(default_factory=dict)
    deaf: bool = False

    @property
    def only_hash(self) -> bool:
        """Whether nothing is wanted but the hash of the file."""
        return not self.facts.content_hash

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Job:
        """The job that `to_json` described."""
        return cls(VideoFacts(**document["facts"]), document["identities"], document.get("deaf", False))


@dataclass(frozen=True)
class VideoWarning:
    """Something that went not quite right with a video.

    Args:
        message: for people.
        expert: the expert it is about; None for the video as a whole.
        path: of the file; empty where that goes without saying.
    """

    message: str
    expert: str | None = None
    path: str = ""

    def __str__(self) -> str:
        return f"{self.expert}: {self.message}" if self.expert else self.message


class Status(StrEnum):
    """How it ended with a video that did not fail: decoded; nothing was left to do; given what a duplicate has;
    waiting, as a duplicate, until all others are done; not looked at, because it was taken out of the collection."""

    EXTRACTED = "extracted"
    FINISHED = "finished"
    COPIED = "copied"
    WAITING = "waiting"
    REMOVED = "removed"


@dataclass
class Outcome:
    """What became of a job, done by an executor or found to need none.

    Args:
        error: why it gave nothing; None if it gave something.
        status: how it ended, if it gave something.
        known: whether the error is remembered from an earlier run.
        lasting: whether the error would come again with any experts, until the file changes.
        killed: whether the worker was killed from outside, so that the file need not be to blame.
        warnings: what went not quite right.
        decoder: the name of the decoder that read the file; empty if none could.
        duration_s: as decoded, or as the file says if that is longer; seconds.
        packets: packets read from the file.
        frames: frames decoded.
        content_hash: SHA-256 of the file, where only that was asked for.
    """

    error: str | None = None
    status: Status = Status.EXTRACTED
    known: bool = False
    lasting: bool = True
    killed: bool = False
    warnings: list[VideoWarning] = field(default_factory=list)
    decoder: str = ""
    duration_s: float = 0.0
    packets: int = 0
    frames: int = 0
    content_hash: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it; of a subclass the fields above alone."""
        # Not asdict(self): a subclass carries features, which it would copy.
        values = {each.name: getattr(self, each.name) for each in fields(Outcome)}
        return {**values, "warnings": [asdict(warning) for warning in self.warnings]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The outcome that `to_json` described."""
        warnings = [VideoWarning(**warning) for warning in document["warnings"]]
        return cls(**{**document, "status": Status(document["status"]), "warnings": warnings})


class Executor(Protocol):
    """Runs jobs. Used by one thread.

    Attributes:
        networks_s: how long networks have run in a process of their own, seconds; known when all is done.
    """

    networks_s: float

    @property
    def slots(self) -> int:
        """How many jobs may be submitted and not taken back; more than can run at once, so that none waits."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job; does not wait."""
        ...

    def next_outcome(self) -> tuple[Job, Outcome]:
        """Wait for a job to be done, in whatever order. Whatever becomes of a file is told in the outcome.

        Raises:
            HcqError: nothing can be run any more: no worker can be started, or the store cannot be written.
        """
        ...


def hash_file(job: Job, on_reading: Callable[[str], None] = lambda line: None) -> Outcome:
    """Do a job that asks for the hash of its file.

    Args:
        job: which asks for it.
        on_reading: told how far it is, for people, where that takes a while.
    """
    size, name = job.facts.size, Path(job.facts.path).name

    def on_read(done: int) -> None:
        if done > size:  # it may grow as fast as it is read
            raise OSError(CHANGED)
        if done >= TOLD_BYTES:
            on_reading(f"reading {done / 1e9:.1f} of {size / 1e9:.1f} GB  {name[:40]}")

    try:
        return Outcome(content_hash=files.digest_file(Path(job.facts.path), on_read=on_read))
    except OSError as error:
        return Outcome(error=error.strerror or str(error), lasting=False)
