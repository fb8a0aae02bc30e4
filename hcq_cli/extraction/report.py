"""What an extraction tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hcq_cli.errors import EXIT_SOME_FAILED
from hcq_cli.extraction.executor import VideoWarning
from hcq_cli.extraction.plan import Settled, Status
from hcq_cli.media.inputs import FailedFile, Inputs


@dataclass
class ExtractReport:
    """What an extraction did.

    Args:
        videos: inputs, the failed ones included.
        extracted: decoded in this run.
        skipped: finished before.
        duplicates: given the features of another file with the same bytes.
        failed: those that gave nothing.
        warnings: what went not quite right in this run, each with the path that it is about.
        states: for each expert, how many of the extracted, copied and skipped videos have each state.
        media_s: duration of what was extracted, seconds.
        seconds: of the run.
        decoders: how many videos each decoder read.
        packets: packets read.
        frames: frames decoded.
        networks_s: how long networks ran, where they have a process of their own; seconds.
    """

    videos: int = 0
    extracted: int = 0
    skipped: int = 0
    duplicates: int = 0
    failed: list[FailedFile] = field(default_factory=list)
    warnings: list[VideoWarning] = field(default_factory=list)
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    media_s: float = 0.0
    seconds: float = 0.0
    decoders: dict[str, int] = field(default_factory=dict)
    packets: int = 0
    frames: int = 0
    networks_s: float = 0.0

    @classmethod
    def begin(cls, inputs: Inputs) -> ExtractReport:
        """The report before anything is done: what cannot be read has failed already."""
        return cls(videos=len(inputs.videos) + len(inputs.unusable), failed=list(inputs.unusable))

    @property
    def done(self) -> int:
        """Inputs that have been dealt with."""
        return self.extracted + self.skipped + self.duplicates + len(self.failed)

    @property
    def exit_code(self) -> int:
        """What the command ends with: 3 where some inputs failed, else 0."""
        return EXIT_SOME_FAILED if self.failed else 0

    def count(self, settled: Settled) -> None:
        """Count a video with which nothing more is to be done."""
        outcome, path = settled.outcome, settled.facts.path
        self.packets += outcome.packets
        self.frames += outcome.frames
        self.warnings += [replace(warning, path=path) for warning in outcome.warnings]
        if settled.status is Status.FAILED:
            self.failed.append(settled.failed_file)
        elif settled.status is Status.FINISHED:
            self.skipped += 1
        elif settled.status is Status.COPIED:
            self.duplicates += 1
        else:
            self.extracted += 1
            self.media_s += outcome.duration_s
            self.decoders[outcome.decoder] = self.decoders.get(outcome.decoder, 0) + 1

    def warn_of_store(self, store: Path, messages: Sequence[str]) -> None:
        """Add warnings that are about the feature store."""
        self.warnings += [VideoWarning(message, path=str(store)) for message in messages]
