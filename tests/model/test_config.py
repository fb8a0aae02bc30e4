"""What shapes a model: kinds at equal bytes, and settings that do not fit together."""

from __future__ import annotations

import pytest

from hcq_cli.errors import UsageError
from hcq_cli.model.config import ModelConfig, QuantizerConfig


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


def test_a_config_comes_back_from_its_table_and_an_unknown_key_is_named() -> None:
    config = ModelConfig(width=64, levels=3, quantizer=QuantizerConfig(8, 16)).check()
    table = config.to_dict()
    assert ModelConfig.from_dict(table) == config
    table["quantizer"]["codebook"] = 4
    with pytest.raises(UsageError, match=r"model\.quantizer\.codebook") as caught:
        ModelConfig.from_dict(table)
    assert "codebooks" in caught.value.hint
