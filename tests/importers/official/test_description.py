"""What a reference checkpoint's weights and configuration say of its model."""

from __future__ import annotations

import pytest
import torch

from hcq_cli.errors import DamagedError, UsageError
from hcq_cli.importers.official.description import architecture, describe

COMMON = ("video_dim_reduce", "vid_bert", "txt_bert", "text_GU")


def weights(expert: str = "s3d", width: int = 8) -> dict[str, torch.Tensor]:
    tables = "vid_bert.embeddings.{}_embeddings.weight"
    return {
        f"video_dim_reduce.{expert}.fc.weight": torch.zeros(width, 5),
        tables.format("position"): torch.zeros(32, width),
        tables.format("token_type"): torch.zeros(19, width),
        "vid_bert.encoder.layer.0.intermediate.dense.weight": torch.zeros(16, width),
        "txt_bert.weight": torch.zeros(1),
        f"text_GU.{expert}.fc.weight": torch.zeros(width, 4),
        "cls_pq_layer._C_k": torch.zeros(2, 16, width // 2),
    }


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"vid_hash_layer"}, "DCMH"),
        ({"ghost_vlad", "cls_pq_layer"}, "HCQ"),
        ({"ghost_vlad"}, "HCT"),
        ({"cls_pq_layer"}, "JPQ"),
    ],
)
def test_the_modules_tell_the_architecture(more, kind):
    assert architecture({f"{name}.x": torch.zeros(1) for name in {*COMMON, *more}}) == kind


def test_what_is_no_checkpoint_of_the_reference():
    with pytest.raises(DamagedError, match="it has no text_GU, txt_bert"):
        architecture({"video_dim_reduce.x": torch.zeros(1), "vid_bert.x": torch.zeros(1)})
    with pytest.raises(DamagedError, match="neither quantizers"):
        architecture({f"{name}.x": torch.zeros(1) for name in COMMON})


def test_sizes_come_from_the_weights_and_the_rest_is_assumed_aloud():
    model = describe(weights(), {}, {})
    options = model.options
    assert (options.architecture, options.same_dim, options.layers, options.ffn) == ("JPQ", 8, 1, 16)
    assert (options.quantizer.M, options.quantizer.K) == (2, 16)
    assert options.experts["s3d"].dim == 5 and options.experts["s3d"].idx == 1
    assert model.notes and "shipped settings" in model.notes[0]


def test_token_types_that_only_a_person_knows():
    with pytest.raises(UsageError, match="token types of mine") as caught:
        describe(weights("mine"), {}, {})
    assert caught.value.hint == "--type-ids mine=ID"
    with pytest.raises(UsageError, match="beyond its table of 19"):
        describe(weights("mine"), {}, {"mine": 19})
    assert describe(weights("mine"), {}, {"mine": 3}).options.experts["mine"].idx == 3
