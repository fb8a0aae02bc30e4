"""What a training run learns from: features, captions, and the experts that say something about them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hcq_cli.datasets.dataset import Dataset, has_tokens
from hcq_cli.datasets.features import Features
from hcq_cli.datasets.splits import Split
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore
from hcq_cli.files import digest_bytes
from hcq_cli.model.checkpoint import CheckpointHeader
from hcq_cli.model.config import ExpertConfig
from hcq_cli.training.config import Recipe


@dataclass(frozen=True)
class TrainingData:
    """Everything a run learns from.

    Args:
        features: of all rows.
        experts: those that have tokens for some training video.
        train, validation: splits; validation may be empty. Test videos are not here at all.
        explanation: where the validation videos come from, a sentence.
        warnings: what is doubtful, a sentence each.
        contents: a digest of what the videos hold, by which a run knows that they are the same.
        init: a trained model to start from; None for a new one.
    """

    features: Features
    experts: dict[str, ExpertConfig]
    train: Split
    validation: Split
    explanation: str = ""
    warnings: list[str] = field(default_factory=list)
    contents: str = ""
    init: CheckpointHeader | None = None

    @property
    def rows(self) -> np.ndarray:
        """int64: rows of the training and validation videos."""
        return np.concatenate([self.train.rows, self.validation.rows])

    def fingerprint(self, recipe: Recipe) -> str:
        """Of everything that the outcome of a run depends on: settings, captions, and what the videos hold.

        Not their rows in the store, which move when other videos come or go.
        """
        settings = dataclasses.replace(recipe, model=recipe.model.with_experts(self.experts)).to_dict()
        body: list[Any] = [{**settings, "name": "", "description": ""}, self.contents]
        for split in (self.train, self.validation):
            body.append([list(captions) for captions in split.captions])
        # Numbers of equal contents: which one a content has depends on what else there is.
        groups = np.concatenate([self.train.groups, self.validation.groups])
        alike = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        started_from = [self.init.hash.encode()] if self.init else []
        return digest_bytes(json.dumps(body, sort_keys=True).encode(), alike.tobytes(), *started_from)

    def starting_from(self, init: CheckpointHeader) -> TrainingData:
        """Itself, with the experts of a trained model to start from.

        Raises:
            HcqError: the features hold not all of them, or others of that name.
        """
        for name, expert in init.config.experts.items():
            if name not in self.experts:
                raise HcqError(f"the features hold no {name}, which the model was trained with", "hcq features info")
            if self.experts[name].dim != expert.dim:
                wide = f"{self.experts[name].dim} wide, the model was trained on {expert.dim}"
                raise HcqError(f"the {name} features are {wide}", "hcq features info")
        return dataclasses.replace(self, experts=init.config.experts, init=init)


def training_data(store: FeatureStore, dataset: Dataset) -> TrainingData:
    """What a run learns from: training and validation videos, and the experts that say something about them.

    Raises:
        HcqError: no video is left to train on.
    """
    train, warnings = dataset.splits["train"], list(dataset.warnings)
    if not len(train):
        raise HcqError(
            "no captioned video is in the training split",
            'write "split": "train" in some lines, or leave all splits out',
        )
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
    rows = [*train.rows, *dataset.splits["val"].rows]
    contents = digest_bytes(*(store.facts(int(row)).content_hash.encode() for row in rows))
    return TrainingData(
        store, experts, train, dataset.splits["val"], dataset.explanation, warnings=warnings, contents=contents
    )
