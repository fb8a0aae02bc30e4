"""Captions for a model that was fitted without them: `hcq train --init`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.api.progress import SILENT, Progress

if TYPE_CHECKING:
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import CheckpointHeader
    from hcq_cli.training.data import TrainingData


@dataclass(frozen=True)
class Adapted:
    """What became of a fitted model.

    Args:
        header: of its checkpoint.
        seconds: it took.
        warnings: what is doubtful, a sentence each.
        done_before: whether the same captions had been learned from before, and nothing was done.
    """

    header: CheckpointHeader
    seconds: float
    warnings: list[str]
    done_before: bool = False


def adapt(
    start: Path, store: FeatureStore, data: TrainingData, captions: Path, place: Path, progress: Progress = SILENT
) -> Adapted:
    """Adapt a fitted model to captions; where videos without captions would be found worse, it stays as it was.

    Adapted before, it starts again from what `hcq fit` made. The same captions are not learned from twice.

    Args:
        start: the fitted model's folder.
        store: of the features.
        data: captioned videos.
        captions: the file that they were read from.
        place: the checkpoint folder to write.
        progress: told of videos, doubts and the decision.

    Raises:
        DamagedError: the checkpoint cannot be read.
        LockedError: another process writes there.
        HcqError: no captioned video has features that the model knows.
    """
    from hcq_cli.files import digest_bytes
    from hcq_cli.model.checkpoint import read_header
    from hcq_cli.training import resume
    from hcq_cli.training.config import Recipe

    started, header = time.monotonic(), read_header(start)
    came_from = str(header.about.get("init") or header.hash)
    fingerprint = digest_bytes(data.fingerprint(Recipe()).encode(), came_from.encode())
    before = resume.finished(place, fingerprint)
    if before is not None:
        progress.note(f"{place}: adapted before, to the same captions: nothing is done")
        return Adapted(before, 0.0, [], done_before=True)
    progress.note("loading torch…")

    from hcq_cli.fitting.fitting import MOST_VIDEOS
    from hcq_cli.fitting.with_captions import adapt_model
    from hcq_cli.model.checkpoint import load
    from hcq_cli.model.video_side import export_video_side

    for warning in data.warnings:
        progress.warn(warning)
    about = {
        **header.about,
        "init": came_from,
        "captions": str(captions.resolve()),
        "videos": len(data.train),
        "fingerprint": fingerprint,
    }
    with progress.progress("adapting", total=min(len(store), MOST_VIDEOS), unit="videos") as bar:
        model = load(start)
        done = adapt_model(model, store, data.train, data.validation, place, about=about, done=bar.advance)
    export_video_side(place)
    progress.note(decision(done.to_dict()))
    return Adapted(read_header(place), time.monotonic() - started, [*data.warnings])


def decision(adapted: Mapping[str, Any]) -> str:
    """A sentence on whether what was learned is kept, and why."""
    before, after = adapted["before"], adapted["after"]
    if not before:
        return f"the model stays as it was: its captions could be tried on {adapted['validated_on']}"
    verdict = "adapted" if adapted["kept"] else "the model stays as it was"
    figures = "; ".join(
        f"{when} R@1 {each['R1']:.1f}, R@10 {each['R10']:.1f}"
        for when, each in (("before", before), ("after", after))
    )
    return f"{verdict}: captions not learned from ({adapted['validated_on']}) find their videos: {figures}"
