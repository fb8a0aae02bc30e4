"""HCT, the hybrid contrastive transformer: HCQ's network and loss on dense vectors, with no quantizer.

The dense model that HCQ is measured against in its own paper (Wang et al., WWW 2022, arXiv 2202.03384). Its training
by contrast is also the first phase of the other baselines.
"""

from __future__ import annotations

import torch

from hcq_cli.model.config import ModelConfig
from hcq_cli.model.hcq import DualEncoder, TwoTowers
from hcq_cli.model.text import TextTransformer
from hcq_cli.training.config import Recipe
from hcq_cli.training.losses import BatchEmbeddings, Pairs, StepResult, batch_R1, contrast
from hcq_cli.training.method import TrainingMethod


class HCT(TwoTowers):
    """The towers alone, (L+1)·D floats a video; its vectors are what post-compression starts from.

    Args:
        config, text_encoder: as `DualEncoder`.
    """

    def __init__(self, config: ModelConfig, text_encoder: TextTransformer) -> None:
        super().__init__(config, text_encoder)
        self.quantizer = None


def contrastive_step(network: DualEncoder, dense: BatchEmbeddings, pairs: Pairs, recipe: Recipe) -> StepResult:
    """The contrast of dense with dense at every level: all of HCT's loss, and how the other baselines begin."""
    weights = network.level_weights
    loss = (weights * contrast(dense, dense, pairs, recipe.loss.temperature, recipe.loss.prior)).sum()
    with torch.no_grad():
        found = batch_R1(dense.texts, dense.videos, pairs, weights)
    return StepResult(loss, found, found)


def dense_epochs(recipe: Recipe) -> int:
    """How many epochs train the towers of JPQ and DCMH alone: at least one, and at least one is left for their own.

    Both methods start, in their papers, from encoders that retrieve already (a dual encoder trained by contrast, a
    pretrained network). So the first `sibling.dense` of the epochs are spent on that.
    """
    epochs = recipe.training.epochs
    return min(max(round(recipe.sibling.dense * epochs), 1), max(epochs - 1, 1))


class HCTMethod(TrainingMethod[DualEncoder]):
    """HCQ's loss on dense vectors; there are no codewords to move."""

    def training_step(self, dense: BatchEmbeddings, pairs: Pairs, epoch: int) -> StepResult:
        """See `TrainingMethod.training_step`."""
        return contrastive_step(self.network, dense, pairs, self.recipe)
