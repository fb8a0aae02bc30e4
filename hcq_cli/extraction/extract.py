"""The extraction: what is finished is skipped, what is left goes to the workers, whatever becomes of them.

Here is the one loop of the run: the plan judges the next video, the executor is given what must be done, and what
comes back is counted. All of it happens in the thread of the caller, so that neither the plan nor the writer of the
store needs a lock. A finished video is safe in the store before its worker says so; the loop folds the store into
shards now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

from hcq_cli.extraction.executor import Executor, Job
from hcq_cli.extraction.local import WorkerPool
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.plan import ExtractionPlan, Settled, Status
from hcq_cli.extraction.report import ExtractReport
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.media.inputs import Inputs, InputVideo

FOLD_EVERY = 2048
"""Videos after which the finished ones are put into shards: a folder of more small files is slow to list."""

OnVideo = Callable[[ExtractReport, str], None]
"""Called after each video, with the report so far and the video's path."""


def extract(
    inputs: Inputs,
    names: Sequence[str],
    options: ExtractionOptions,
    on_video: OnVideo = lambda report, path: None,
    executor: Executor | None = None,
) -> ExtractReport:
    """Bring the features of all videos into the store.

    Args:
        inputs: from `find_inputs`.
        names: the experts, as `experts.registry.load` takes them.
        options: how; the store is among them.
        on_video: told of every video that has been dealt with.
        executor: what runs the jobs; None for worker processes on this machine.

    Returns:
        the report; videos that fail are in it, and cost nobody else anything.

    Raises:
        UsageError: no such expert or decoder.
        LockedError: another process writes to the store.
        HcqError: the experts cannot be prepared, or the store cannot be written.
    """
    begun = time.monotonic()
    experts = load_experts(names, options.sample_fps)
    options.check()
    report = ExtractReport.begin(inputs)
    ids: list[str] = []

    def count(settled: Settled) -> None:
        report.count(settled)
        if settled.status is not Status.FAILED:
            ids.append(settled.facts.id)

    with FeatureWriter(options.store) as writer:
        plan = ExtractionPlan(writer, experts, options)
        # What a run that was killed left in incoming/ counts as finished from here on.
        report.warn_of_store(options.store, [*writer.warnings, *writer.compact().warnings])
        pool = nullcontext(executor) if executor else WorkerPool(experts, names, options, len(inputs.videos))
        with pool as running:
            for done, (path, settled) in enumerate(run_plan(inputs.videos, plan, running), 1):
                if settled is not None:
                    count(settled)
                on_video(report, path)
                if done % FOLD_EVERY == 0:
                    report.warn_of_store(options.store, writer.compact().warnings)
        report.networks_s = running.networks_s
        report.warn_of_store(options.store, writer.compact().warnings)
        # Last, when the store knows what became of the files whose bytes they have.
        for settled in plan.copy_duplicates():
            count(settled)
            on_video(report, settled.facts.path)
        report.states = writer.store.states_of(ids, [expert.name for expert in experts])
    report.seconds = time.monotonic() - begun
    return report


def run_plan(
    videos: Iterable[InputVideo], plan: ExtractionPlan, executor: Executor
) -> Iterator[tuple[str, Settled | None]]:
    """Give the executor what the plan says must be done, until there is no more.

    The executor is kept full first, and asked for an outcome only then: so a worker that becomes free finds its next
    job waiting, and at most `executor.slots` jobs are held in memory, however many videos there are.

    Returns:
        the path of each video, and how it ended, in whatever order; None for a duplicate, whose turn comes later.
    """
    left, running = iter(videos), 0
    while True:
        if running < executor.slots and (video := next(left, None)) is not None:
            path, step = video.path, plan.judge(video)
        elif running:
            job, outcome = executor.next_outcome()
            running -= 1
            path, step = job.facts.path, plan.settle(job, outcome)
        else:
            return
        if isinstance(step, Job):
            executor.submit(step)
            running += 1
        else:
            yield path, step
