"""Weights on this machine: what they are known by, and what is refused. No pickle is opened."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from experts.neural.weights import WeightsError, locate, read_json
from experts.registry import load


def test_a_folder_is_known_by_what_it_holds(networks, tmp_path):
    moved = shutil.copytree(networks("dinov2"), tmp_path / "moved")
    first, second = load([f"appearance={networks('dinov2')}"])[0], load([f"appearance={moved}"])[0]
    assert first.weights == second.weights and first.weights.startswith("sha256:")
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-5}))
    assert load([f"appearance={moved}"])[0].weights != first.weights


class Trap:
    """Shows when it is unpickled."""

    def __reduce__(self):
        return (sys.exit, ("unpickled!",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "model.ckpt"])
def test_pickles_are_refused_unopened(networks, tmp_path, name):
    import pickle

    folder = shutil.copytree(networks("dinov2"), tmp_path / "net")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match="as a pickle only") as caught:
        load([f"appearance={folder}"])
    assert name in str(caught.value)
    for source in (f"{folder / name}", f"onnx:{folder / name}"):
        with pytest.raises(WeightsError, match="may run code"):
            load([f"appearance={source}"])


def test_a_pickle_beside_safetensors_is_never_opened(networks, tmp_path):
    import pickle

    folder = shutil.copytree(networks("dinov2"), tmp_path / "net")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    load([f"appearance={folder}"])[0].prepare("cpu")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ("appearance=/no/such/folder", "no such folder"),
        ("motion={dinov2}", "is of the kind 'dinov2'; motion takes videomae, timesformer, vjepa2"),
        ("audio={dinov2}", "audio takes audio-spectrogram-transformer, clap, whisper"),
        ("motion=onnx:a.onnx", "no such file"),
        ("appearance={ast}", "no usable image processor"),
    ],
)
def test_what_an_expert_cannot_use_is_refused(networks, ask, said):
    with pytest.raises(WeightsError) as caught:
        load([ask.format(dinov2=networks("dinov2"), ast=networks("ast"))])[0].prepare("cpu")
    assert said in str(caught.value)


def test_no_pipe_in_a_folder_of_weights_is_waited_for(tmp_path):
    for name in ("config.json", "model.safetensors"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(WeightsError, match=f"{name}: is no file"):
            locate(str(tmp_path))
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/dev/zero")
        with pytest.raises(WeightsError, match=f"{name}: is no file"):
            locate(str(tmp_path))
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(WeightsError, match="is no file"):
        read_json(tmp_path / "config.json", "x")


def test_parameters_are_counted_without_loading(networks):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(networks("clip"))
    assert locate(str(networks("clip"))).parameters == sum(p.numel() for p in model.parameters())
