"""How well the codes retrieve, and what a caption file holds: `hcq eval`, `hcq captions check`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.checkpoints import find_checkpoint
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.api.training import caption_file
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.printable import counted
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.baselines.compression import CompressionResult
    from hcq_cli.datasets.dataset import CaptionReport, Dataset
    from hcq_cli.datasets.splits import Split
    from hcq_cli.evaluation.calibration import Calibration
    from hcq_cli.evaluation.retrieval import RecallPoint, RetrievalResult
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.encoding import Encoded
    from hcq_cli.model.trained_model import Model

SPLITS = ("train", "val", "test", "all")


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Args:
        split: of which videos: train, val, test or all.
        kind: of the model.
        measured: recall by the codes and by the dense vectors.
        compressed: the same dense vectors compressed afterwards by other methods.
        calibration: whether confidences hold, where that was asked for.
        warnings: what is doubtful, a sentence each.
    """

    split: str
    kind: str
    measured: RetrievalResult
    compressed: list[CompressionResult]
    warnings: list[str]
    calibration: Calibration | None = None

    @property
    def points(self) -> list[RecallPoint]:
        """All that was measured, recall against bytes."""
        return [*self.measured.points(), *(found.point() for found in self.compressed)]

    @property
    def title(self) -> str:
        """Of how many videos and captions, and of which split."""
        videos, captions = counted(self.measured.videos, "video"), counted(self.measured.texts, "caption")
        return f"{videos}, {captions} ({self.split})"


