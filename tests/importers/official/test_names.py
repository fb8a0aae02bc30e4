"""The reference's parameter names and ours: where a tensor lies, and what is said where one does not fit."""

from __future__ import annotations

import pytest
import torch
from reference_training import official_view
from torch import nn

from hcq_cli.errors import DamagedError
from hcq_cli.importers.official.names import Place, load_official, place


def test_where_a_tensor_lies():
    attention = "vid_bert.encoder.layer.2.attention.self.{}.weight"
    assert place(attention.format("key")) == Place("video.transformer.layers.2.qkv.weight", 1)
    assert place("ghost_vlad.clusters2") == Place("fine.centroids")
    assert place("cls_pq_layer._C_k") == Place("quantizers.0.codewords")
    assert place("vlad_pq_layers.3.BatchNorm.running_mean") == Place("quantizers.4.norm.running_mean")
    assert place("something.else") is None


class Small(nn.Module):
    """A model with one fused tensor and one of its own, under names of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.video = nn.ModuleDict(
            {"transformer": nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"qkv": nn.Linear(2, 6)})])})}
        )


def reference() -> dict[str, torch.Tensor]:
    name = "vid_bert.encoder.layer.0.attention.self.{}.{}"
    return {
        name.format(part, kind): torch.full(shape, float(number))
        for number, part in enumerate(("query", "key", "value"))
        for kind, shape in (("weight", (2, 2)), ("bias", (2,)))
    }


def test_three_tensors_fill_one_and_come_out_of_it_again():
    model, weights = Small(), reference()
    assert load_official(model, {**weights, "head.weight": torch.zeros(1)}) == ["head.weight"]
    fused = model.state_dict()["video.transformer.layers.0.qkv.weight"]
    assert fused[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    seen = official_view(weights, model.state_dict())
    assert all(torch.equal(seen[name], weights[name]) for name in weights)


def test_what_does_not_fit_is_named():
    weights = reference()
    broken = dict(weights, **{next(iter(weights)): torch.zeros(3, 3)})
    with pytest.raises(DamagedError, match=r"has shape \[3, 3\], not \[2, 2\]"):
        load_official(Small(), broken)
    weights.popitem()
    with pytest.raises(DamagedError, match=r"not all there for .*qkv.bias"):
        load_official(Small(), weights)
