"""Each module against a few lines of plain NumPy, and the promises the reference breaks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import CAPTIONS, batch, config, model

from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.model.checkpoint import video_tensors
from hcq_cli.model.gating import GatedMixture
from hcq_cli.model.ghostvlad import GhostVLAD
from hcq_cli.model.normalization import MaskedBatchNorm
from hcq_cli.model.video import TransformerLayer

COUNTS = {"appearance": [4, 2, 1], "audio": [3, 0, 2]}


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


def test_transformer_layer_is_torchs_post_ln_layer() -> None:
    torch.manual_seed(0)
    ours = TransformerLayer(16, 4, 32, 0.0).eval()
    theirs = torch.nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", 1e-12, batch_first=True).eval()
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(ours.qkv.weight)
        theirs.self_attn.in_proj_bias.copy_(ours.qkv.bias)
        for mine, its in (
            (ours.out, theirs.self_attn.out_proj),
            (ours.up, theirs.linear1),
            (ours.down, theirs.linear2),
        ):
            its.load_state_dict(mine.state_dict())
        x, mask = torch.randn(2, 5, 16), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
        bias = torch.zeros(2, 5).masked_fill(~mask, -torch.inf)[:, None, None]
        wanted = theirs(x, src_key_padding_mask=~mask)
        torch.testing.assert_close(ours(x, bias)[mask], wanted[mask], atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("padding", [1, 9])
def test_the_amount_of_padding_changes_nothing(padding: int, training: bool) -> None:
    network = model().network.train(training)
    tight, wide = (video_tensors(batch(COUNTS, n), config(), torch.device("cpu")) for n in (0, padding))
    torch.testing.assert_close(network.embed_videos(tight), network.embed_videos(wide), atol=1e-6, rtol=0)


def test_a_caption_is_encoded_the_same_beside_a_longer_one() -> None:
    trained = model()
    alone = np.concatenate([trained.encode_texts([caption]) for caption in CAPTIONS])
    np.testing.assert_allclose(trained.encode_texts(CAPTIONS), alone, atol=1e-6)


def test_a_missing_expert_is_not_averaged_in() -> None:
    """The reference averages the [AGG] outputs of missing experts too."""
    trained = model()
    network = trained.network
    videos = video_tensors(batch({"appearance": [3], "audio": [0]}), config(), torch.device("cpu"))
    encoded = network.video_encoder(videos)
    wanted = torch.nn.functional.normalize(encoded.aggregates[:, 0], dim=-1)
    torch.testing.assert_close(network.embed_videos(videos)[:, 0], wanted, atol=1e-6, rtol=0)
    without = batch({"appearance": [3]})
    np.testing.assert_allclose(
        trained.encode_videos(without), trained.encode_videos(batch({"appearance": [3], "audio": [0]})), atol=1e-6
    )


def test_a_video_without_anything_gives_zeros_and_no_nan() -> None:
    levels = model().encode_videos(batch({"appearance": [0, 2], "audio": [0, 1]}))
    assert np.isfinite(levels).all()
    assert (levels[0] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(levels[1], axis=-1), 1, atol=1e-5)


def test_times_count_in_whole_seconds_and_may_be_unknown() -> None:
    trained = model()
    one = batch({"appearance": [1], "audio": [1]})

    def at(seconds: float) -> np.ndarray:
        times = {name: np.full_like(t, seconds) for name, t in one.times.items()}
        return trained.encode_videos(VideoBatch(one.features, times, one.mask))

    np.testing.assert_array_equal(at(3.1), at(3.9))
    np.testing.assert_array_equal(at(500.0), at(900.0))  # later than the table: its last row
    assert abs(at(3.1) - at(4.1)).max() > 1e-4
    assert abs(at(float("nan")) - at(0.0)).max() > 1e-4
    assert np.isfinite(at(float("nan"))).all()
