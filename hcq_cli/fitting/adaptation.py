"""Captions adapt a fitted model: how the map of its texts is learned, and whether it is worth keeping.

The networks stay as they are: a few dozen captions would spoil them. Learned is a small matrix A between the
directions of the captions and those of their videos, by contrast (InfoNCE, both ways), with a penalty on everything
that moves a text. How large the penalty is, and whether the map is kept at all, is decided on videos whose captions
were not learned from, searched for among all videos of the collection: those that are captioned must not push them
down.

Letters: Q captions, N captioned videos, P videos of the collection, D width of a vector, r rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcq_cli.evaluation.metrics import Metrics, summarise, text_to_video_ranks
from hcq_cli.fitting.adapter import TextAdapter
from hcq_cli.fitting.dual_space import spread_of
from hcq_cli.training.losses import Pairs, info_nce

RANK = 256
"""Most directions of either side that are kept."""
PENALTIES = (1.0, 0.1, 0.01)
"""On the squared length of A; what each does with 28 of 56 real clips captioned is in examples/EXPERIMENTS.md."""
FOLDS = 5
LEAST_VIDEOS = 10
"""Fewer captioned ones tell nothing of others."""
BATCH = 1024
STEPS = 100
"""Of Adam for each `BATCH` captions; at most `MOST_STEPS`."""
MOST_STEPS = 1000
STEP_SIZE = 0.05
FOR_DIRECTIONS = 4096
"""Vectors by which directions are found."""
SEED = 0


@dataclass(frozen=True)
class CaptionedVectors:
    """Captions, and the videos of a collection, as a fitted model has them.

    Args:
        texts: [Q, D].
        owner: int64 [Q], the position of each caption's video among `videos`.
        videos: [P, D], those without captions included.
        groups: int64 [P]; videos of the same content have the same number.
        asked: [n, D], generic sentences, which tell how far scores lie apart.
    """

    texts: Tensor
    owner: Tensor
    videos: Tensor
    groups: Tensor
    asked: Tensor

    def of(self, which: NDArray[np.bool_]) -> CaptionedVectors:
        """Some of the captions, and all videos."""
        at = torch.from_numpy(np.flatnonzero(which))
        return CaptionedVectors(self.texts[at], self.owner[at], self.videos, self.groups, self.asked)


@dataclass(frozen=True)
class Adaptation:
    """What was learned, and how it was decided.

    Args:
        adapter: the map; None where it is not kept.
        penalty: that was chosen; 0 where nothing could be learned.
        before, after: how captions that were not learned from find their video in the collection, by the float
            vectors; None where there were too few.
        validated: on what, a phrase.
    """

    adapter: TextAdapter | None
    penalty: float
    before: Metrics | None
    after: Metrics | None
    validated: str

    def to_dict(self) -> dict[str, Any]:
        """As `hcq train --json` has it."""
        figures = {"before": self.before, "after": self.after}
        measured = {name: metrics.to_dict() if metrics else None for name, metrics in figures.items()}
        return {
            "kept": self.adapter is not None,
            "penalty": self.penalty,
            "validated_on": self.validated,
            **measured,
        }


def adapt(learned: CaptionedVectors, validation: CaptionedVectors | None = None) -> Adaptation:
    """Learn the map, if it does not lose what is found without it.

    Args:
        learned: captions to learn from.
        validation: captions of other videos to decide by; None for `FOLDS` parts of the learned ones in turn.
    """
    if validation is not None:
        trials, validated = [(learned, validation)], f"{len(validation.texts)} captions that validate"
    elif len(learned.groups[learned.owner].unique()) < LEAST_VIDEOS:
        return Adaptation(None, 0.0, None, None, f"nothing: fewer than {LEAST_VIDEOS} captioned videos")
    else:
        trials, validated = list(_folds(learned)), f"{FOLDS} parts of the captioned videos in turn"
    before = _ranks([(None, held) for _, held in trials])
    found = {penalty: _ranks([(learn(own, penalty), held) for own, held in trials]) for penalty in PENALTIES}
    penalty = max(found, key=lambda each: float(_reciprocal(found[each]).mean()))
    change = _reciprocal(found[penalty]) - _reciprocal(before)
    # By chance alone the same model would come out a standard error worse in one of six trials.
    kept = change.mean() >= -change.std() / np.sqrt(len(change))
    adapter = learn(learned, penalty) if kept else None
    return Adaptation(adapter, penalty, summarise(before), summarise(found[penalty]), validated)


def _folds(whole: CaptionedVectors) -> Iterator[tuple[CaptionedVectors, CaptionedVectors]]:
    """The captions without those of each part of the videos, and those; copies of one content lie in one part."""
    own = whole.groups[whole.owner].numpy()
    order = np.random.default_rng((SEED, 15)).permutation(np.unique(own))
    for part in range(FOLDS):
        out = np.isin(own, order[part::FOLDS])
        yield whole.of(~out), whole.of(out)


def _ranks(trials: Sequence[tuple[TextAdapter | None, CaptionedVectors]]) -> NDArray[np.float64]:
    """0-based rank of each caption's video among all, float64 [Q], of all trials one after another."""
    found = []
    for adapter, held in trials:
        texts = adapter(held.texts) if adapter else held.texts
        for at in range(0, len(texts), BATCH):
            scores = (texts[at : at + BATCH] @ held.videos.T).numpy()
            found.append(text_to_video_ranks(scores, held.owner[at : at + BATCH].numpy()))
    return np.concatenate(found)


