"""What an extraction would do (`hcq extract --dry-run`): all videos judged by its plan, and none decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hcq_cli.collection import read_collection
from hcq_cli.extraction.executor import Status, hash_file
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.plan import ExtractionPlan
from hcq_cli.extraction.vanished import Vanished
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.media.inputs import FailedFile, Inputs


@dataclass
class DryRun:
    """What an extraction would do.

    Args:
        todo: videos that would be decoded, each with the experts that would look at it.
        duplicates: paths of those that would be given the features of another file with the same bytes.
        finished: ids of those that would be skipped.
        failed: what cannot be read, or is known to be broken.
        removed: how many would be passed over because they were taken out of the collection.
        vanished: what would leave the store, because its files are no longer there.
    """

    todo: list[PlannedVideo] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    failed: list[FailedFile] = field(default_factory=list)
    removed: int = 0
    vanished: Vanished = field(default_factory=Vanished)

    @property
    def videos(self) -> int:
        """How many inputs were judged, whatever came of them."""
        return len(self.todo) + len(self.duplicates) + len(self.finished) + len(self.failed) + self.removed


@dataclass(frozen=True)
class PlannedVideo:
    """A video that would be extracted, by these experts."""

    id: str
    path: str
    experts: list[str]


def dry_run(inputs: Inputs, names: Sequence[str], options: ExtractionOptions) -> DryRun:
    """Judge all videos, and do nothing about them but hash those that are new.

    Args:
        inputs: from `find_inputs`.
        names: the experts.
        options: of the extraction.

    Raises:
        UsageError: no such expert.
        LockedError: another process writes to the store.
    """
    experts = load_experts(names, options.sample_fps)
    planned = DryRun(failed=list(inputs.unusable))
    if not options.store.is_dir():  # nothing is known, and a plan makes no folders
        every = [expert.name for expert in experts]
        planned.todo = [PlannedVideo(id, path, every) for id, path in inputs.videos.items()]
        return planned
    with FeatureWriter(options.store) as writer:
        removed = read_collection(options.store).removed
        judge = ExtractionPlan(writer, experts, options, removed=removed, named=inputs.named)
        for id, path in inputs.videos.items():
            job, outcome = judge.judge(id, path)
            if outcome is None and job.only_hash:
                job, outcome = judge.settle(job, hash_file(job))
            if outcome is None:
                planned.todo.append(PlannedVideo(job.facts.id, path, list(job.identities)))
            elif outcome.error is not None:
                planned.failed.append(FailedFile(path, outcome.error, outcome.known))
            elif outcome.status is Status.WAITING:
                planned.duplicates.append(path)
            elif outcome.status is Status.REMOVED:
                planned.removed += 1
            else:
                planned.finished.append(job.facts.id)
        if not options.keep_missing:
            planned.vanished = judge.vanished(inputs.folders)
    return planned
