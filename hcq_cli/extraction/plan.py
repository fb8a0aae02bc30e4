"""What is left to do: what the store knows of each file is compared with what is wanted of it.

A file is finished, known to be broken, a duplicate (it has the bytes of another one, and gets the features of that
one), or a job for an executor. The content hash decides, not the name: what was moved or touched is not decoded
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from experts.base import Expert
from hcq_cli.extraction.executor import Job, Outcome, hash_file
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.features.records import VideoFacts, identity, text_key
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.media.inputs import FailedFile, Inputs, InputVideo, longer_ids


class Status(Enum):
    """How it ended with a video: nothing was left to do; decoded; given what a duplicate has; nothing came of it."""

    FINISHED = "finished"
    EXTRACTED = "extracted"
    COPIED = "copied"
    FAILED = "failed"


@dataclass(frozen=True)
class Settled:
    """A video with which nothing more is to be done in this run.

    Args:
        status: how it ended.
        facts: its path, and, unless it failed, its id in the store.
        outcome: of its job; of a failed one the error.
        known: whether the failure is remembered from an earlier run.
    """

    status: Status
    facts: VideoFacts
    outcome: Outcome = field(default_factory=Outcome)
    known: bool = False

    @property
    def failed_file(self) -> FailedFile:
        """What a report says of one that failed."""
        return FailedFile(self.facts.path, self.outcome.error or "", self.known)


Step = Job | Settled | None
"""What is to be done next with a video; None if it is a duplicate, which waits until all others are done."""


class ExtractionPlan:
    """Judges videos, and is told what came of them. Used by one thread.

    Args:
        writer: the store, opened for writing.
        experts: those asked for.
        options: how far to look, and whether to try again what is known to be broken.
    """

    def __init__(self, writer: FeatureWriter, experts: Sequence[Expert], options: ExtractionOptions) -> None:
        self._writer, self._retry_failed = writer, options.retry_failed
        self._identities = {each.name: identity(each, {"max_seconds": options.max_seconds}) for each in experts}
        self._every = frozenset(self._identities)
        self._path_of_id: dict[str, str] = {}
        self._begun: dict[int, frozenset[str]] = {}
        self._errors: dict[int, str] = {}
        self.duplicates: list[Job] = []
        """Those put aside so far, each with what would have had to be done."""

    def judge(self, video: InputVideo) -> Step:
        """What is to be done with a file: at first often to hash it, if it is new or has changed."""
        facts = VideoFacts(video.id, video.path, content_hash="", size=0, mtime_ns=0)
        try:
            found = Path(video.path).stat()
        except OSError as error:
            return Settled(Status.FAILED, facts, Outcome(error=error.strerror or str(error)))
        facts = replace(facts, size=found.st_size, mtime_ns=found.st_mtime_ns)
        # Size and time of the last change stand for the content: reading terabytes again for their hash takes hours.
        failure = self._writer.known_failure(facts.path, facts.size, facts.mtime_ns)
        if failure is not None and not self._retry_failed:
            return Settled(Status.FAILED, facts, Outcome(error=failure.error), known=True)
        if not facts.size:
            return Settled(Status.FAILED, facts, Outcome(error="the file is empty"))
        known_hash = self._writer.known_hash(facts.path, facts.size, facts.mtime_ns)
        return self._compare(replace(facts, content_hash=known_hash)) if known_hash else Job(facts)

    def settle(self, job: Job, outcome: Outcome) -> Step:
        """What is to be done now that a job is done; a lasting failure is remembered until the file changes."""
        if job.only_hash and outcome.error is None:
            return self._compare(replace(job.facts, content_hash=outcome.content_hash))
        if outcome.error is None:
            self._forget_failure(job)
        elif outcome.lasting:
            self._remember_failure(job, outcome.error)
        return Settled(Status.FAILED if outcome.error else Status.EXTRACTED, job.facts, outcome)

    def _compare(self, facts: VideoFacts) -> Step:
        """What the store and this run lack of a file whose content is known."""
        facts, stored = self._with_own_id(facts)
        missing = self._writer.todo(facts.id, facts.content_hash, self._identities, retry_failed=self._retry_failed)
        if not missing:
            where = (facts.path, facts.size, facts.mtime_ns)
            # Moved or touched: noted, so that the next run knows it without its hash.
            if stored is not None and (stored.path, stored.size, stored.mtime_ns) != where:
                self._writer.set_path(facts.id, facts.path)
            return Settled(Status.FINISHED, facts)
        # A run that is killed before the video is finished need not read the file again for its hash.
        self._writer.remember_hash(facts.path, facts.size, facts.mtime_ns, facts.content_hash)
        job = Job(facts, {name: value for name, value in self._identities.items() if name in missing})
        key = text_key(facts.content_hash)  # an int takes a third of the memory of the text: there may be a million
        begun = self._begun.get(key, frozenset())
        stored_elsewhere = self._writer.experts_of_content(
            facts.content_hash, job.identities, failed_too=not self._retry_failed
        )
        # What another file has begun counts as found: should it fail, this one fails with its reason.
        if missing <= begun | stored_elsewhere:
            self.duplicates.append(job)
            return None
        begun = frozenset(begun | missing)
        # The one set of all experts for nearly every content: there may be a million contents.
        self._begun[key] = self._every if begun == self._every else begun
        return job

    def _with_own_id(self, facts: VideoFacts) -> tuple[VideoFacts, VideoFacts | None]:
        """A file under the shortest id that no other file has, and what the store knows of that id.

        Another file is one of this run, or one of the store with another content that still exists: an id goes over
        to a new file when the old one is gone.
        """
        for id in longer_ids(InputVideo(facts.id, facts.path)):
            if self._path_of_id.get(id, facts.path) != facts.path:
                continue
            stored = self._writer.facts(id)
            same = stored is None or stored.path == facts.path or stored.content_hash == facts.content_hash
            if same or (stored is not None and not Path(stored.path).exists()):
                self._path_of_id[id] = facts.path
                return replace(facts, id=id), stored
        raise AssertionError("longer_ids never ends")

    def copy_duplicates(self) -> Iterator[Settled]:
        """Give the duplicates what files with their bytes have; called when all else is done and in shards."""
        copied = self._writer.copy_results([(job.facts, job.identities) for job in self.duplicates])
        for job, found in zip(self.duplicates, copied, strict=True):
            error = self._errors.get(text_key(job.facts.content_hash))
            if found:
                self._forget_failure(job)
                yield Settled(Status.COPIED, job.facts)
                continue
            if error is not None:
                self._remember_failure(job, error)
            reason = error or "another file with the same bytes gave nothing"
            yield Settled(Status.FAILED, job.facts, Outcome(error=reason))
        self.duplicates = []

    def _remember_failure(self, job: Job, error: str) -> None:
        facts = job.facts
        self._errors[text_key(facts.content_hash)] = error
        self._writer.record_failure(facts.path, error, facts.content_hash, facts.size, facts.mtime_ns)

    def _forget_failure(self, job: Job) -> None:
        if self._writer.known_failure(job.facts.path, job.facts.size, job.facts.mtime_ns) is not None:
            self._writer.forget_failure(job.facts.path)


@dataclass
class DryRun:
    """What an extraction would do.

    Args:
        todo: videos that would be decoded, each with the experts that would look at it.
        duplicates: paths of those that would be given the features of another file with the same bytes.
        finished: ids of those that would be skipped.
        failed: what cannot be read, or is known to be broken.
    """

    todo: list[PlannedVideo] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    failed: list[FailedFile] = field(default_factory=list)

    @property
    def videos(self) -> int:
        """How many inputs were judged, whatever came of them."""
        return len(self.todo) + len(self.duplicates) + len(self.finished) + len(self.failed)


@dataclass(frozen=True)
class PlannedVideo:
    """A video that would be extracted, by these experts."""

    id: str
    path: str
    experts: list[str]


def plan(inputs: Inputs, names: Sequence[str], options: ExtractionOptions) -> DryRun:
    """Judge all videos, and do nothing about them but hash those that are new.

    Args:
        inputs: from `find_inputs`.
        names: the experts.
        options: of the extraction.

    Raises:
        UsageError: no such expert or decoder.
        LockedError: another process writes to the store.
    """
    experts = load_experts(names, options.sample_fps)
    options.check()
    planned = DryRun(failed=list(inputs.unusable))
    if not options.store.is_dir():  # nothing is known, and a plan makes no folders
        every = [expert.name for expert in experts]
        planned.todo = [PlannedVideo(video.id, video.path, every) for video in inputs.videos]
        return planned
    with FeatureWriter(options.store) as writer:
        judge = ExtractionPlan(writer, experts, options)
        for video in inputs.videos:
            step = judge.judge(video)
            if isinstance(step, Job) and step.only_hash:
                step = judge.settle(step, hash_file(step))
            if isinstance(step, Job):
                planned.todo.append(PlannedVideo(step.facts.id, video.path, list(step.identities)))
            elif step is None:
                planned.duplicates.append(video.path)
            elif step.status is Status.FAILED:
                planned.failed.append(step.failed_file)
            else:
                planned.finished.append(step.facts.id)
    return planned
