"""The rotation over all levels: orthogonal, balanced, and invisible in every score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from hcq_cli.evaluation.scores import DenseScores, LookUpScores
from hcq_cli.model.checkpoint import Model
from hcq_cli.model.config import QuantizerConfig
from hcq_cli.model.quantizer import ProductQuantizer
from hcq_cli.scan.table import reconstruct_levels
from hcq_cli.training.codebooks import fit_codewords, usage
from hcq_cli.training.kmeans import kmeans
from hcq_cli.training.rotation import balanced_rotation, deal_out

WEIGHTS = [0.4, 0.3, 0.3]


def vectors(count: int = 400, seed: int = 0) -> torch.Tensor:
    """Levels that say much the same: a few hidden causes, mixed anew in each level. [count, 3, 8]"""
    random = torch.Generator().manual_seed(seed)
    causes = torch.randn(count, 5, generator=random)
    mixing = torch.randn(5, 24, generator=torch.Generator().manual_seed(1))
    noise = 0.1 * torch.randn(count, 24, generator=random)
    return normalize((causes @ mixing + noise).view(count, 3, 8), dim=-1)


def fitted(rotation: str, gradient: str = "identity") -> ProductQuantizer:
    config = QuantizerConfig(codebooks=2, codewords=32, rotation=rotation, gradient=gradient)
    module = ProductQuantizer(config, WEIGHTS, 8)
    fit_codewords(module, vectors(), 15, torch.Generator().manual_seed(0))
    return module


def test_it_is_orthogonal_and_no_chunk_has_much_more_to_tell() -> None:
    points = vectors().flatten(1)
    rotation = balanced_rotation(points, 6)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(24), atol=1e-5, rtol=0)
    covariance = torch.cov((points @ rotation.T).T)
    off = covariance - torch.diag(covariance.diagonal())
    assert off.abs().max() < 1e-5 * covariance.diagonal().max()
    bits = covariance.diagonal().log2().view(6, 4).sum(1)
    plain = torch.cov(points.T).diagonal().log2().view(6, 4).sum(1)
    assert bits.max() - bits.min() < 0.5 * (plain.max() - plain.min()) + 4


def test_axes_are_dealt_out_like_cards_to_whoever_has_least() -> None:
    assert deal_out([9.0, 5.0, 4.0, 1.0], 2) == [0, 3, 1, 2]
    assert sorted(deal_out([float(12 - i) for i in range(12)], 3)) == list(range(12))


def test_rotating_and_back_changes_nothing_and_keeps_hybrid_scores() -> None:
    module, x, y = fitted("all"), vectors(20, seed=2), vectors(30, seed=3)
    torch.testing.assert_close(module.restore(module.rotate(x)), x, atol=1e-5, rtol=0)
    hybrid = torch.from_numpy(DenseScores(x.numpy(), y.numpy(), WEIGHTS)[:])
    torch.testing.assert_close(module.rotate(x).flatten(1) @ module.rotate(y).flatten(1).T, hybrid, atol=1e-5, rtol=0)


def test_plain_kmeans_equals_a_plain_loop() -> None:
    points, words = torch.randn(80, 2, 3), torch.randn(2, 6, 3)
    found = kmeans(points, words, 1, spherical=False)
    for s in range(2):
        codes = ((points[:, s, None] - words[s]) ** 2).sum(-1).argmin(1)
        for k in codes.unique():
            torch.testing.assert_close(found[s, k], points[codes == k, s].mean(0))


@pytest.mark.parametrize("gradient", ["identity", "soft"])
def test_look_up_equals_the_score_of_the_rebuilt_vectors(gradient: str) -> None:
    module, queries, items = fitted("all", gradient), vectors(7, seed=4), vectors(40, seed=5)
    quantized = module(items)
    rebuilt = quantized.vectors.detach().numpy()

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quantizer = module
            self.register_buffer("level_weights", torch.tensor(WEIGHTS))

        class config:
            bytes_per_video, quantizer, level_weights = 6, module.config, WEIGHTS

    model = Model(Network(), None, "")  # type: ignore[arg-type]
    codes = model.quantize(items.numpy(), "videos")
    assert (codes.reshape(quantized.codes.shape) == quantized.codes.numpy()).all()
    found = LookUpScores(model.search_vectors(queries.numpy()), codes, model.codebooks, model.scale)[:]
    np.testing.assert_allclose(found, DenseScores(queries.numpy(), rebuilt, WEIGHTS)[:], atol=1e-5)
    # A coded video as a query: its codewords put together, against the codes of the others.
    like = reconstruct_levels(codes, model.codebooks, 3)
    found = LookUpScores(like, codes, model.codebooks, model.scale)[:]
    np.testing.assert_allclose(found, DenseScores(rebuilt, rebuilt, WEIGHTS)[:], atol=1e-5)


def test_at_equal_bytes_it_loses_less_than_levels_cut_one_by_one() -> None:
    x = vectors(200, seed=6)
    lost = {kind: (fitted(kind)(x).vectors - x).square().sum((1, 2)).mean() for kind in ("all", "none")}
    assert lost["all"] < 0.5 * lost["none"]


def test_gradients_reach_the_vectors_and_the_chosen_codewords() -> None:
    module, x = fitted("all"), vectors(10, seed=7).requires_grad_()
    quantized = module(x)
    probe = torch.randn(10, 3, 8)
    (quantized.vectors * probe).sum().backward()
    torch.testing.assert_close(x.grad, probe, atol=1e-4, rtol=0)  # the rotation and its inverse cancel out
    touched = module.codewords.grad.square().sum(-1).view(6, 32) > 0
    for s in range(6):
        assert set(touched[s].nonzero()[:, 0].tolist()) == set(quantized.codes.flatten(1)[:, s].tolist())


def test_every_codeword_is_used() -> None:
    assert usage(fitted("all"), vectors()).share > 95
