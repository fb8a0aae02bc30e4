"""Every setting of a training run, as plain dataclasses: one a table of the recipe files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from hcq_cli.errors import UsageError
from hcq_cli.model.config import ModelConfig


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast, and in what batches.

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
        accumulate: micro-batches that a step's batch is cut into, to fit a small device; their gradients are added
            up. The negatives of a micro-batch are its own.
        cache_mb: features up to this size are kept in memory, MB; larger sets are read batch by batch.
        hold_outs: where no videos validate, so many models are trained beforehand, each without its part of the
            videos, to tell what to expect of videos that no model has seen; 0 for none.
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
    hold_outs: int = 0


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
        refit: share of the epochs, from the first on, during which k-means starts anew from random vectors and the
            rotation is fitted anew.
        refit_every: how many epochs lie between two such fresh starts.
        refit_iterations: of k-means at a fresh start.
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
class BaselineConfig:
    """What only the baselines JPQ and DCMH need; the table `[sibling]` of a recipe.

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
    sibling: BaselineConfig = field(default_factory=BaselineConfig)

    def to_dict(self) -> dict[str, Any]:
        """As nested plain values, for JSON."""
        return dataclasses.asdict(self)

    def check(self) -> Recipe:
        """The recipe, if its numbers make sense.

        Raises:
            UsageError: they do not; the message names the setting.
        """
        self.model.check()
        training, loss, codebook, sibling = self.training, self.loss, self.codebook, self.sibling
        settings = [
            ("training.epochs", training.epochs, training.epochs >= 1),
            ("training.samples_per_epoch", training.samples_per_epoch, training.samples_per_epoch >= 0),
            ("training.batch_size", training.batch_size, training.batch_size >= 1),
            ("training.captions_per_video", training.captions_per_video, training.captions_per_video >= 1),
            ("training.accumulate", training.accumulate, training.accumulate >= 1),
            ("training.amp", training.amp, training.amp in ("auto", "on", "off")),
            ("training.seed", training.seed, training.seed >= 0),
            ("training.hold_outs", training.hold_outs, training.hold_outs >= 0 and training.hold_outs != 1),
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
        for name, value, good in settings:
            if not good:
                raise UsageError(f"{name} = {value!r} makes no sense", f"--set {name}=…")
        return self
