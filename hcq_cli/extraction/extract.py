"""The run of an extraction: what is finished is skipped, what is left goes to the workers, whatever comes of it.

Here is the one loop of the run: the plan judges the next video, the executor is given what must be done, and what
comes back is counted. All of it happens in the thread of the caller, so that neither the plan nor the writer of the
store needs a lock. A finished video is safe in the store before its worker says so; the loop compacts the store into
shards now and then.

Several runs may share a store, each with its share of the videos, at the same time or one after the other, on
machines that see the same files and the same store under the same names. None of them holds the writer lock, so none
takes anything out of the store, gives anything a new place there, or copies features from one file to another: that
is left to the next extraction of the same folders without a share, which finds everything decoded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from hcq_cli.collection import Collection, LastExtraction, change_collection, read_collection
from hcq_cli.errors import DamagedError
from hcq_cli.extraction.executor import Executor, Job, Outcome, Status, VideoWarning
from hcq_cli.extraction.local import WorkerPool
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.plan import ExtractionPlan
from hcq_cli.extraction.report import ExtractReport
from hcq_cli.extraction.vanished import Vanished
from hcq_cli.features.folder import LOGS
from hcq_cli.features.writer import FeatureWriter, SharedWriter
from hcq_cli.media.inputs import Inputs
from hcq_cli.remote.mirror import Mirror
from hcq_cli.remote.nodes import Keeping
from hcq_cli.shares import Share, content_key

COMPACT_EVERY = 2048
"""Videos after which the finished ones are put into shards: a folder of more small files is slow to list."""
READERS = 16
"""Threads that look at the ends of files: on a shared file system each waits most of the time."""


OnVideo = Callable[[ExtractReport, str], None]
"""Called after each video, with the report so far and the video's path."""


def extract(
    inputs: Inputs,
    names: Sequence[str],
    options: ExtractionOptions,
    on_video: OnVideo = lambda report, path: None,
    executor: Executor | None = None,
    *,
    on_reading: Callable[[str], None] = lambda line: None,
    share: Share | None = None,
) -> ExtractReport:
    """Bring the features of all videos into the store.

    Args:
        inputs: from `find_inputs`; the same in every share, as ids are given before the files are divided.
        names: the experts, as `experts.registry.load` takes them.
        options: how; the store is among them.
        on_video: told of every video that has been dealt with.
        executor: what runs the jobs; None for worker processes on this machine.
        on_reading: told by any thread how far the reading of a large file is, for people.
        share: of the videos; None for all of them.

    Returns:
        the report; videos that fail are in it, and cost nobody else anything.

    Raises:
        UsageError: no such expert.
        LockedError: another process writes to the store, and this is no share.
        HcqError: the experts cannot be prepared, or the store cannot be written.
    """
    begun = time.monotonic()
    experts = load_experts(names, options.sample_fps)
    if share:
        inputs = share_of(inputs, share)
        options = replace(options, words_log=f"{LOGS}/words-{share.name}.jsonl")
    failed = list(inputs.unusable)  # before anything is done
    videos = len(inputs.videos) + len(failed)
    report = ExtractReport(videos, failed=failed, passed_over=inputs.passed_over, share=share)
    place: AbstractContextManager[FeatureWriter | SharedWriter]
    place = nullcontext(SharedWriter(options.store, share.name)) if share else FeatureWriter(options.store)
    with place as writer:
        collection = read_collection(options.store) if share else _note_roots(inputs, names, options)
        plan = ExtractionPlan(writer, experts, options, removed=collection.removed, named=inputs.named)
        run = _Run(writer, plan, report, on_video)
        if not share:  # what a run that was killed left in incoming/ counts as finished from here on
            run.tidy()
        began_empty = not len(writer.store)
        pool: AbstractContextManager[Executor] = (
            nullcontext(executor)
            if executor
            else WorkerPool(experts, names, options, len(inputs.videos), on_reading=on_reading)
        )
        with pool as running:
            run.do_jobs(inputs.videos, running)
        report.networks_s = running.networks_s
        if isinstance(writer, FeatureWriter):
            run.tidy()
            if plan.duplicates:  # last, when the store knows what became of the files whose bytes they have
                run.count_copies(plan.copy(duplicates=True))
        else:
            writer.refresh()
        report.new, report.changed = plan.new, plan.changed
        if plan.restored and not share:
            run.note_restored()
        if not began_empty and isinstance(writer, FeatureWriter):  # what came in meanwhile is not gone
            run.take_out_vanished(writer, inputs.folders, keep=options.keep_missing)
        report.states = writer.store.states_of(report.ids, [expert.name for expert in experts])
    report.seconds = time.monotonic() - begun
    return report


