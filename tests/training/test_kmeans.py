"""Spherical k-means against a plain loop, and cells that must not die."""

from __future__ import annotations

import numpy as np
import torch

from hcq_cli.model.config import QuantizerConfig
from hcq_cli.model.quantizer import ProductQuantizer
from hcq_cli.training import kmeans
from hcq_cli.training.codebooks import EmbeddingSample, fit_codewords, usage


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_one_iteration_equals_a_plain_loop() -> None:
    points, words = unit(60, 3, 4), unit(3, 5, 4, seed=1)
    found = kmeans.kmeans(points, words, 1, spherical=True)
    for s in range(3):
        codes = (points[:, s] @ words[s].T).argmax(1)
        for k in range(5):
            cell = points[codes == k, s]
            assert len(cell)
            torch.testing.assert_close(found[s, k], torch.nn.functional.normalize(cell.sum(0), dim=0))


def test_blocks_change_nothing(monkeypatch) -> None:
    points, words = unit(60, 3, 4), unit(3, 5, 4, seed=1)
    whole = kmeans.assign(points, words)
    monkeypatch.setattr(kmeans, "BLOCK_BYTES", 4 * 3 * 5 * 7)
    for one, other in zip(whole, kmeans.assign(points, words), strict=True):
        torch.testing.assert_close(one, other)


def test_empty_cells_are_filled_again_and_no_codeword_is_zero() -> None:
    """The reference turns an empty cell into a zero vector, for good: it ended with 95 % of them."""
    points = unit(200, 2, 4)
    words = unit(2, 1, 4, seed=1).expand(2, 64, 4) + 1e-3 * unit(2, 64, 4, seed=2)  # nearly all in one place
    found = kmeans.kmeans(points, torch.nn.functional.normalize(words, dim=-1), 10, spherical=True)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 64), atol=1e-5, rtol=0)
    codes, _ = kmeans.assign(points, found)
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
