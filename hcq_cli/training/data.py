"""What a training run learns from: features, captions, and the experts that say something about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hcq_cli.datasets.dataset import Dataset, has_tokens
from hcq_cli.datasets.features import Features
from hcq_cli.datasets.splits import Split
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.config import ExpertConfig


@dataclass(frozen=True)
class TrainingData:
    """Everything a run learns from.

    Args:
        features: of all rows.
        experts: those that have tokens for some training video.
        train, validation: splits; validation may be empty. Test videos are not here at all.
        explanation: where the validation videos come from, a sentence.
        warnings: what is doubtful, a sentence each.
    """

    features: Features
    experts: dict[str, ExpertConfig]
    train: Split
    validation: Split
    explanation: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def rows(self) -> np.ndarray:
        """int64: rows of the training and validation videos."""
        return np.concatenate([self.train.rows, self.validation.rows])


def training_data(store: FeatureStore, dataset: Dataset) -> TrainingData:
    """What a run learns from: training and validation videos, and the experts that say something about them.

    Raises:
        HcqError: no video is left to train on.
    """
    train, warnings = dataset.splits["train"], list(dataset.warnings)
    if not len(train):
        raise HcqError("no captioned video is in the training split", "hcq captions check FILE")
    names = list(store.experts)
    # An expert that is silent on every training video would get projections that nothing ever trains.
    there = np.atleast_1d(has_tokens(store, train.rows, names).any(0)).tolist()
    silent = [name for name, any_tokens in zip(names, there, strict=True) if not any_tokens]
    if silent:
        warnings.append(f"no training video has tokens of {', '.join(silent)}: trained without")
    if len(train) == 1:
        warnings.append("one video only: there is nothing to tell it from, so nothing is learned")
    experts = {
        name: ExpertConfig(store.experts[name].dim, store.experts[name].identity)
        for name in names
        if name not in silent
    }
    return TrainingData(store, experts, train, dataset.splits["val"], dataset.explanation, warnings=warnings)
