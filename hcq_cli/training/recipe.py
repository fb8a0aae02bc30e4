"""Recipes: small TOML files that inherit and override; `--set key=value` overrides them once more."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.model.config import ModelConfig, from_table

MODEL_TABLES = ("text", "video", "quantizer")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast, and in what portions.

    Args:
        epochs: E.
        samples_per_epoch: videos an epoch, each as often as any other; 0 for each once, or as `min_steps` says.
        min_steps: with little data an epoch goes through it several times, so that all epochs together have
            at least so many steps.
        batch_size: most videos a step.
        captions_per_video: C, captions that each video brings to a step.
        seed: of everything random.
        optimizer_lr: Adam's step size for what starts from random weights.
        text_lr: the same for a pretrained text encoder.
        codeword_lr: the same for the codewords.
        weight_decay: AdamW's.
        schedule: `cosine` to zero after a warm-up, or `exponential`: ×`decay` an epoch.
        decay: see `schedule`.
        warmup: share of all steps during which the step size rises.
        clip_norm: longest gradient; 0 for no clipping.
        amp: bfloat16 for the towers: `auto` (on CUDA), `on` or `off`. Losses and codewords stay float32.
        accumulate: portions a step's batch is cut in, to fit a small device; their gradients are added up. A
            portion's negatives are its own.
        cache_mb: features up to this size are kept in memory, MB; larger sets are read batch by batch.
    """

    epochs: int = 30
    samples_per_epoch: int = 0
    min_steps: int = 90
    batch_size: int = 64
    captions_per_video: int = 1
    seed: int = 0
    optimizer_lr: float = 1e-3
    text_lr: float = 1e-4
    codeword_lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "cosine"
    decay: float = 0.95
    warmup: float = 0.1
    clip_norm: float = 1.0
    amp: str = "auto"
    accumulate: int = 1
    cache_mb: int = 1024


@dataclass(frozen=True)
class LossConfig:
    """AQ-CL and what goes with it.

    Args:
        temperature: τ.
        prior: of the debiased form; 0 is plain InfoNCE.
        fade: whether a dense–dense loss fades to the quantized one over the epochs.
        distill: weight of the cross-entropy between dense and quantized similarities.
        commitment: weight of the squared distance between chunks and their codewords.
    """

    temperature: float = 0.05
    prior: float = 0.0
    fade: bool = True
    distill: float = 0.0
    commitment: float = 0.0


@dataclass(frozen=True)
class CodebookConfig:
    """How the codewords move.

    Args:
        update: `kmeans` on each epoch's embeddings, `gradient`, or `both`.
        iterations: of k-means an epoch.
        until: share of the epochs after which k-means stops (gradient steps, if any, go on).
        refit: during this share of the epochs the rotation is fitted anew, and k-means starts anew…
        refit_every: …after each so-manyth of them.
        refit_iterations: of k-means then.
        final: k-means rounds after the last epoch, on what the finished towers give without dropout; 0 for none,
            and then hubs are not corrected either.
        sample: most vectors kept for k-means.
    """

    update: str = "kmeans"
    iterations: int = 5
    until: float = 1.0
    refit: float = 0.0
    refit_every: int = 1
    refit_iterations: int = 15
    final: int = 25
    sample: int = 8192


@dataclass(frozen=True)
class SiblingConfig:
    """What only the siblings JPQ and DCMH need.

    Args:
        dense: share of the epochs that train their towers alone, by contrast.
        rounds: JPQ: of OPQ on what the towers give then.
        negatives: JPQ: so many that a positive should beat, those with the highest quantized scores in the batch.
        temperature: DCMH: τ of its likelihood.
        quantization, balance: DCMH: weights of the distance to the signs, and of bits that are mostly alike.
    """

    dense: float = 0.7
    rounds: int = 10
    negatives: int = 8
    temperature: float = 0.1
    quantization: float = 0.3
    balance: float = 0.3


@dataclass(frozen=True)
class Recipe:
    """Everything a training run needs to know besides the data.

    Args:
        name: of the file it came from.
        description: a sentence for `hcq recipes`.
        model: shape of the model; its experts are filled in from the features.
        training, loss, codebook, sibling: as above.
    """

    name: str = "default"
    description: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    sibling: SiblingConfig = field(default_factory=SiblingConfig)

    def to_dict(self) -> dict[str, Any]:
        """As nested plain values, for JSON."""
        return dataclasses.asdict(self)


