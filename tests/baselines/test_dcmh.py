"""DCMH: its codes against plain NumPy, its losses against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_baselines import COUNTS, PAIRS, baseline, unit
from small_models import CAPTIONS, batch

from hcq_cli.baselines.dcmh import DCMH, likelihood, quantization
from hcq_cli.evaluation.scores import LookUpScores
from hcq_cli.model.config import QuantizerConfig
from hcq_cli.training.losses import Pairs


def test_dcmh_codes_are_the_signs_eight_a_byte() -> None:
    model = baseline("dcmh", quantizer=QuantizerConfig(5, 256))
    assert isinstance(model.network, DCMH)
    videos, texts = model.encode_videos(batch(COUNTS)), model.encode_texts(CAPTIONS)
    assert videos.shape == (3, 1, 40)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=-1), 1, atol=1e-5)
    codes = model.quantize(videos, "videos")
    np.testing.assert_array_equal(codes, np.packbits(videos[:, 0] > 0, axis=1, bitorder="little"))
    # A table's score is the query against the signs; of two signs it is the Hamming distance up to a constant.
    signs = np.where(videos[:, 0] > 0, 1, -1) / np.sqrt(40)
    found = LookUpScores(model.search_vectors(texts), codes, model.codebooks, model.scale)[:]
    np.testing.assert_allclose(found, texts[:, 0] @ signs.T, atol=1e-5)
    query = np.where(texts > 0, 1, -1).astype(np.float32) / np.float32(np.sqrt(40))
    differing = (query[:, 0][:, None] * signs[None] < 0).sum(-1)
    found = LookUpScores(query, codes, model.codebooks, model.scale)[:]
    np.testing.assert_allclose(found, 1 - differing / 20, atol=1e-5)


def test_likelihood_equals_a_plain_loop() -> None:
    torch.manual_seed(0)
    scores, wanted = unit(5, 8) @ unit(4, 8).T, []
    owner, group = PAIRS.owner.tolist(), PAIRS.group.tolist()
    for t, v in enumerate(owner):
        others = [n for n in range(4) if group[n] != group[v]]
        chance = math.log(sum(math.exp(float(scores[t, n]) / 0.1) for n in others))
        theta = [float(scores[t, n]) / 0.1 - chance for n in range(4)]
        own = -math.log(1 / (1 + math.exp(-theta[v])))
        wanted.append(own - sum(math.log(1 - 1 / (1 + math.exp(-theta[n]))) for n in others))
    assert float(likelihood(scores, *PAIRS.text_to_video(), 0.1)) == pytest.approx(np.mean(wanted), abs=1e-4)


def test_likelihood_does_not_mind_that_all_vectors_lean_one_way() -> None:
    """With a fixed intercept such a batch is pushed apart, whatever its vectors say."""
    scores = torch.linspace(-0.3, 0.3, 20).view(5, 4)
    found = likelihood(scores, *PAIRS.text_to_video(), 0.1)
    assert float(likelihood(scores + 0.6, *PAIRS.text_to_video(), 0.1)) == pytest.approx(float(found), abs=1e-4)


def test_a_batch_of_one_video_has_a_likelihood_and_a_gradient_of_zero() -> None:
    alone = Pairs(torch.tensor([0, 0]), torch.tensor([3]))
    scores = torch.full((2, 1), 0.5, requires_grad=True)
    found = likelihood(scores, *alone.text_to_video(), 0.1)
    found.backward()
    assert float(found.detach()) == 0 and scores.grad is not None and not scores.grad.any()


def test_quantization_is_least_where_both_sides_are_the_same_signs() -> None:
    signs = torch.sign(torch.randn(6, 16))
    assert float(quantization(signs, signs)) == 0
    found = float(quantization(signs * 0.5, signs * 1.5))
    assert found == pytest.approx(0.5)  # the shared code is sign(F + G), half away from each
