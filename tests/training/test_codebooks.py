"""k-means against a plain loop, cells that must not die; the rotation: orthogonal, balanced, unseen in any score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from hcq_cli.evaluation.scores import DenseScores, LookUpScores
from hcq_cli.model.config import QuantizerConfig
from hcq_cli.model.quantizer import ProductQuantizer
from hcq_cli.model.trained_model import Model
from hcq_cli.scan.table import reconstruct_levels
from hcq_cli.training import codebooks
from hcq_cli.training.codebooks import (
    EmbeddingSample,
    allocate_axes,
    assign,
    balanced_rotation,
    fit_codewords,
    kmeans,
    usage,
)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_one_iteration_equals_a_plain_loop() -> None:
    points, words = unit(60, 3, 4), unit(3, 5, 4, seed=1)
    found = kmeans(points, words, 1, spherical=True)
    for s in range(3):
        codes = (points[:, s] @ words[s].T).argmax(1)
        for k in range(5):
            cell = points[codes == k, s]
            assert len(cell)
            torch.testing.assert_close(found[s, k], torch.nn.functional.normalize(cell.sum(0), dim=0))


def test_blocks_change_nothing(monkeypatch) -> None:
    points, words = unit(60, 3, 4), unit(3, 5, 4, seed=1)
    whole = assign(points, words)
    monkeypatch.setattr(codebooks, "BLOCK_BYTES", 4 * 3 * 5 * 7)
    for one, other in zip(whole, assign(points, words), strict=True):
        torch.testing.assert_close(one, other)


def test_empty_cells_are_filled_again_and_no_codeword_is_zero() -> None:
    """The reference turns an empty cell into a zero vector, for good: it ended with 95 % of them."""
    points = unit(200, 2, 4)
    words = unit(2, 1, 4, seed=1).expand(2, 64, 4) + 1e-3 * unit(2, 64, 4, seed=2)  # nearly all in one place
    found = kmeans(points, torch.nn.functional.normalize(words, dim=-1), 10, spherical=True)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 64), atol=1e-5, rtol=0)
    codes, _ = assign(points, found)
    assert min(len(codes[:, s].unique()) for s in range(2)) >= 61


def test_fewer_points_than_codewords_each_get_their_own() -> None:
    module = ProductQuantizer(QuantizerConfig(codebooks=2, codewords=64), [0.5, 0.5], 8)
    vectors = unit(10, 2, 8)
    module.active.fill_(10)
    fit_codewords(module, vectors, 5, torch.Generator().manual_seed(0))
    found = usage(module, vectors)
    assert (found.share, found.active) == (100.0, 10)
    rebuilt = module(vectors).vectors.detach()
    torch.testing.assert_close((module.chunks(vectors).flatten(2) * 0.5**0.5), rebuilt, atol=1e-5, rtol=0)


def test_fewer_distinct_points_than_active_codewords() -> None:
    module = ProductQuantizer(QuantizerConfig(codebooks=2, codewords=32), [1.0], 8)
    vectors = unit(3, 1, 8).repeat(4, 1, 1)
    fit_codewords(module, vectors, 5, torch.Generator().manual_seed(0))
    assert torch.isfinite(module.codewords).all()
    assert (module.used_codewords().norm(dim=-1) > 0.99).all()


def test_the_sample_is_bounded_and_keeps_the_newest() -> None:
    sample = EmbeddingSample(5, (1, 2))
    for start in (0, 3, 6):
        sample.add(torch.arange(start, start + 3.0)[:, None, None].expand(3, 1, 2))
    assert sorted(np.unique(sample.get().numpy()).tolist()) == [4, 5, 6, 7, 8]


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
    assert allocate_axes([9.0, 5.0, 4.0, 1.0], 2) == [0, 3, 1, 2]
    assert sorted(allocate_axes([float(12 - i) for i in range(12)], 3)) == list(range(12))


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
            self.quantizer, self.hubness = module, None
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
