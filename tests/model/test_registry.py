"""Every kind of model: its network, its size, and that a checkpoint comes back as its kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_baselines import COUNTS, baseline
from small_models import batch

from hcq_cli.errors import UsageError
from hcq_cli.model import registry
from hcq_cli.model.checkpoint import load, save
from hcq_cli.model.config import ModelConfig, QuantizerConfig


def test_every_kind_has_a_network_and_a_training_of_its_own() -> None:
    methods = [registry.training_method(kind).__name__ for kind in registry.KINDS]
    assert methods == ["HCQMethod", "HCTMethod", "JPQMethod", "DCMHMethod"]


def test_all_kinds_take_the_same_bytes() -> None:
    for kind in ("jpq", "dcmh"):
        equal = ModelConfig(kind=kind, width=512, levels=7, quantizer=QuantizerConfig(32, 256)).at_equal_bytes()
        assert (equal.levels, equal.quantizer.codebooks, equal.bytes_per_video) == (0, 256, 256)
        assert equal.check() == equal.at_equal_bytes()
    dense = ModelConfig(kind="hct", width=512, levels=7, quantizer=QuantizerConfig(32)).at_equal_bytes().check()
    assert (dense.bytes_per_video, dense.code_bytes) == (16384, 256)
    assert ModelConfig(kind="dcmh", levels=0, quantizer=QuantizerConfig(64)).check().embedding_width == 512
    for wrong in ({"kind": "jpq"}, {"kind": "dcmh", "levels": 0, "quantizer": QuantizerConfig(8, 16)}):
        with pytest.raises(UsageError, match=r"levels|256 patterns"):
            ModelConfig(**wrong).check()
    with pytest.raises(UsageError, match=r"model\.kind"):
        ModelConfig(kind="hcx").check()


@pytest.mark.parametrize("kind", ["jpq", "dcmh"])
def test_the_coarse_siblings_have_no_weight_that_nothing_trains(kind: str) -> None:
    names = {
        name.split(".")[0] for name, _ in baseline(kind, quantizer=QuantizerConfig(4, 256)).network.named_parameters()
    }
    assert not names & {"fine", "text_tokens"}


@pytest.mark.parametrize("kind", ["hct", "jpq", "dcmh"])
def test_a_checkpoint_comes_back_as_its_kind(kind: str, tmp_path: Path) -> None:
    model = baseline(kind, quantizer=QuantizerConfig(4, 256))
    save(tmp_path, model.network, model.tower)
    again = load(tmp_path)
    assert type(again.network) is type(model.network) and again.config == model.config
    np.testing.assert_array_equal(again.encode_videos(batch(COUNTS)), model.encode_videos(batch(COUNTS)))
