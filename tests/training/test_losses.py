"""AQ-CL against plain loops, and who counts as a negative."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hcq_cli.training.config import LossConfig
from hcq_cli.training.losses import BatchEmbeddings, Pairs, contrast, dense_share, distillation, info_nce, objective


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def plain_info_nce(query: np.ndarray, positive: int, negatives: list[int], tau: float) -> float:
    e = np.exp(query.astype(np.float64) / tau)
    return -math.log(e[positive] / (e[positive] + sum(e[n] for n in negatives)))


@pytest.fixture
def batch() -> tuple[BatchEmbeddings, BatchEmbeddings, Pairs]:
    """Four videos, of which 1 and 3 are copies; video 0 brings two captions."""
    torch.manual_seed(0)
    dense, quantized = (BatchEmbeddings(unit(5, 3, 8), unit(4, 3, 8)) for _ in range(2))
    return dense, quantized, Pairs(torch.tensor([0, 0, 1, 2, 3]), torch.tensor([7, 5, 6, 5]))


def test_contrast_equals_a_plain_loop(batch: tuple[BatchEmbeddings, BatchEmbeddings, Pairs]) -> None:
    dense, quantized, pairs = batch
    owner, group = pairs.owner.tolist(), pairs.group.tolist()
    for level, found in enumerate(contrast(dense, quantized, pairs, 0.1, 0.0)):
        t2v = (dense.texts[:, level] @ quantized.videos[:, level].T).numpy()
        v2t = (dense.videos[:, level] @ quantized.texts[:, level].T).numpy()
        wanted = []
        for t, v in enumerate(owner):
            others = [n for n in range(4) if group[n] != group[v]]
            texts = [n for n in range(5) if group[owner[n]] != group[v]]
            wanted.append(plain_info_nce(t2v[t], v, others, 0.1) + plain_info_nce(v2t[v], t, texts, 0.1))
        assert float(found) == pytest.approx(np.mean(wanted), abs=1e-5)


def test_copies_of_a_video_are_no_negatives() -> None:
    """Counted as negatives, as the reference does, two perfectly matched copies could never reach a loss of 0."""
    vector = unit(1, 1, 8).expand(2, 1, 8)
    both = BatchEmbeddings(vector, vector)
    copies, strangers = Pairs(torch.arange(2), torch.tensor([4, 4])), Pairs(torch.arange(2), torch.arange(2))
    assert float(contrast(both, both, copies, 0.05, 0.0)) == pytest.approx(0, abs=1e-6)
    assert float(contrast(both, both, strangers, 0.05, 0.0)) == pytest.approx(2 * math.log(2), abs=1e-5)


def test_a_batch_of_one_has_no_loss_and_a_finite_gradient() -> None:
    texts, videos = unit(1, 2, 8).requires_grad_(), unit(1, 2, 8).requires_grad_()
    loss = contrast(
        BatchEmbeddings(texts, videos),
        BatchEmbeddings(texts, videos),
        Pairs(torch.arange(1), torch.arange(1)),
        0.05,
        0,
    )
    loss.sum().backward()
    assert float(loss.detach().sum()) == 0 and torch.isfinite(texts.grad).all()


def test_debiased_form_with_prior_0_is_plain() -> None:
    similarities, pairs = torch.rand(6, 6) * 0.3, Pairs(torch.arange(6), torch.arange(6))
    plain = info_nce(similarities, *pairs.text_to_video(), 0.1, 0.0)
    assert float(info_nce(similarities, *pairs.text_to_video(), 0.1, 1e-7)) == pytest.approx(float(plain), abs=1e-4)
    assert float(info_nce(similarities, *pairs.text_to_video(), 0.1, 0.1)) < float(plain) + 1


def test_the_dense_loss_fades_as_a_quarter_cosine() -> None:
    assert dense_share(0, 50) == 1
    assert dense_share(25, 50) == pytest.approx(math.sqrt(0.5))
    assert dense_share(50, 50) == pytest.approx(0, abs=1e-12)


def test_objective_mixes_dense_and_quantized_by_the_share(
    batch: tuple[BatchEmbeddings, BatchEmbeddings, Pairs],
) -> None:
    dense, quantized, pairs = batch
    weights, config = torch.tensor([0.2, 0.4, 0.4]), LossConfig(temperature=0.1)
    own = (weights * contrast(dense, dense, pairs, 0.1, 0)).sum()
    coded = (weights * contrast(dense, quantized, pairs, 0.1, 0)).sum()
    found = objective(dense, quantized, pairs, weights, 0.3, config)
    assert float(found.loss) == pytest.approx(float(0.3 * own + 0.7 * coded), abs=1e-5)


def test_distillation_is_least_where_both_rank_alike(batch: tuple[BatchEmbeddings, BatchEmbeddings, Pairs]) -> None:
    dense, quantized, _ = batch
    weights = torch.tensor([0.2, 0.4, 0.4])
    assert distillation(dense, dense, weights, 0.1) < distillation(dense, quantized, weights, 0.1)
