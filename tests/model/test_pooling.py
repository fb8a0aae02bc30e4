"""Pooling against a few lines of plain NumPy, and the promises the reference breaks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hcq_cli.model.pooling import GatedMixture, GhostVLAD, MaskedBatchNorm


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def normalised(x: np.ndarray, w: dict[str, np.ndarray], prefix: str) -> np.ndarray:
    shifted = (x - w[f"{prefix}.running_mean"]) / np.sqrt(w[f"{prefix}.running_var"] + 1e-5)
    return shifted * w[f"{prefix}.weight"] + w[f"{prefix}.bias"]


@pytest.mark.parametrize("units", [1, 3])
def test_gated_mixture_equals_plain_numpy(units: int) -> None:
    torch.manual_seed(0)
    module = GatedMixture(10, 8, units).eval()
    module.norm.running_mean.normal_()
    h = torch.randn(5, 10)
    w, x = arrays(module), h.double().numpy()
    found = []
    for g in range(units):
        part = slice(8 * g, 8 * (g + 1))
        a = x @ w["embed.weight"][part].T + w["embed.bias"][part]
        gates = np.zeros((5, 8 * units))
        gates[:, part] = a @ w["gate_weight"][g].T + w["gate_bias"][part]
        found.append(unit(a / (1 + np.exp(-normalised(gates, w, "norm")[:, part]))))
    mixed = found[0]
    if units > 1:
        weights = softmax(x @ w["mixture.weight"].T + w["mixture.bias"])
        mixed = unit(sum(weights[:, g : g + 1] * found[g] for g in range(units)))
    np.testing.assert_allclose(module(h).detach().numpy(), mixed, atol=1e-5)


@pytest.mark.parametrize("fine_norm", ["l2", "batch"])
def test_ghostvlad_equals_plain_numpy(fine_norm: str) -> None:
    torch.manual_seed(0)
    module = GhostVLAD(8, 3, fine_norm).eval()
    z, mask = torch.randn(2, 5, 8), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], dtype=torch.bool)
    w = arrays(module)
    wanted = np.zeros((2, 3, 8))
    for b in range(2):
        for i in np.flatnonzero(mask[b]):
            token = z[b, i].double().numpy()
            shares = softmax(normalised(w["clusters.weight"] @ token, w, "logit_norm.text"))
            for level in range(3):
                wanted[b, level] += shares[level + 1] * (token - w["centroids"][level])
    if fine_norm == "batch":
        wanted = normalised(wanted.reshape(2, -1), w, "fine_norm.text").reshape(2, 3, 8)
    np.testing.assert_allclose(module(z, mask, "text").detach().numpy(), unit(wanted), atol=1e-5)


def test_the_ghost_takes_weight_from_the_other_clusters() -> None:
    module = GhostVLAD(4, 2).eval()
    with torch.no_grad():
        module.clusters.weight.zero_()
        module.logit_norm["text"].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    shares = module.assign(torch.randn(1, 3, 4), torch.ones(1, 3, dtype=torch.bool), "text")
    assert shares.sum(-1).max() < 0.02  # dropped before the softmax, as the reference does, it would be 1


def test_batch_statistics_see_no_padding_and_no_other_modality() -> None:
    module = GhostVLAD(4, 2).train()
    tokens, mask = torch.randn(3, 4, 4), torch.ones(3, 4, dtype=torch.bool)
    padded = torch.cat([tokens, torch.full((3, 5, 4), 9.0)], 1)
    wide = torch.cat([mask, torch.zeros(3, 5, dtype=torch.bool)], 1)
    torch.testing.assert_close(module(tokens, mask, "text"), module(padded, wide, "text"), atol=1e-6, rtol=0)
    assert (module.logit_norm["video"].running_mean == 0).all()
    assert (module.logit_norm["text"].running_mean != 0).all()


def test_masked_batch_norm_is_torchs_where_nothing_is_masked() -> None:
    ours, theirs, x = MaskedBatchNorm(6), torch.nn.BatchNorm1d(6), torch.randn(9, 6)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), atol=1e-5, rtol=0)
    assert torch.isfinite(MaskedBatchNorm(6)(x[:1])).all()
