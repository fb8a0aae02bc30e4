"""Extraction: what is finished is skipped, what is left goes to the workers, whatever becomes of them.

One thread a worker process: it judges the next input (hashing new files on the way), hands it over, waits until the
deadline. A finished video is safe in the store before its worker says so. The main thread counts, and folds the
store now and then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experts.base import Expert, State
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.extraction.child import Child
from hcq_cli.extraction.executor import Setup
from hcq_cli.extraction.inference import Feeding, inference_for
from hcq_cli.extraction.local import Crew, Outcome
from hcq_cli.extraction.plan import Broken, Finished, Ledger, Twin
from hcq_cli.extraction.report import ExtractReport, Failed, Warned
from hcq_cli.features.store import FeatureStore, FeatureWriter
from hcq_cli.media.inputs import Input, Inputs

FOLD_EVERY = 2048
"""Finished videos after which they are put into shards."""
MEMORY_LIMIT_GIB = 4.0
SHOWN_STATES = (State.TOKENS, State.NO_STREAM, State.SILENT, State.NOTHING_FOUND, State.NO_FRAMES, State.FAILED)


@dataclass(frozen=True)
class Options:
    """How to extract.

    Args:
        store: the feature store's folder.
        decoder: auto, pyav, decord, or package.module:Class.
        workers: processes; None for one a core.
        device: where networks run: auto, cpu, cuda or mps.
        timeout_s: deadline of a video; None for a generous one by its size and duration.
        sample_fps: frames a second for every expert that sees; None leaves it to the expert.
        max_seconds: what lies later in a video is left out; None for all.
        retry_failed: try again what is known to be broken.
        memory_gib: the most memory a worker may take; None for HCQ_MEMORY_LIMIT_GIB or 4; 0 for no limit.
    """

    store: Path
    decoder: str = "auto"
    workers: int | None = None
    device: str = "auto"
    timeout_s: float | None = None
    sample_fps: float | None = None
    max_seconds: float | None = None
    retry_failed: bool = False
    memory_gib: float | None = None


Observer = Callable[[ExtractReport, str], None]
"""Called in the main thread after each input, with the report so far and the input's path."""


def sampled(experts: Sequence[Expert], sample_fps: float | None) -> list[Expert]:
    """The experts, with `sample_fps` frames a second for those that see and have no pace of their own."""
    for expert in experts:
        if sample_fps is not None and expert.sampling.frames_per_second and not getattr(expert, "paced", False):
            expert.sampling = replace(expert.sampling, frames_per_second=sample_fps)
    return list(experts)


def load_experts(names: Sequence[str], sample_fps: float | None = None) -> list[Expert]:
    """The experts of these names, not prepared yet.

    Raises:
        UsageError: there is no such expert.
        NotFoundError: the weights of a network are not on this machine, or cannot be used.
    """
    from experts.neural.weights import WeightsError
    from experts.registry import load

    try:
        return sampled(load(names), sample_fps)
    except WeightsError as error:
        raise NotFoundError(str(error), error.hint) from error
    except (LookupError, ValueError) as error:
        raise UsageError(str(error.args[0] if error.args else error), "hcq experts") from error


def setup(names: Sequence[str], options: Options) -> Setup:
    """What the workers are told.

    Raises:
        UsageError: there is no such decoder, or a limit makes no sense.
    """
    from hcq_cli.media.decoder import BUILT_IN

    if options.decoder not in ("auto", *BUILT_IN) and ":" not in options.decoder:
        choices = ", ".join(["auto", *BUILT_IN])
        raise UsageError(f"there is no decoder {options.decoder!r}", f"--decoder {choices} or package.module:Class")
    return Setup(
        list(names),
        options.device,
        options.decoder,
        str(options.store),
        options.sample_fps,
        options.max_seconds,
        _memory_bytes(options),
        os.getpid(),
    )


