"""What a folder of videos would cost, before anything long begins: `hcq plan`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hcq_cli.api.extraction import expert_names, known_roots
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.errors import HcqError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.extraction.dry_run import PlannedVideo
    from hcq_cli.extraction.options import ExtractionOptions
    from hcq_cli.extraction.report import ExtractReport

T = TypeVar("T")
MOST_OPENED = 2000
"""Of more videos so many are opened; the others count by their bytes."""
USUAL_BYTES_S = 250_000
"""Of a second of video, where no file says how long it is."""
SAMPLED_VIDEOS = 6
SAMPLED_S = 10.0
"""What is extracted to measure the pace: so many videos, so many seconds of each."""
CODE_BYTES = 256
"""Bytes of a video's codes, as the paper has them (S = 256); an index adds its id. The presets that `hcq fit` takes
have fewer. A moment has as many as a video."""


@dataclass(frozen=True)
class ExtractionCost:
    """What one choice of experts would take.

    Args:
        preset: its name; empty where the experts were named.
        experts: `name` or `name=source` each.
        videos: how many are left to extract.
        media_s: their duration, seconds.
        seconds: what extracting them takes on this machine, as measured on some of them; None if nothing was left,
            or nothing of the sample could be decoded.
        feature_bytes: what their features take on the disk.
        code_bytes: what the codes of the whole collection and of its moments take, by the model that this choice is
            for; more where cuts are fast.
        missing: why it cannot run, and what mends that; empty if it can.
    """

    preset: str
    experts: list[str]
    videos: int = 0
    media_s: float = 0.0
    seconds: float | None = None
    feature_bytes: int = 0
    code_bytes: int = 0
    missing: str = ""


@dataclass(frozen=True)
class CollectionPlan:
    """What lies in a collection, and what each choice of experts would take.

    Args:
        videos: how many there are, finished ones included.
        media_s: their duration, seconds; what cannot be opened counts as nothing.
        bytes: of the files.
        code_bytes: of all codes, those of moments too, by a model that was trained with captions.
        costs: one a preset, or one alone for experts that were named.
    """

    videos: int
    media_s: float
    bytes: int
    code_bytes: int
    costs: list[ExtractionCost]


def plan_collection(
    workspace: Workspace,
    paths: Iterable[str | PathLike[str]],
    *,
    experts: str | Sequence[str] | None = None,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> CollectionPlan:
    """Hours of video, and time and disk that extraction takes here; nothing is kept.

    The pace is measured: every choice of experts sees some seconds of some of the videos, by as many workers as the
    extraction will have.

    Args:
        workspace: what its feature store holds is finished, and costs nothing more.
        paths: folders, files or globs.
        experts: `name` or `name=source` each; None for one line for every preset.
        workers, device: as `extract` takes them.

    Raises:
        NotFoundError: there are no videos.
        UsageError: no such expert.
    """
    from experts.neural.hub import WITHOUT_CAPTIONS
    from experts.registry import presets
    from hcq_cli.api.fitting import CODE_BYTES as FITTED_BYTES
    from hcq_cli.datasets.segments import Cutting, cut_video
    from hcq_cli.extraction.dry_run import dry_run
    from hcq_cli.extraction.options import ExtractionOptions
    from hcq_cli.fitting.dual import preset_sources
    from hcq_cli.media.inputs import find_inputs

    # The folders are gone through once, whatever the number of presets.
    found = find_inputs([fspath(path) for path in paths], known_roots(workspace.features))
    options = ExtractionOptions(workspace.features, workers=workers, device=device)
    sizes = {path: _size(path) for path in found.videos.values()}
    media_s = _durations(list(sizes), sizes, progress)
    usual = Cutting()
    codes = len(media_s) + sum(len(cut_video(0, seconds, usual)) for seconds in media_s.values())
    choices = {"": expert_names(experts)} if experts is not None else presets
    costs = []
    for preset, names in choices.items():
        try:
            preset_sources(preset if preset in WITHOUT_CAPTIONS else None)  # all that is missing, by one command
            todo = dry_run(found, names, options).todo
            cost = _cost(preset, names, todo, media_s, options, progress=progress)
        except HcqError as error:
            if experts is not None:
                raise
            cost = ExtractionCost(
                preset, names, missing=f"{error.message} → {error.hint}" if error.hint else error.message
            )
        a_video = FITTED_BYTES if preset in WITHOUT_CAPTIONS else CODE_BYTES
        costs.append(replace(cost, code_bytes=a_video * codes))
    return CollectionPlan(len(found.videos), sum(media_s.values()), sum(sizes.values()), CODE_BYTES * codes, costs)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _durations(paths: list[str], sizes: dict[str, int], progress: Progress) -> dict[str, float]:
    """Seconds of every video: as its header says, or as many as its bytes let expect."""
    from hcq_cli.media.durations import durations

    opened = _spread(paths, MOST_OPENED)
    known: dict[str, float] = {}
    with progress.progress("open", total=len(opened), unit="videos") as bar:
        for path, seconds in zip(opened, durations(opened), strict=True):
            if seconds is not None:
                known[path] = seconds
            bar.advance(1, detail=Path(path).name[:40])
    known_s, bytes_known = sum(known.values()), sum(sizes[path] for path in known)
    pace = known_s / bytes_known if known_s and bytes_known else 1 / USUAL_BYTES_S
    return {path: known.get(path, sizes[path] * pace) for path in paths}


def _cost(
    preset: str,
    names: list[str],
    todo: Sequence[PlannedVideo],
    media_s: dict[str, float],
    options: ExtractionOptions,
    progress: Progress,
) -> ExtractionCost:
    """Extract a sample into a store that is thrown away, and multiply."""
    left_s = sum(media_s.get(video.path, 0.0) for video in todo)
    if not todo:
        return ExtractionCost(preset, names)
    sample = [video.path for video in _spread(list(todo), SAMPLED_VIDEOS)]
    with tempfile.TemporaryDirectory(prefix="hcq-plan-") as scratch:
        of_sample = replace(options, store=Path(scratch), max_seconds=SAMPLED_S)
        sampled_s, seconds = _measure(sample, names, of_sample, progress)
        # The manifest and empty tables, which do not grow with the videos, are in there: of few it is an upper bound.
        stored = sum(file.stat().st_size for file in Path(scratch).rglob("*") if file.is_file())
    if not sampled_s:
        return ExtractionCost(preset, names, len(todo), left_s)
    share = left_s / sampled_s
    return ExtractionCost(
        preset, names, len(todo), left_s, seconds=seconds * share, feature_bytes=int(stored * share)
    )


def _measure(
    sample: Sequence[str], names: list[str], options: ExtractionOptions, progress: Progress
) -> tuple[float, float]:
    """Extract the beginning of each video of the sample.

    Returns:
        seconds of video, and seconds that they took, the start of the workers left out where that can be told.
    """
    from hcq_cli.extraction.extract import extract
    from hcq_cli.media.inputs import find_inputs

    marks: list[tuple[float, float]] = []
    with progress.progress("measure", total=len(sample), unit="videos") as bar:

        def on_video(report: ExtractReport, path: str) -> None:
            marks.append((time.monotonic(), report.media_s))
            bar.advance(1, detail=Path(path).name[:40])

        report = extract(find_inputs(list(sample)), names, options, on_video)
    # Workers import and load for seconds before their first video is done: of long extractions that is nothing.
    workers = options.worker_count(len(sample))
    started, before_s = marks[workers - 1] if len(marks) > workers else (0.0, report.media_s)
    media_s = report.media_s - before_s
    return (media_s, marks[-1][0] - started) if media_s > 0 else (report.media_s, report.seconds)


def _spread(items: list[T], most: int) -> list[T]:
    """At most so many of them, evenly spread."""
    step = max(1.0, len(items) / most)
    return [items[int(at * step)] for at in range(min(most, len(items)))]