@dataclass
class _Run:
    """A run over a store, all in one thread.

    Args:
        writer: of the store; with the lock, unless this is a share.
        plan: says what is left to do.
        report: grows with every video.
        on_video: told of each.
    """

    writer: FeatureWriter | SharedWriter
    plan: ExtractionPlan
    report: ExtractReport
    on_video: OnVideo

    def do_jobs(self, videos: Mapping[str, str], executor: Executor) -> None:
        """Have done what the plan says of these videos (ids and paths), and count what becomes of each."""
        done, keep = 0, Keeping(self.writer.folder) if Mirror.opened else None
        for job, outcome in run_plan(videos, self.plan, executor):
            self._count(job, outcome)
            if keep:
                keep()
            done += outcome.status is not Status.FINISHED
            # Of shares with mirrors each has a store of its own, which the whole puts together.
            if done >= COMPACT_EVERY and not (self.report.share and keep and keep.mirror):
                done = 0
                self.tidy()

    def tidy(self) -> None:
        """Put what is finished into shards, and give files that wait what others with their bytes have by now."""
        if self.plan.copies or self.plan.heirs:
            self.count_copies(self.plan.copy())
        folder, warnings = str(self.writer.folder), self.writer.compact().warnings
        self.report.warnings += [VideoWarning(message, path=folder) for message in warnings]

    def count_copies(self, ended: Iterable[tuple[Job, Outcome]]) -> None:
        """Count how it ended with videos that have waited for others with their bytes."""
        for job, outcome in ended:
            self.report.waiting -= 1
            self._count(job, outcome)

    def _count(self, job: Job, outcome: Outcome) -> None:
        self.report.count(job, outcome)
        self.on_video(self.report, job.facts.path)

    def note_restored(self) -> None:
        """Note which videos that had been taken out are in again, and which of those that were renamed stay out."""
        plan = self.plan
        self.report.restored = len(plan.restored) - len(plan.removed_anew)

        def change(now: Collection) -> Collection:
            kept = {id: video for id, video in now.removed.items() if id not in plan.restored}
            return replace(now, removed={**kept, **plan.removed_anew})

        change_collection(self.writer.folder, change)

    def take_out_vanished(self, writer: FeatureWriter, folders: Mapping[str, Sequence[str]], *, keep: bool) -> None:
        """Take out of the store what is no longer there, unless that is to be kept; `folders` were searched."""
        report = self.report
        report.vanished = self.plan.vanished(folders)
        report.new -= len(report.vanished.renamed)
        if keep:
            report.missing = [*report.vanished.deleted, *report.vanished.renamed]
            report.vanished = Vanished(second_ids=report.vanished.second_ids)
        try:
            writer.remove(report.vanished.ids)
        except DamagedError as error:
            told = f"{error.message}; what is no longer there stays in it"
            report.warnings.append(VideoWarning(told, path=str(writer.folder)))


def share_of(inputs: Inputs, share: Share) -> Inputs:
    """The same inputs, with the videos and unusable files of one share alone; what is passed over is the first's."""
    every = [*inputs.videos.values(), *(item.path for item in inputs.unusable)]
    with ThreadPoolExecutor(READERS) as readers:
        has = [share.has(key) for key in readers.map(content_key, every)]
    videos = {id: path for (id, path), mine in zip(inputs.videos.items(), has, strict=False) if mine}
    unusable = [item for item, mine in zip(inputs.unusable, has[len(inputs.videos) :], strict=True) if mine]
    passed_over = inputs.passed_over if share.number == 1 else []
    return replace(inputs, videos=videos, unusable=unusable, passed_over=passed_over)


def _note_roots(inputs: Inputs, names: Sequence[str], options: ExtractionOptions) -> Collection:
    """Note in the store which folders it is made of, and what is asked of them; gives its collection."""

    def change(before: Collection) -> Collection:
        if not inputs.folders and before.roots:  # single files beside folders: what is asked of those stays
            return before
        asked = LastExtraction(
            list(names),
            before.asked.every_expert | {name.partition("=")[0]: name for name in names},
            everything=inputs.everything,
            exclude=list(inputs.exclude),
            sample_fps=options.sample_fps,
            max_seconds=options.max_seconds,
        )
        return replace(before, roots=tuple(dict.fromkeys([*before.roots, *inputs.roots])), asked=asked)

    return change_collection(options.store, change)


def run_plan(videos: Mapping[str, str], plan: ExtractionPlan, executor: Executor) -> Iterator[tuple[Job, Outcome]]:
    """Give the executor what the plan says must be done, until there is no more.

    The executor is kept full first, and asked for an outcome only then: so a worker that becomes free finds its next
    job waiting, and at most `executor.slots` jobs are held in memory, however many videos there are.

    Args:
        videos: the path of each, by its id.
        plan: of the run.
        executor: what does the jobs.

    Returns:
        each video, and how it ended, in whatever order; with a duplicate it has not ended yet.
    """
    left, running = iter(videos.items()), 0
    while True:
        if running < executor.slots and (video := next(left, None)) is not None:
            job, outcome = plan.judge(*video)
        elif running:
            job, outcome = plan.settle(*executor.next_outcome())
            running -= 1
        else:
            return
        if outcome is None:
            executor.submit(job)
            running += 1
        else:
            yield job, outcome