def _memory_bytes(options: Options) -> int:
    if options.device not in ("auto", "cpu"):  # an expert of anybody's may use it, and a GPU's driver reserves a lot
        return 0
    if options.memory_gib is not None:
        return int(options.memory_gib * 2**30)
    text = os.environ.get("HCQ_MEMORY_LIMIT_GIB", str(MEMORY_LIMIT_GIB))
    try:
        return int(float(text) * 2**30)
    except ValueError:
        raise UsageError(f"HCQ_MEMORY_LIMIT_GIB={text!r} is no number") from None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def extract(
    inputs: Inputs, names: Sequence[str], options: Options, observer: Observer = lambda report, path: None
) -> ExtractReport:
    """Bring the features of all inputs into the store.

    Args:
        inputs: from `find_inputs`.
        names: the experts.
        options: see there.
        observer: told of every input that has been dealt with.

    Returns:
        the report; inputs that fail are in it, and cost nobody else anything.

    Raises:
        UsageError: no such expert or decoder.
        LockedError: another process writes to the store.
        HcqError: the experts cannot be prepared, or the store cannot be written.
    """
    begun = time.monotonic()
    experts = load_experts(names, options.sample_fps)
    told = setup(names, options)
    report = _report(inputs)
    ids: list[str] = []
    with FeatureWriter(options.store) as writer:
        ledger = Ledger(writer, experts, options.max_seconds, options.retry_failed)
        _note(report, options, [*writer.warnings, *ledger.fold()])
        with inference_for(experts, told) as feeding:
            crew = _crew(ledger, inputs, told, options, feeding)
            for done, (item, outcome) in enumerate(crew.outcomes(), 1):
                _count(report, item, outcome, ids)
                observer(report, item.path)
                if done % FOLD_EVERY == 0:
                    _note(report, options, ledger.fold())
        report.networks_s = feeding.busy_s if feeding else 0.0
        _note(report, options, ledger.fold())
        _count_twins(report, ledger, ids, observer)
        report.states = _states(writer.store, ids, [expert.name for expert in experts])
    report.seconds = time.monotonic() - begun
    return report


def _crew(ledger: Ledger, inputs: Inputs, told: Setup, options: Options, feeding: Feeding | None) -> Crew:
    address = feeding.address if feeding else None
    count = min(options.workers or cores(), max(1, len(inputs.videos)))
    return Crew(ledger, inputs.videos, [Child(told, address) for _ in range(count)], options.timeout_s)


def _report(inputs: Inputs) -> ExtractReport:
    failed = [Failed(item.path, item.error) for item in inputs.unusable]
    return ExtractReport(videos=len(inputs.videos) + len(failed), failed=failed)


def _note(report: ExtractReport, options: Options, warnings: Sequence[str]) -> None:
    report.warnings += [Warned(str(options.store), message) for message in warnings]


def _count(report: ExtractReport, item: Input, outcome: Outcome, ids: list[str]) -> None:
    if isinstance(outcome, Finished):
        report.skipped += 1
        ids.append(outcome.id)
    elif isinstance(outcome, Broken):
        report.failed.append(Failed(item.path, outcome.error, outcome.remembered))
    elif not isinstance(outcome, Twin):  # those are counted when all others are done
        job, answer = outcome
        report.packets += answer.packets
        report.frames += answer.frames
        report.warnings += [Warned(item.path, message, expert) for expert, message in answer.warnings]
        if answer.error is not None:
            report.failed.append(Failed(item.path, answer.error))
        else:
            report.extracted += 1
            report.media_s += answer.duration_s
            report.decoders[answer.decoder] = report.decoders.get(answer.decoder, 0) + 1
            ids.append(job.id)


def _count_twins(report: ExtractReport, ledger: Ledger, ids: list[str], observer: Observer) -> None:
    for job, error in ledger.settle():
        if error is None:
            report.duplicates += 1
            ids.append(job.id)
        else:
            report.failed.append(Failed(job.path, error))
        observer(report, job.path)


def _states(store: FeatureStore, ids: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, int]]:
    rows = np.array([row for row in map(store.row, ids) if row is not None], np.int64)
    counted = {}
    for name in names:
        numbers = store.catalog.latest(name).state[rows]
        counts = np.bincount(numbers, minlength=len(SHOWN_STATES) + 1)
        counted[name] = {str(state): int(counts[at]) for at, state in enumerate(SHOWN_STATES, 1)}
    return counted
