"""JPQ: its codes against plain NumPy, its ranking loss against a plain loop, OPQ against k-means alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_baselines import COUNTS, PAIRS, baseline
from small_models import CAPTIONS, batch

from hcq_cli.baselines.jpq import JPQ, EuclideanQuantizer, optimised_quantizer, ranking_loss
from hcq_cli.evaluation.scores import LookUpScores
from hcq_cli.model.config import QuantizerConfig
from hcq_cli.training.codebooks import assign, kmeans, usage_of


def test_jpq_codes_are_the_nearest_codewords_whatever_their_length() -> None:
    torch.manual_seed(0)
    quantizer = EuclideanQuantizer(QuantizerConfig(4, 7), 12)
    with torch.no_grad():
        quantizer.codewords.mul_(torch.rand(1, 4, 7, 1) * 3)
    x = torch.nn.functional.normalize(torch.randn(9, 1, 12), dim=-1).requires_grad_()
    chunks, words = x.detach().numpy().reshape(9, 4, 3), quantizer.codewords.detach().numpy()[0]
    wanted = ((chunks[:, :, None] - words[None]) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(quantizer.codes(x)[:, 0].numpy(), wanted)
    hard = quantizer(x)
    np.testing.assert_allclose(hard.detach().numpy()[:, 0], words[np.arange(4), wanted].reshape(9, 12), atol=1e-6)
    # The reference never trains its codebooks: here the chosen codewords have a gradient, and x has one as if chosen.
    hard.sum().backward()
    assert quantizer.codewords.grad is not None and float(quantizer.codewords.grad.abs().sum()) == 9 * 12
    assert x.grad is not None and bool((x.grad == 1).all())


def test_jpqs_rotation_changes_no_dense_score_and_its_table_scores_are_inner_products() -> None:
    model = baseline("jpq", quantizer=QuantizerConfig(8, 16))
    assert isinstance(model.network, JPQ)
    before = model.encode_texts(CAPTIONS)[:, 0] @ model.encode_videos(batch(COUNTS))[:, 0].T
    model.network.rotation.copy_(torch.linalg.qr(torch.randn(32, 32))[0])
    texts, videos = model.encode_texts(CAPTIONS), model.encode_videos(batch(COUNTS))
    np.testing.assert_allclose(texts[:, 0] @ videos[:, 0].T, before, atol=1e-5)
    rebuilt = model.network.quantizer(torch.from_numpy(videos)).detach().numpy()
    found = LookUpScores(model.search_vectors(texts), model.quantize(videos, "videos"), model.codebooks, model.scale)[
        :
    ]
    np.testing.assert_allclose(found, texts[:, 0] @ rebuilt[:, 0].T, atol=1e-5)


def test_ranking_loss_equals_a_plain_loop() -> None:
    torch.manual_seed(1)
    scores = torch.rand(5, 4)
    positive, negatives = PAIRS.text_to_video()
    wanted = []
    for q in range(5):
        others = sorted((float(scores[q, n]) for n in range(4) if negatives[q, n]), reverse=True)[:2]
        wanted += [math.log1p(math.exp((other - float(scores[q, positive[q]])) / 0.3)) for other in others]
    found = float(ranking_loss(scores, positive, negatives, 0.3, 2))
    assert found == pytest.approx(np.sum(wanted) / (5 * 2), abs=1e-6)


def test_optimised_quantizer_is_orthogonal_and_better_than_k_means_without_rotation() -> None:
    torch.manual_seed(2)
    points = (
        torch.randn(500, 16)
        @ torch.diag(torch.exp(-torch.arange(16.0) / 4))
        @ torch.linalg.qr(torch.randn(16, 16))[0]
    )
    rotation, words = optimised_quantizer(points, 4, 32, 15, 0)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(16), atol=1e-4, rtol=0)
    again = optimised_quantizer(points, 4, 32, 15, 0)
    assert torch.equal(rotation, again[0]) and torch.equal(words, again[1])
    turned, plain = ((x.unflatten(1, (4, 4))) for x in (points @ rotation, points))
    unrotated = kmeans(plain, plain.transpose(0, 1)[:, :32], 30, spherical=False)
    assert squared_distances(turned, words).sum() < 0.9 * squared_distances(plain, unrotated).sum()
    assert usage_of(turned, words).share == 100.0


def squared_distances(chunks: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Of chunks [n, M, d] to their nearest codewords [M, K, d]."""
    return (-2 * assign(chunks, words)[1]).clamp_min(0)


def test_empty_cells_take_over_points() -> None:
    torch.manual_seed(3)
    chunks = torch.randn(2, 100, 3).transpose(0, 1)
    words = kmeans(chunks, torch.zeros(2, 16, 3), 5, spherical=False)  # all in one place
    codes, _ = assign(chunks, words)
    assert min(len(row.unique()) for row in codes.T) == 16
    plain = (chunks[:, 0, None] - words[0]).square().sum(-1).min(1).values
    torch.testing.assert_close(squared_distances(chunks, words)[:, 0], plain, atol=1e-5, rtol=1e-5)
