"""What a kind of model brings to the training loop: its loss, and how its codewords move between epochs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from hcq_cli.model.encoding import Encoded
from hcq_cli.model.hcq import HCQ, DualEncoder
from hcq_cli.training.codebooks import CodewordUsage, fit_codewords, usage
from hcq_cli.training.config import Recipe
from hcq_cli.training.losses import BatchEmbeddings, Pairs, StepResult, dense_share, objective

Network = TypeVar("Network", bound=DualEncoder)


class TrainingMethod(ABC, Generic[Network]):
    """All that the loop asks of a kind of model. By itself it has no codewords: override the hooks that move them.

    Made anew when a run is resumed, so it keeps nothing between epochs.

    Args:
        network: to train.
        recipe: how.
    """

    def __init__(self, network: Network, recipe: Recipe) -> None:
        self.network, self.recipe = network, recipe

    def on_train_start(self, vectors: int) -> list[str]:
        """Told once, before the first step of a new run, how many training vectors there are; returns warnings."""
        return []

    @abstractmethod
    def training_step(self, dense: BatchEmbeddings, pairs: Pairs, epoch: int) -> StepResult:
        """The loss of a step of epoch `epoch` (from 0)."""

    def on_epoch_end(self, vectors: Tensor, finished: int) -> CodewordUsage | None:
        """Move the codewords after `finished` epochs.

        Args:
            vectors: [n, L+1, D], the latest embeddings of the epoch.
            finished: epochs done, from 1.

        Returns:
            How many codewords are used; None where there are none to learn.
        """
        return None

    def on_train_end(self, embed: Callable[[int], Encoded]) -> CodewordUsage | None:
        """Told once, when the epoch that stays has been chosen: the last fit, to the finished towers.

        Args:
            embed: gives at most so many training vectors, without dropout.

        Returns:
            How many codewords are used; None if nothing was changed.
        """
        return None


class HCQMethod(TrainingMethod[HCQ]):
    """AQ-CL; the codewords follow by k-means, by gradient or by both."""

    def on_train_start(self, vectors: int) -> list[str]:
        """See `TrainingMethod.on_train_start`: with few vectors only as many codewords are used."""
        words = self.network.config.quantizer.codewords
        self.network.quantizer.active.fill_(min(words, vectors))
        if vectors >= words:
            return []
        return [
            f"{vectors} training vectors are fewer than {words} codewords: "
            f"{vectors} codewords a sub-codebook are used"
        ]

    def training_step(self, dense: BatchEmbeddings, pairs: Pairs, epoch: int) -> StepResult:
        """See `TrainingMethod.training_step`."""
        # One call for both sides: the quantizer is shared, and half as many calls are half as many kernels to start.
        vectors = self.network.quantizer(torch.cat([dense.texts, dense.videos])).vectors
        texts = len(dense.texts)
        quantized = BatchEmbeddings(vectors[:texts], vectors[texts:])
        share = dense_share(epoch, self.recipe.training.epochs) if self.recipe.loss.fade else 0.0
        if epoch == 0:
            share = 1.0  # the codewords are still random: they would teach the towers noise
        return objective(dense, quantized, pairs, self.network.level_weights, share=share, config=self.recipe.loss)

    def on_epoch_end(self, vectors: Tensor, finished: int) -> CodewordUsage:
        """k-means on the epoch's embeddings; from random vectors after the first epoch, which was dense only."""
        codebook, epochs = self.recipe.codebook, self.recipe.training.epochs
        fresh = finished <= codebook.refit * epochs and finished % codebook.refit_every == 0
        if finished == 1 or fresh:
            # Seeded by the epoch: a resumed run draws what the whole one drew, with no generator's state kept.
            generator = torch.Generator().manual_seed(self.recipe.training.seed + finished)
            fit_codewords(self.network.quantizer, vectors, codebook.refit_iterations, generator)
        elif codebook.update != "gradient" and finished <= codebook.until * epochs:
            fit_codewords(self.network.quantizer, vectors, codebook.iterations)
        return usage(self.network.quantizer, vectors)

    def on_train_end(self, embed: Callable[[int], Encoded]) -> CodewordUsage | None:
        """See `TrainingMethod.on_train_end`: codewords are fitted to what encoding will see, without dropout."""
        codebook = self.recipe.codebook
        if not codebook.final:
            return None
        learned, quantizer, hubness = embed(codebook.sample), self.network.quantizer, self.network.hubness
        videos, texts, owner = (torch.from_numpy(x) for x in (learned.videos, learned.texts, learned.owner))
        if hubness is not None:
            # First the hubs, then the codewords: these must stand for the vectors that will be quantized.
            videos, texts = hubness.fit(videos, texts, owner)
        vectors = torch.cat([videos, texts])
        # Without a rotation k-means goes on from the codewords there are, which the towers were trained with.
        generator = torch.Generator().manual_seed(self.recipe.training.seed) if quantizer.rotates else None
        fit_codewords(quantizer, vectors, codebook.final, generator)
        return usage(quantizer, vectors)
