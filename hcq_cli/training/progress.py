"""What a training run tells while it runs, and who is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepReport:
    """After a step.

    Args:
        epoch, epochs: which epoch, from 1, of how many.
        step, steps: steps done of all epochs, of how many.
        loss: of the step.
        seconds_left: guessed from the steps of this run so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds_left: float


@dataclass(frozen=True)
class EpochReport:
    """After an epoch; also a line of metrics.jsonl.

    Args:
        epoch: which, from 1.
        loss: mean of its steps.
        seconds: it took.
        used_codewords: percent of the codewords in use that some vector of the epoch chose; None where there are
            none to learn (HCT, DCMH, and JPQ before its quantizer is made).
        active_codewords: codewords in use a sub-codebook; K, or fewer where there are fewer training vectors.
        batch_R1, batch_dense_R1: percent of captions whose video is nearest inside their batch, by quantized and by
            dense vectors.
        validation: metrics by code, if there are validation videos: t2v and v2t, dense beside them.
        best: whether it is the best epoch so far.
    """

    epoch: int
    loss: float
    seconds: float
    used_codewords: float | None
    active_codewords: int | None
    batch_R1: float
    batch_dense_R1: float
    validation: dict[str, Any] = field(default_factory=dict)
    best: bool = False

    @property
    def ratio(self) -> float:
        """Quantized R@1 over dense R@1, percent: on validation, else inside the batches."""
        quantized, dense = self.batch_R1, self.batch_dense_R1
        if self.validation:
            quantized, dense = self.validation["t2v"]["R1"], self.validation["dense"]["t2v"]["R1"]
        return 100.0 * quantized / dense if dense else 0.0

    def to_dict(self) -> dict[str, Any]:
        """A line of metrics.jsonl: the fields by name, and `ratio` as quantized_to_dense."""
        return {**asdict(self), "quantized_to_dense": self.ratio}


class TrainingObserver:
    """Is told how training goes. By itself it does nothing: override what is of interest."""

    def note(self, sentence: str) -> None:
        """Something a person may want to know."""

    def warning(self, sentence: str) -> None:
        """Something a person should know."""

    def on_step_end(self, report: StepReport) -> None:
        """After each step."""

    def on_epoch_end(self, report: EpochReport) -> None:
        """After each epoch, when its state is on disk: what is raised here loses nothing."""