def _reciprocal(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (ranks + 1)


def learn(vectors: CaptionedVectors, penalty: float) -> TextAdapter:
    """The map that brings captions to their videos, and costs least.

    Args:
        vectors: to learn from.
        penalty: on the squared length of A.
    """
    videos = vectors.videos[vectors.owner.unique()]
    from_text, to_video = _directions(vectors.texts), _directions(videos)
    temperature = max(spread_of(vectors.asked, videos), 1e-3)
    A = torch.zeros(len(from_text), len(to_video), requires_grad=True)
    optimizer = torch.optim.Adam([A], STEP_SIZE)
    steps = min(STEPS * -(-len(vectors.texts) // BATCH), MOST_STEPS)
    generator = torch.Generator().manual_seed(SEED)
    with torch.enable_grad():
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = STEP_SIZE * 0.5 * (1 + np.cos(np.pi * step / steps))
            texts, videos, pairs = _batch(vectors, generator)
            scores = texts @ videos.T + (texts @ from_text.T) @ A @ (to_video @ videos.T)
            there = info_nce(scores, *pairs.text_to_video(), temperature)
            back = info_nce(scores.T[pairs.owner], *pairs.video_to_text(), temperature)
            optimizer.zero_grad()
            ((there + back) / 2 + penalty * A.square().sum()).backward()
            optimizer.step()
    adapter = TextAdapter(vectors.texts.shape[1], len(from_text))
    adapter.down.copy_(from_text)
    adapter.up.copy_(A.detach() @ to_video)
    return adapter


def _batch(vectors: CaptionedVectors, generator: torch.Generator) -> tuple[Tensor, Tensor, Pairs]:
    """At most `BATCH` captions, and their videos."""
    count = len(vectors.texts)
    at = torch.arange(count) if count <= BATCH else torch.randperm(count, generator=generator)[:BATCH]
    rows, owner = vectors.owner[at].unique(return_inverse=True)
    return vectors.texts[at], vectors.videos[rows], Pairs(owner, vectors.groups[rows])


def _directions(vectors: Tensor) -> Tensor:
    """Up to `RANK` directions in which vectors [n, D] lie, the longest first: orthonormal [r, D]."""
    step = -(-len(vectors) // FOR_DIRECTIONS)
    _, lengths, directions = torch.linalg.svd(vectors[::step], full_matrices=False)
    return directions[:RANK][lengths[:RANK] > 1e-5 * lengths[0]]
