"""Every kind of model: its network, its size, and that a checkpoint comes back as its kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_baselines import COUNTS, baseline
from small_models import batch

from hcq_cli.model import registry
from hcq_cli.model.checkpoint import load, save
from hcq_cli.model.config import QuantizerConfig


def test_every_kind_that_is_trained_has_a_training_of_its_own() -> None:
    methods = [
        registry.training_method(kind).__name__ for kind, each in registry.KINDS.items() if each.training_method
    ]
    assert methods == ["HCQMethod", "HCTMethod", "JPQMethod", "DCMHMethod"]


@pytest.mark.parametrize("kind", ["jpq", "dcmh"])
def test_the_coarse_siblings_have_no_weight_that_nothing_trains(kind: str) -> None:
    names = {
        name.split(".")[0] for name, _ in baseline(kind, quantizer=QuantizerConfig(4, 256)).network.named_parameters()
    }
    assert not names & {"fine", "text_tokens"}


@pytest.mark.parametrize("kind", ["hct", "jpq", "dcmh"])
def test_a_checkpoint_comes_back_as_its_kind(kind: str, tmp_path: Path) -> None:
    model = baseline(kind, quantizer=QuantizerConfig(4, 256))
    save(tmp_path, model.network, model.caption_encoder)
    again = load(tmp_path)
    assert type(again.network) is type(model.network) and again.config == model.config
    np.testing.assert_array_equal(again.encode_videos(batch(COUNTS)), model.encode_videos(batch(COUNTS)))
