"""Any kind of network: the contract, rows in passes, weights that lack a part."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from tiny_networks import APPEARANCE, AUDIO, MOTION, expert_name

from experts.contract import check_expert, example_clip
from experts.neural.weights import WeightsError
from experts.registry import load


def expert_of(kind, networks):
    expert = load([f"{expert_name(kind)}={networks(kind)}"])[0]
    expert.prepare("cpu")
    return expert


@pytest.mark.parametrize("kind", [*APPEARANCE, *MOTION, *AUDIO])
def test_networks_keep_the_contract(kind, networks):
    check_expert(load([f"{expert_name(kind)}={networks(kind)}"])[0])


@pytest.mark.parametrize("kind", ["dinov2", "videomae", "ast"])
def test_how_many_rows_at_once_changes_nothing(kind, networks):
    expert = expert_of(kind, networks)
    clip = example_clip(expert.sampling, 30.0)
    first = expert.extract(clip)
    expert.network._rows = 3
    again = expert.extract(clip)
    assert np.abs(first.features - again.features).max() < 1e-5 and len(first) > 2
    assert first.times.tolist() == again.times.tolist()


def test_weights_that_lack_a_part_are_refused(networks, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(networks("dinov2"), tmp_path / "net")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "layer.1" in name)
    save_file({key: value for key, value in tensors.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match="its weights lack") as caught:
        load([f"appearance={folder}"])[0].prepare("cpu")
    assert "layer.1" in str(caught.value)


def test_damaged_weights_are_refused(networks, tmp_path):
    folder = shutil.copytree(networks("dinov2"), tmp_path / "net")
    (folder / "model.safetensors").write_bytes(b"\x10" + bytes(40))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load([f"appearance={folder}"])[0].prepare("cpu")
