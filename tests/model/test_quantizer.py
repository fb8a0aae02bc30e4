"""Codes, straight-through gradients, and the score that search computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import CAPTIONS, batch, model

from hcq_cli.evaluation.scores import LookUpScores
from hcq_cli.model.config import QuantizerConfig
from hcq_cli.model.quantizer import ProductQuantizer


def quantizer(gradient: str = "identity") -> ProductQuantizer:
    torch.manual_seed(0)
    return ProductQuantizer(QuantizerConfig(codebooks=4, codewords=8, alpha=5.0, gradient=gradient), [1 / 3] * 3, 16)


@pytest.mark.parametrize("gradient", ["identity", "soft"])
def test_forward_is_the_nearest_codeword_of_every_chunk(gradient: str) -> None:
    module, x = quantizer(gradient), torch.randn(6, 3, 16)
    words = module.used_codewords().detach().numpy()
    found = module(x)
    for b in range(6):
        for level in range(3):
            for m in range(4):
                chunk = x[b, level, 4 * m : 4 * m + 4].numpy()
                code = int(np.argmax(words[level, m] @ chunk))
                assert found.codes[b, level, m] == code
                part = found.vectors[b, level, 4 * m : 4 * m + 4].detach().numpy()
                np.testing.assert_allclose(part, words[level, m, code] / 2, atol=1e-6)
    assert torch.equal(found.codes, module.codes(x))


def test_identity_gradient_reaches_the_chunk_and_the_chosen_codeword_only() -> None:
    module, x = quantizer(), torch.randn(1, 3, 16, requires_grad=True)
    probe = torch.randn(1, 3, 16)
    found = module(x)
    (found.vectors * probe).sum().backward()
    copy = x.detach().clone().requires_grad_()
    (module.chunks(copy).flatten(2) * 0.5 * probe).sum().backward()
    torch.testing.assert_close(x.grad, copy.grad)
    touched = module.codewords.grad.abs().sum(-1) > 0
    assert touched.sum(-1).max() == 1
    assert touched.gather(-1, found.codes[0][..., None]).all()


def test_soft_gradient_goes_through_the_attention() -> None:
    module, x = quantizer("soft"), torch.randn(2, 3, 16, requires_grad=True)
    probe = torch.randn(2, 3, 16)
    (module(x).vectors * probe).sum().backward()
    copy, words = x.detach().clone().requires_grad_(), module.used_codewords()
    chunks = module.chunks(copy)
    attention = (5.0 * torch.einsum("blmd,lmkd->blmk", chunks, words)).softmax(-1)
    soft = torch.einsum("blmk,lmkd->blmd", attention, words).flatten(2) * 0.5
    own = module.codewords.grad.clone()
    module.codewords.grad = None
    (soft * probe).sum().backward()
    torch.testing.assert_close(x.grad, copy.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(own, module.codewords.grad, atol=1e-6, rtol=1e-4)


def test_codewords_not_in_use_are_never_chosen() -> None:
    module = quantizer()
    module.active.fill_(3)
    assert module.codes(torch.randn(50, 3, 16)).max() == 2


def test_table_look_up_equals_the_hybrid_score_of_the_float_codewords() -> None:
    trained = model()
    config = trained.config
    videos = batch({"appearance": [3, 1, 4], "audio": [2, 0, 1]})
    queries, codes = trained.encode_texts(CAPTIONS), trained.encode_codes(videos)
    assert codes.dtype == np.uint8 and codes.shape == (3, config.bytes_per_video)
    scores = LookUpScores(queries, codes, trained.codebooks, trained.scale)[:]
    books = trained.codebooks.astype(np.float64)
    for q, levels in enumerate(queries.astype(np.float64)):
        for n, row in enumerate(codes):
            rebuilt = np.concatenate([books[s, code] for s, code in enumerate(row)]).reshape(levels.shape)
            cosines = (levels * rebuilt).sum(1) / np.linalg.norm(levels, axis=1) / np.linalg.norm(rebuilt, axis=1)
            coarse = 1 / (config.levels + 1)
            hybrid = coarse * cosines[0] + (1 - coarse) * cosines[1:].mean()
            assert abs(scores[q, n] - hybrid) < 1e-5


def test_codes_of_videos_are_codes_of_their_levels() -> None:
    trained = model()
    videos = batch({"appearance": [3, 1], "audio": [2, 0]})
    np.testing.assert_array_equal(
        trained.quantize(trained.encode_videos(videos), "videos"), trained.encode_codes(videos)
    )
