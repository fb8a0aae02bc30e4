"""What the reference's layers do otherwise than ours, pinned: its ghost does nothing, its masked tokens count."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from reference_training import TrainingQuantizer

from hcq_cli.importers.official.layers import ReferenceUnit, ReferenceVLAD
from hcq_cli.importers.official.options import QuantizerOptions


def test_the_ghost_does_nothing():
    torch.manual_seed(0)
    vlad, tokens = ReferenceVLAD(4, 3, ghosts=1).eval(), torch.randn(2, 5, 4)
    before = vlad(tokens)
    with torch.no_grad():
        vlad.clusters[:, 3:] += 100.0
    assert torch.equal(before, vlad(tokens))


def test_a_masked_token_has_a_share_all_the_same():
    torch.manual_seed(0)
    vlad, tokens = ReferenceVLAD(4, 3).eval(), torch.randn(1, 5, 4)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    assert not torch.allclose(vlad(tokens, mask), vlad(tokens[:, :3]), atol=1e-3)


def test_codes_are_of_the_nearest_codewords_and_gradients_go_through():
    torch.manual_seed(0)
    quantizer = TrainingQuantizer(QuantizerOptions(M=2, K=4, add_BN=False), 6)
    x = torch.randn(3, 6, requires_grad=True)
    done = quantizer(x)
    chunks = F.normalize(x.unflatten(-1, (2, -1)), dim=-1)
    assert torch.equal(done.codes, torch.einsum("bmd,mkd->bmk", chunks, quantizer.codewords).argmax(-1))
    done.vectors.sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_dual_codebooks_are_not_clustered():
    quantizer = TrainingQuantizer(QuantizerOptions(M=2, K=4, dual_codebooks=True), 6)
    with pytest.raises(ValueError, match="dual codebooks"):
        quantizer.cluster(torch.randn(2, 1, 6), torch.randn(2, 6))


def test_a_linear_unit_has_length_one_and_no_gate():
    unit = ReferenceUnit(5, 4, kind="lin", normalize=False)
    assert unit.gate is None
    assert torch.allclose(unit(torch.randn(3, 5)).norm(dim=-1), torch.ones(3))