def evaluate(
    workspace: Workspace,
    *,
    checkpoint: Path | None = None,
    captions: str | PathLike[str] | None = None,
    features: Path | None = None,
    split: str | None = None,
    compress: str | None = None,
    sizes: str | None = None,
    plot: Path | None = None,
    calibration: Path | None = None,
    html: Path | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Evaluation:
    """Recall of every caption's video and of every video's captions, by table look-up over the uint8 codes.

    What is measured of the workspace's own model and features is kept there, for `hcq report` to show.

    Args:
        checkpoint, features: other ones than the workspace's.
        captions: default: those the checkpoint was trained on, else the workspace's.
        split: train, val, test or all; default: test, or all where nothing is marked test.
        compress: other methods to compress the dense vectors with, with commas: lsh, itq, pq, opq, lsq.
        sizes: bytes a video for these, with commas; default: the model's.
        plot: a file to draw recall against bytes into.
        calibration: a file to draw into how often something fits, against the confidence of the first hit.
        html: a page to write: curves, and each caption with its rank and what stood first.
        device: cpu or cuda.

    Raises:
        NotFoundError: no checkpoint, no features, no captions, or no captioned video in the split.
        UsageError: no such split, method or size.
        HcqError: Faiss or matplotlib is needed and not installed, or the model has no confidences.
    """
    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: known are {', '.join(SPLITS)}", "hcq eval --split test")
    methods = _methods(compress, plot or calibration)
    folder = find_checkpoint(workspace, checkpoint)
    model, store, dataset = _opened(workspace, folder, captions, features or workspace.features, device=device)

    from hcq_cli.evaluation.calibration import calibrate
    from hcq_cli.evaluation.plots import plot_calibration, plot_recall
    from hcq_cli.evaluation.retrieval import SavedEvaluation, evaluate_vectors, write_evaluated
    from hcq_cli.model.encoding import encode_both, expert_warnings

    warnings = [*dataset.warnings, *expert_warnings(model, store)]
    if split is None and not len(dataset.splits["test"]):
        warnings.append("no caption is marked as test: measured on all videos, those trained on included")
    for warning in warnings:
        progress.warn(warning)
    name, part = _chosen_split(dataset, split)
    with progress.progress("encoding", total=len(part), unit="videos") as bar:
        encoded = encode_both(model, store, part, bar.advance)
    wanted = [(method, size) for size in _sizes(sizes, model) for method in methods]
    done = Evaluation(
        split=name,
        kind=model.config.kind,
        measured=evaluate_vectors(model, encoded),
        calibration=calibrate(model, encoded) if calibration is not None else None,
        compressed=_compressed(model, store, dataset, encoded, wanted=wanted, warnings=warnings, progress=progress),
        warnings=warnings,
    )
    if done.calibration is not None and calibration is not None:
        plot_calibration(done.calibration, calibration, done.title)
    if plot is not None:
        plot_recall(done.points, plot, done.title, notes=warnings)
    if checkpoint is None and features is None:
        with suppress(OSError, HcqError):  # a workspace that is only read
            write_evaluated(workspace.evaluation, SavedEvaluation(done.title, model.hash, tuple(done.points)))
    if html is not None:
        _write_page(html, done, model, encoded, store=store, part=part, progress=progress)
    return done


def _opened(
    workspace: Workspace,
    checkpoint: Path,
    captions: str | PathLike[str] | None,
    features: Path,
    *,
    device: str,
) -> tuple[Model, FeatureStore, Dataset]:
    """The model, the features, and the captions that were given, else those it was trained on or the workspace's."""
    from hcq_cli.datasets.captions import read_captions
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import load, read_header

    trained_on = str(read_header(checkpoint).about.get("captions", ""))
    given = captions or (trained_on if trained_on and Path(trained_on).is_file() else None)
    store, read = FeatureStore.open(features), read_captions(caption_file(workspace, given, "eval"))
    model = load(checkpoint, device)  # torch takes seconds: what can be wrong without it is found before

    from hcq_cli.datasets.dataset import load_dataset

    return model, store, load_dataset(store, read)


def _write_page(
    path: Path,
    done: Evaluation,
    model: Model,
    encoded: Encoded,
    *,
    store: FeatureStore,
    part: Split,
    progress: Progress,
) -> None:
    """Write the page; what was there is replaced when it is whole. Raises OSError where it cannot be written."""
    from hcq_cli.evaluation.retrieval import found_by_captions
    from hcq_cli.files import write_text
    from hcq_cli.web.evaluation import AskedCaption, evaluation_page

    ranks, first = found_by_captions(model, encoded)

    def video(number: int) -> tuple[str, str]:
        facts = store.facts(int(part.rows[number]))
        return facts.id, facts.path

    def caption(number: int) -> AskedCaption:
        own, best = int(encoded.owner[number]), int(first[number])
        return AskedCaption(part.sentences[number], float(ranks[number]), video(own), video(best))

    folder = path.parent.resolve()
    with progress.progress("thumbnails", total=None, unit="videos") as bar:
        page = evaluation_page(done.title, done.points, ranks, caption, folder, notes=done.warnings, done=bar.advance)
    write_text(path, page)


def check_captions(
    workspace: Workspace,
    file: Path,
    *,
    features: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[CaptionReport, FeatureStore | None]:
    """What a caption file holds, which line is wrong, which videos have no features.

    Args:
        workspace: in whose features the videos are looked up, if it has any.
        file: of captions, in any format that is read.
        features: another store.

    Returns:
        the report, and the store; None where there is none.

    Raises:
        NotFoundError: no such file, or the store asked for is not there.
        DamagedError: it is no caption file.
    """
    from hcq_cli.datasets import dataset
    from hcq_cli.features.store import FeatureStore

    place = features or workspace.features
    store: FeatureStore | None = None
    if features is None and not place.is_dir():
        progress.note(f"no feature store at {place} yet (hcq extract VIDEOS): names are not looked up")
    else:
        store = FeatureStore.open(place)
    return dataset.check_captions(file, store), store


def _methods(compress: str | None, plot: Path | None) -> list[str]:
    """The methods asked for; fails before anything is loaded if they cannot be had."""
    from hcq_cli.baselines.compression import parse_methods, require_faiss

    if plot is not None:
        from hcq_cli.evaluation.plots import require_matplotlib

        require_matplotlib()
    if compress is None:
        return []
    found = parse_methods(compress)
    require_faiss()
    return found


def _sizes(given: str | None, model: Model) -> list[int]:
    """Bytes a video to compress to: each a multiple of the levels, which are compressed one by one."""
    if given is None:
        return [model.config.code_bytes]
    levels = model.config.levels + 1
    sizes = [part.strip() for part in given.split(",") if part.strip()]
    for size in sizes:
        if not size.isdecimal() or int(size) < levels or int(size) % levels:
            raise UsageError(
                f"--bytes {size}: not a multiple of the model's {levels} levels", f"--bytes {8 * levels}"
            )
    return sorted({int(size) for size in sizes})


def _compressed(
    model: Model,
    store: FeatureStore,
    dataset: Dataset,
    test: Encoded,
    wanted: Sequence[tuple[str, int]],
    warnings: list[str],
    progress: Progress,
) -> list[CompressionResult]:
    """The dense vectors of the test videos by other methods, each fitted on the training split."""
    if not wanted:
        return []
    from hcq_cli.baselines.compression import compress
    from hcq_cli.model.encoding import training_vectors

    part = dataset.splits["train"]
    if not len(part):
        raise NotFoundError("--compress: no captioned video is in the training split to fit on", "hcq captions check")
    done = []
    with progress.progress("compressing", total=len(wanted) + 1, unit="methods") as bar:
        train = training_vectors(model, store, part).all
        bar.advance(1)
        for method, size in wanted:
            try:
                done.append(compress(train, test, model.config.level_weights, method, size))
            except HcqError as error:  # too few videos to fit this one on: the others can still be compared
                warnings.append(f"left out: {error.message}")
                progress.warn(warnings[-1])
            bar.advance(1)
    if not done:
        raise HcqError("--compress: none of the methods can do it", "hcq eval --compress opq")
    return done


def _chosen_split(dataset: Dataset, split: str | None) -> tuple[str, Split]:
    name = split or ("test" if len(dataset.splits["test"]) else "all")
    part = dataset.everything if name == "all" else dataset.splits[name]
    if not len(part):
        raise NotFoundError(f"no captioned video is in split {name}", "hcq eval --split all")
    return name, part
