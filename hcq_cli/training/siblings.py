"""How the siblings are trained, as their own papers do it, on the towers and batches that HCQ gets.

JPQ and DCMH both start from towers that retrieve already (dual encoders trained by contrast, a pretrained network);
so here the first `sibling.dense` of the epochs are spent on that.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hcq_cli.model.hcq import DualEncoder
from hcq_cli.model.siblings.dcmh import DCMH
from hcq_cli.model.siblings.jpq import JPQ
from hcq_cli.model.vectors import Encoded
from hcq_cli.training.codebooks import Usage
from hcq_cli.training.losses import NEVER, Embedded, Pairs, Terms, batch_R1, contrast
from hcq_cli.training.opq import euclidean_usage, optimised_quantizer
from hcq_cli.training.recipe import Recipe


def dense_terms(network: DualEncoder, dense: Embedded, pairs: Pairs, recipe: Recipe) -> Terms:
    """The contrast of dense with dense at every level, HCT's loss."""
    weights = network.level_weights
    loss = (weights * contrast(dense, dense, pairs, recipe.loss.temperature, recipe.loss.prior)).sum()
    with torch.no_grad():
        found = batch_R1(dense.texts, dense.videos, pairs, weights)
    return Terms(loss, found, found)


def dense_epochs(recipe: Recipe) -> int:
    """How many epochs train the towers alone: at least one, and at least one is left."""
    epochs = recipe.training.epochs
    return min(max(round(recipe.sibling.dense * epochs), 1), max(epochs - 1, 1))


class HCTMethod:
    """HCQ's loss on dense vectors.

    Args:
        network: to train.
        recipe: how.
    """

    def __init__(self, network: DualEncoder, recipe: Recipe) -> None:
        self.network, self.recipe = network, recipe

    def begin(self, vectors: int) -> list[str]:
        """Nothing to prepare."""
        return []

    def terms(self, dense: Embedded, pairs: Pairs, epoch: int) -> Terms:
        """See `Method.terms`."""
        return dense_terms(self.network, dense, pairs, self.recipe)

    def close_epoch(self, vectors: Tensor, finished: int) -> None:
        """No codewords."""

    def settle(self, embed: Callable[[int], Encoded]) -> None:
        """Nothing to fit."""


def ranking_loss(scores: Tensor, positive: Tensor, negatives: Tensor, temperature: float, hardest: int) -> Tensor:
    """How surely each query's positive beats its hardest negatives: softplus of the difference over τ, mean.

    (The published code has a hinge over all negatives. With 22 epochs of a generated set at 64 bytes a hinge over
    the hardest ended at R@1 7.7 and R@10 40.1, this at 8.5 and 40.2: one seed, half of the epochs dense.)

    Args:
        scores: [Q, N].
        positive: int64 [Q].
        negatives: bool [Q, N].
        temperature: τ.
        hardest: so many of the highest-scored negatives count.
    """
    own = scores.gather(1, positive[:, None])
    others = scores.masked_fill(~negatives, NEVER).topk(min(hardest, scores.shape[1]), 1).values
    return F.softplus((others - own) / temperature).mean()


