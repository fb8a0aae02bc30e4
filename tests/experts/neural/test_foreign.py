"""What a stranger's settings may not say, rule by rule; whole folders stand in tests/test_foreign_networks.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experts.neural.foreign import LARGEST_SETTINGS_BYTES, check_kind, check_names, check_sizes, read_settings
from experts.neural.weight_sizes import ForeignFileError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"auto_map": {"AutoModel": "code.Model"}}, "auto_map"),
        ({"vision_config": {"deep": [{"auto_map": {"AutoModel": "code.Model"}}]}}, "auto_map"),
        ({"attn_implementation": "someone/kernels"}, "kernels of the hub"),
        ({"torch_dtype": "complex64"}, "no type of numbers"),
    ],
)
def test_code_kernels_and_odd_numbers_are_refused_however_deep(settings, message):
    with pytest.raises(ForeignFileError, match=message):
        check_names(settings, "config.json")


def test_what_torch_has_itself_passes():
    check_names({"attn_implementation": "sdpa", "torch_dtype": "torch.float16", "auto_map": None}, "config.json")
    check_kind({"model_type": "clip"}, "config.json")
    check_sizes({"hidden_size": 768, "num_hidden_layers": 12}, None, "config.json")


@pytest.mark.parametrize("kind", [["bert"], {"bert": 1}, None, 3, "x" * 9999])
def test_a_kind_that_is_no_name(kind: object) -> None:
    with pytest.raises(ForeignFileError, match="which hcq never loads") as refused:
        check_kind({"model_type": kind}, "net")
    assert len(str(refused.value)) < 300


def test_kinds_and_sizes_that_are_not_known():
    with pytest.raises(ForeignFileError, match="of the kind 'own'"):
        check_kind({"model_type": "own"}, "config.json")
    with pytest.raises(ForeignFileError, match="num_hidden_layers"):
        check_sizes({"num_hidden_layers": 100_000}, None, "config.json")


@pytest.mark.parametrize("body", ["[1, 2]", "{", "[" * 100_000, "\udcff"])
def test_settings_that_are_no_object(tmp_path: Path, body: str):
    path = tmp_path / "config.json"
    path.write_bytes(body.encode("utf-8", "surrogateescape"))
    with pytest.raises(ForeignFileError):
        read_settings(path)


def test_settings_without_end_are_not_read(tmp_path: Path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(LARGEST_SETTINGS_BYTES + 1)
    with pytest.raises(ForeignFileError, match="far too large"):
        read_settings(path)
    path.write_text(json.dumps({"a": 1}))
    assert read_settings(path) == {"a": 1}