def names() -> list[str]:
    """The recipes that come with hcq."""
    folder = resources.files("hcq_cli.training") / "recipes"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load(name: str = "default", settings: Sequence[str] = ()) -> Recipe:
    """A recipe by name or file, with `settings` on top.

    Args:
        name: of a recipe of hcq's, or the path of a TOML file.
        settings: each "table.key=value"; the value is read as TOML, or else as it stands.

    Raises:
        NotFoundError: no such recipe.
        UsageError: a file or setting that makes no sense; the message names it.
    """
    tables = tables_of(name)
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise UsageError(f"--set {setting!r}: not of the form table.key=value", "--set training.epochs=10")
        where = tables
        for part in path[:-1]:
            where = where.setdefault(part, {})
            if not isinstance(where, dict):
                raise UsageError(f"--set {setting!r}: {part!r} is no table", "hcq recipes shows the tables")
        where[path[-1]] = _toml_value(text)
    return _recipe(name, tables)


def tables_of(name: str, heirs: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tables of a recipe, laid over those it inherits from.

    Args:
        name: as in `load`.
        heirs: recipes that inherit from it, to find those that inherit from themselves.

    Raises:
        NotFoundError: no such recipe.
        UsageError: it cannot be parsed, or inherits from itself.
    """
    if name in heirs:
        raise UsageError(f"recipe {name!r} inherits from itself", f"change `inherit` in {heirs[-1]}")
    text, nearby = _read(name)
    try:
        own = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"recipe {name}: {error}", "mend the line") from error
    parent = own.pop("inherit", None)
    if parent is None:
        return own
    if nearby is not None and str(parent).endswith(".toml"):
        parent = str(nearby / str(parent))
    return _laid_over(tables_of(str(parent), (*heirs, name)), own)


def _read(name: str) -> tuple[str, Path | None]:
    """A recipe's text, and the folder it lies in if it is a file of the user's."""
    path = Path(name)
    if name.endswith(".toml") or path.is_file():
        try:
            return path.read_text("utf-8"), path.parent
        except (OSError, UnicodeDecodeError) as error:
            raise NotFoundError(f"recipe {name}: cannot be read ({error})", "hcq recipes") from error
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}; or give a .toml file"
        raise NotFoundError(f"no recipe {name!r}", hint)
    return (resources.files("hcq_cli.training") / "recipes" / f"{name}.toml").read_text("utf-8"), None


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _recipe(name: str, tables: dict[str, Any]) -> Recipe:
    tables = dict(tables)
    tables.pop("sweep", None)  # values to try, not to train with: sweeps.py
    known = ("description", "model", *MODEL_TABLES, "training", "loss", "codebook", "sibling")
    for key in tables:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise UsageError(f"unknown table {key!r}", f"did you mean {near[0]}?" if near else f"known: {known}")
    model = {**tables.pop("model", {}), **{key: tables.pop(key) for key in MODEL_TABLES if key in tables}}
    if "experts" in model:
        raise UsageError("model.experts cannot be set", "the experts are those of the feature store")
    recipe = from_table(Recipe, {"name": name, "model": model, **tables}, "recipe")
    return check(dataclasses.replace(recipe, model=recipe.model.at_equal_bytes()))


def check(recipe: Recipe) -> Recipe:
    """The recipe, if its numbers make sense.

    Raises:
        UsageError: they do not; the message names the setting.
    """
    recipe.model.check()
    training, loss, codebook, sibling = recipe.training, recipe.loss, recipe.codebook, recipe.sibling
    wrong = [
        ("training.epochs", training.epochs, training.epochs >= 1),
        ("training.samples_per_epoch", training.samples_per_epoch, training.samples_per_epoch >= 0),
        ("training.batch_size", training.batch_size, training.batch_size >= 1),
        ("training.captions_per_video", training.captions_per_video, training.captions_per_video >= 1),
        ("training.accumulate", training.accumulate, training.accumulate >= 1),
        ("training.amp", training.amp, training.amp in ("auto", "on", "off")),
        ("training.seed", training.seed, training.seed >= 0),
        ("training.schedule", training.schedule, training.schedule in ("cosine", "exponential")),
        ("training.warmup", training.warmup, 0 <= training.warmup < 1),
        ("loss.temperature", loss.temperature, loss.temperature > 0),
        ("loss.prior", loss.prior, 0 <= loss.prior < 1),
        ("codebook.update", codebook.update, codebook.update in ("kmeans", "gradient", "both")),
        ("codebook.refit_every", codebook.refit_every, codebook.refit_every >= 1),
        ("codebook.sample", codebook.sample, codebook.sample >= 1),
        ("sibling.dense", sibling.dense, 0 <= sibling.dense <= 1),
        ("sibling.rounds", sibling.rounds, sibling.rounds >= 1),
        ("sibling.negatives", sibling.negatives, sibling.negatives >= 1),
        ("sibling.temperature", sibling.temperature, sibling.temperature > 0),
    ]
    for name, value, good in wrong:
        if not good:
            raise UsageError(f"{name} = {value!r} makes no sense", f"--set {name}=…")
    return recipe
