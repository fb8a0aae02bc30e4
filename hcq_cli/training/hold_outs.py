"""What to expect of videos that a model has not seen, where too few are captioned to hold some out for good."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from hcq_cli.datasets.splits import Split
from hcq_cli.evaluation.retrieval import evaluate
from hcq_cli.training.config import Recipe
from hcq_cli.training.data import TrainingData
from hcq_cli.training.loop import Trainer
from hcq_cli.training.progress import TrainingObserver

LEAST_VIDEOS = 4
"""Of a part: among fewer, chance finds so much that nothing is told."""


def expect_of_new_videos(data: TrainingData, recipe: Recipe, device: str = "cpu") -> dict[str, Any]:
    """Train `training.hold_outs` models, each without its part of the videos, and search that part by its captions.

    Args:
        data: all of it; where videos validate, these tell already.
        recipe: how to train.
        device: where to compute.

    Returns:
        `captions` searched with, how many of them found their own video `first` among the other held-out ones, how
        many would by `chance`, `videos` of a part in the mean, and whether that is `about_chance`. Empty if nothing
        was to be measured, or the videos are too few.
    """
    parts = recipe.training.hold_outs
    contents = np.unique(data.train.groups)
    if not parts or len(data.validation) or len(contents) < LEAST_VIDEOS * parts:
        return {}
    first, chance, captions, videos = 0.0, 0.0, 0, 0
    for learned, held_out in _parts(data.train, contents, parts, recipe.training.seed):
        trainer = Trainer(dataclasses.replace(data, train=learned), recipe, None, TrainingObserver(), device)
        trainer.start(must_resume=False)
        while trainer.epoch < recipe.training.epochs:
            trainer.run_epoch()
        model, _ = trainer.fitted()
        found, queries = evaluate(model, data.features, held_out), len(held_out.sentences)
        first += found.quantized.t2v.R1 * queries / 100
        chance += queries / len(held_out)
        captions, videos = captions + queries, videos + len(held_out)
    # Twice the deviation of a count that chance alone would give.
    near_chance = first <= chance + 2 * np.sqrt(chance)
    return {
        "captions": captions,
        "first": round(first),
        "chance": round(chance, 1),
        "videos": round(videos / parts),
        "about_chance": bool(near_chance),
    }


def _parts(split: Split, contents: np.ndarray, parts: int, seed: int) -> Iterator[tuple[Split, Split]]:
    """The videos without each part, and that part; copies of one content lie in one part."""
    order = np.random.default_rng((seed, 11)).permutation(contents)
    for part in range(parts):
        out = np.isin(split.groups, order[part::parts])
        yield _chosen(split, ~out), _chosen(split, out)


def _chosen(split: Split, which: np.ndarray) -> Split:
    at = np.flatnonzero(which)
    return Split(split.rows[at], [split.captions[i] for i in at.tolist()], split.groups[at])
