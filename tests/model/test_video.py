"""The video encoder: its layer is torch's, and what is unknown or missing is neither NaN nor second 0."""

from __future__ import annotations

import numpy as np
import torch
from small_models import batch, model

from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.model.video import TransformerLayer


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


def test_a_video_without_anything_gives_zeros_and_no_nan() -> None:
    levels = model().encode_videos(batch({"appearance": [0, 2], "audio": [0, 1]}))
    assert np.isfinite(levels).all()
    assert (levels[0] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(levels[1], axis=-1), 1, atol=1e-5)
