"""What an extraction did: counts, failures, warnings, and what became of each expert's work."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hcq_cli.errors import EXIT_SOME_FAILED
from hcq_cli.extraction.executor import Job, Outcome, Status, VideoWarning
from hcq_cli.extraction.vanished import Vanished
from hcq_cli.media.inputs import FailedFile, PassedOver
from hcq_cli.shares import Share


@dataclass
class ExtractReport:
    """What an extraction did.

    Args:
        videos: inputs, the failed ones included.
        extracted: decoded in this run.
        skipped: finished before.
        duplicates: given the features of another file with the same bytes, one that was renamed among them.
        failed: those that gave nothing.
        warnings: what went not quite right in this run, each with the path that it is about.
        states: for each expert, how many of the extracted, copied and skipped videos have each state.
        media_s: duration of what was extracted, seconds.
        seconds: of the run.
        decoders: how many videos each decoder read.
        packets: packets read.
        frames: frames decoded.
        networks_s: how long networks ran, where they have a process of their own; seconds.
        new: videos that the store did not know.
        changed: known files with other bytes than before.
        removed: passed over, because they were taken out of the collection.
        restored: videos that had been taken out, and are in again because their files were named.
        vanished: videos whose files are no longer there, taken out of the store.
        missing: ids of such that were to be left in the store.
        passed_over: what looked like a video, and trash and previews.
        share: of which this is the report; None for the whole.
        waiting: files with the bytes of another one, which an extraction of the whole gives its features.
        ids: of the videos that the store has now.
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
    new: int = 0
    changed: int = 0
    removed: int = 0
    restored: int = 0
    vanished: Vanished = field(default_factory=Vanished)
    missing: list[str] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    share: Share | None = None
    waiting: int = 0
    ids: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Inputs that have been dealt with."""
        given = self.duplicates + self.waiting
        return self.extracted + self.skipped + given + self.removed + len(self.failed)

    @property
    def exit_code(self) -> int:
        """What the command ends with: 3 where some inputs failed, else 0."""
        return EXIT_SOME_FAILED if self.failed else 0

    def count(self, job: Job, outcome: Outcome) -> None:
        """Count how it ended with a video."""
        self.packets += outcome.packets
        self.frames += outcome.frames
        self.warnings += [replace(warning, path=job.facts.path) for warning in outcome.warnings]
        if outcome.error is not None:
            self.failed.append(FailedFile(job.facts.path, outcome.error, outcome.known))
        elif outcome.status is Status.WAITING:
            self.waiting += 1
        elif outcome.status is Status.REMOVED:
            self.removed += 1
        else:
            self.ids.append(job.facts.id)
            self.skipped += outcome.status is Status.FINISHED
            self.duplicates += outcome.status is Status.COPIED
            if outcome.status is Status.EXTRACTED:
                self.extracted += 1
                self.media_s += outcome.duration_s
                self.decoders[outcome.decoder] = self.decoders.get(outcome.decoder, 0) + 1
