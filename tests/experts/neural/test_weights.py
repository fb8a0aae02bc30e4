"""Where weights come from, and what is refused: nothing is fetched, no pickle is opened."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from experts.neural.hub import parse_hub_id
from experts.neural.weights import WeightsError, count_parameters, locate
from experts.registry import load, presets, with_default_sources

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache as the hub's own client lays it out, with two commits of one network; and an empty lock."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HCQ_CACHE", str(tmp_path / "own"))

    def put(folder, id="some/net", main=COMMIT):
        place = cache / ("models--" + id.replace("/", "--"))
        for commit in (COMMIT, OTHER):
            shutil.copytree(folder, place / "snapshots" / commit)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text(main)
        return place

    return put


def test_a_folder_is_known_by_what_it_holds(networks, tmp_path):
    moved = shutil.copytree(networks("dinov2"), tmp_path / "moved")
    first, second = load([f"appearance={networks('dinov2')}"])[0], load([f"appearance={moved}"])[0]
    assert first.weights == second.weights and first.weights.startswith("sha256:")
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-5}))
    assert load([f"appearance={moved}"])[0].weights != first.weights


def test_a_hub_id_takes_the_commit_that_main_had_when_it_was_fetched(hub, networks, tmp_path):
    place = hub(networks("dinov2"))
    assert locate("some/net").identity == f"some/net@{COMMIT}"
    (tmp_path / "own").mkdir()
    locked = {"some/net@main": {"commit": OTHER, "licence": "MIT", "fetched": "2026-01-01T00:00:00Z"}}
    (tmp_path / "own" / "models.json").write_text(json.dumps(locked))
    found = locate("some/net")
    assert (found.commit, found.licence, found.folder) == (OTHER, "MIT", place / "snapshots" / OTHER)
    assert locate(f"some/net@{COMMIT}").commit == COMMIT
    expert = load(["appearance=some/net"])[0]
    assert expert.weights == f"some/net@{OTHER}" and expert.dim == 32


def test_what_is_not_on_this_machine_says_the_command_that_fetches_it(hub):
    for ask in presets["neural"]:
        source = ask.partition("=")[2]
        with pytest.raises(WeightsError, match="not on this machine") as caught:
            load([ask])
        assert caught.value.hint == f"hcq models fetch {source}"
    with pytest.raises(WeightsError) as caught:
        load(["motion=some/net@v2"])
    assert caught.value.hint == "hcq models fetch some/net@v2"


def test_a_damaged_lock_is_named(hub, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "models.json").write_text("[1]")
    with pytest.raises(WeightsError, match=r"models\.json: is no list of fetched models"):
        locate("some/net")


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


def test_names_take_the_source_of_the_preset():
    neural = dict(ask.split("=") for ask in presets["neural"])
    assert set(neural) == {"appearance", "motion", "audio"}  # faces only where they are asked for
    assert with_default_sources(["audio", "face", "appearance=x/y"], "neural")[::2] == [
        f"audio={neural['audio']}",
        "appearance=x/y",
    ]
    assert with_default_sources(["audio", "face", "appearance=x/y"], "neural")[1].startswith("face=opencv/")
    assert with_default_sources(["audio", "face"], "classic") == ["audio", "face"]


def test_parameters_are_counted_without_loading(networks):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(networks("clip"))
    assert count_parameters(networks("clip") / "model.safetensors") == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("text", ["a/b", "a/b@main", "A-1/b.c_d@refs/pr/3"])
def test_hub_ids(text):
    found = parse_hub_id(text)
    assert found is not None and found.command == f"hcq models fetch {text.removesuffix('@main')}"


@pytest.mark.parametrize("text", ["ab", "/a/b", "a/b/c", "a/b c", "./a", "a/b@"])
def test_no_hub_ids(text):
    assert parse_hub_id(text) is None or text == "./a"
