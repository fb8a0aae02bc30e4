"""One of several extractions that share a store: each does the videos of its share, at the same time or one after the
other, on machines that see the same files and the same store under the same names.

None of them holds the writer lock, so none takes anything out of the store, gives anything a new place there, or
copies features from one file to another: that is left to the next extraction of the same folders without a share,
which finds everything decoded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from hcq_cli.collection import read_collection
from hcq_cli.errors import LockedError
from hcq_cli.extraction.executor import Status
from hcq_cli.extraction.extract import COMPACT_EVERY, ExtractReport, OnVideo, run_plan
from hcq_cli.extraction.local import WorkerPool
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.plan import ExtractionPlan
from hcq_cli.features.folder import LOGS
from hcq_cli.features.writer import FeatureWriter, SharedWriter
from hcq_cli.media.inputs import Inputs
from hcq_cli.remote.nodes import Keeping
from hcq_cli.shares import Share, content_key

READERS = 16
"""Threads that look at the ends of files: on a shared file system each waits most of the time."""


def extract_share(
    inputs: Inputs,
    names: Sequence[str],
    options: ExtractionOptions,
    share: Share,
    on_video: OnVideo = lambda report, path: None,
) -> ExtractReport:
    """Extract the videos of one share, by worker processes on this machine. Arguments and errors are those of
    `extract`, but for the writer lock.

    Args:
        inputs: all of them, the same in every share: ids are given before the files are divided.
        share: which of them to do.
    """
    begun = time.monotonic()
    options = replace(options, words_log=f"{LOGS}/words-{share.name}.jsonl")
    experts = load_experts(names, options.sample_fps)
    mine = share_of(inputs, share)
    report = ExtractReport.of(mine, share)
    writer = SharedWriter(options.store, share.name)
    removed = read_collection(options.store).removed
    plan = ExtractionPlan(writer, experts, options, removed=removed, named=inputs.named)
    done, keep = 0, Keeping(options.store)
    with WorkerPool(experts, names, options, len(mine.videos)) as running:
        for job, outcome in run_plan(mine.videos, plan, running):
            report.count(job, outcome)
            done += outcome.error is None and outcome.status is Status.EXTRACTED
            on_video(report, job.facts.path)
            keep()
            if done >= COMPACT_EVERY and keep.mirror is None:  # of shares with mirrors each has a store of its own
                done = 0
                # If nobody else does: a folder of many small files is slow to list.
                with suppress(LockedError), FeatureWriter(options.store) as whole:
                    whole.compact()
    report.networks_s = running.networks_s
    writer.refresh()
    report.new, report.changed = plan.new, plan.changed
    report.states = writer.store.states_of(report.ids, [expert.name for expert in experts])
    report.seconds = time.monotonic() - begun
    return report


def share_of(inputs: Inputs, share: Share) -> Inputs:
    """The same inputs, with the videos and unusable files of one share alone; what is passed over is the first's."""
    every = [*inputs.videos.values(), *(item.path for item in inputs.unusable)]
    with ThreadPoolExecutor(READERS) as readers:
        has = [share.has(key) for key in readers.map(content_key, every)]
    videos = {id: path for (id, path), mine in zip(inputs.videos.items(), has, strict=False) if mine}
    unusable = [item for item, mine in zip(inputs.unusable, has[len(inputs.videos) :], strict=True) if mine]
    passed_over = inputs.passed_over if share.number == 1 else []
    return replace(inputs, videos=videos, unusable=unusable, passed_over=passed_over)
