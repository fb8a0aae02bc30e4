"""What the child process takes out of a `.pth` file, and how it says that there is nothing to take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

from hcq_cli.errors import DamagedError
from hcq_cli.importers.official.pickle_child import WEIGHTS_FILE, configuration, convert


def test_weights_configuration_and_epoch(tmp_path: Path):
    file = tmp_path / "model.pth"
    state = {"module.a.weight": torch.arange(6.0).reshape(2, 3), "note": "no tensor"}
    torch.save({"state_dict": state, "config": {"arch": {"type": "HCQ"}}, "epoch": 7}, file)
    assert convert(file, tmp_path) == {"config": {"arch": {"type": "HCQ"}}, "epoch": 7}
    held = load_file(tmp_path / WEIGHTS_FILE)
    assert list(held) == ["a.weight"] and held["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [({"model": 1}, "holds no state_dict"), ({"state_dict": {"a": 1}}, "holds no tensors"), ([1], "no state_dict")],
)
def test_no_weights(tmp_path: Path, content, message):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(DamagedError, match=message):
        convert(tmp_path / "model.pth", tmp_path)


def test_a_configuration_that_is_none():
    assert configuration({"config": "text"}) == configuration({}) == {}