class JPQMethod:
    """Towers by contrast, then OPQ on what they give, then towers and codewords together by a ranking loss.

    Zhan et al. rank a query's positive against negatives that the index itself puts highest; here those are the
    batch's, scored against quantized vectors as a search would, in both directions.

    Args:
        network: to train.
        recipe: how.
    """

    def __init__(self, network: JPQ, recipe: Recipe) -> None:
        self.network, self.recipe = network, recipe

    def begin(self, vectors: int) -> list[str]:
        """Nothing to prepare."""
        return []

    def terms(self, dense: Embedded, pairs: Pairs, epoch: int) -> Terms:
        """See `Method.terms`."""
        alone = dense_terms(self.network, dense, pairs, self.recipe)
        if epoch < dense_epochs(self.recipe):
            return alone
        quantized = Embedded(self.network.quantizer(dense.texts), self.network.quantizer(dense.videos))
        sibling, loss = self.recipe.sibling, dense.texts.new_zeros(())
        t2v = dense.texts[:, 0] @ quantized.videos[:, 0].T
        v2t = dense.videos[pairs.owner, 0] @ quantized.texts[:, 0].T
        for scores, who in ((t2v, pairs.text_to_video()), (v2t, pairs.video_to_text())):
            loss = loss + ranking_loss(scores, *who, self.recipe.loss.temperature, sibling.negatives)
        with torch.no_grad():
            found = batch_R1(dense.texts, quantized.videos, pairs, self.network.level_weights)
        return Terms(loss, alone.dense_R1, found)

    @torch.no_grad()
    def close_epoch(self, vectors: Tensor, finished: int) -> Usage | None:
        """OPQ once the towers have been trained; after that the gradient alone moves the codewords."""
        quantizer, points = self.network.quantizer, vectors[:, 0]
        if finished == dense_epochs(self.recipe):
            shape, seed = self.network.config.quantizer, self.recipe.training.seed
            rounds = self.recipe.sibling.rounds
            rotation, words = optimised_quantizer(points, shape.codebooks, shape.codewords, rounds, seed)
            self.network.rotation.copy_(rotation)
            quantizer.codewords.copy_(words[None])
            points = points @ rotation
        return (
            euclidean_usage(points, quantizer.codewords[0].cpu()) if finished >= dense_epochs(self.recipe) else None
        )

    def settle(self, embed: Callable[[int], Encoded]) -> None:
        """The codewords stay as the gradient left them, as in the paper."""


class DCMHMethod:
    """Towers by contrast, then the hashing loss: likelihood, quantization, balance.

    Args:
        network: to train.
        recipe: how.
    """

    def __init__(self, network: DCMH, recipe: Recipe) -> None:
        self.network, self.recipe = network, recipe

    def begin(self, vectors: int) -> list[str]:
        """Nothing to prepare."""
        return []

    def terms(self, dense: Embedded, pairs: Pairs, epoch: int) -> Terms:
        """See `Method.terms`."""
        alone = dense_terms(self.network, dense, pairs, self.recipe)
        with torch.no_grad():
            signs = torch.sign(dense.videos)
            found = batch_R1(dense.texts, signs, pairs, self.network.level_weights)
        if epoch < dense_epochs(self.recipe):
            return Terms(alone.loss, alone.dense_R1, found)
        sibling, root = self.recipe.sibling, dense.texts.shape[-1] ** 0.5
        texts, videos = dense.texts[:, 0] * root, dense.videos[:, 0] * root
        t2v = dense.texts[:, 0] @ dense.videos[:, 0].T
        v2t = t2v.T[pairs.owner]
        loss = likelihood(t2v, *pairs.text_to_video(), sibling.temperature)
        loss = loss + likelihood(v2t, *pairs.video_to_text(), sibling.temperature)
        loss = loss + sibling.quantization * quantization(texts, videos[pairs.owner])
        loss = loss + sibling.balance * (texts.mean(0).square() + videos.mean(0).square()).mean()
        return Terms(loss, alone.dense_R1, found)

    def close_epoch(self, vectors: Tensor, finished: int) -> None:
        """The hashing layers begin; no codewords move: the 256 patterns of eight bits are what they are."""
        if finished == dense_epochs(self.recipe):
            self.network.hashes.fill_(True)

    def settle(self, embed: Callable[[int], Encoded]) -> None:
        """Nothing to fit."""


def likelihood(scores: Tensor, positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """−log p(S | Θ) of every query with every item of the batch, summed over items, mean over queries.

    Θ is the similarity over τ, less the log-odds of a chance pair, those of the batch as it is. Without them a batch,
    where nearly no pair belongs together, pushes all vectors apart whatever they say (the published code collapses
    so); with a constant for them it pushes, too, where all vectors lean one way.

    Args:
        scores: cosines [Q, N].
        positive: int64 [Q].
        negatives: bool [Q, N]; what is neither (copies of a video) does not count.
        temperature: τ.
    """
    theta = scores / temperature
    theta = theta - theta.masked_fill(~negatives, NEVER).logsumexp(1, keepdim=True).detach()
    own = theta.gather(1, positive[:, None])[:, 0]
    return (F.softplus(-own) + (F.softplus(theta) * negatives).sum(1)).mean()


def quantization(texts: Tensor, videos: Tensor) -> Tensor:
    """Mean squared distance of relaxed bits [T, bits] to the codes both sides share, B = sign(F + G)."""
    shared = torch.sign(texts + videos).detach()
    return ((shared - texts).square() + (shared - videos).square()).mean()
