"""Which networks are asked for, which files of them are needed, and what is known of those on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experts.neural.hub import ON_REQUEST, PRESET, WITHOUT_CAPTIONS, HubId
from hcq_cli.errors import DamagedError, HcqError, UsageError
from hcq_cli.weights import chosen_files, fetch, list_models, networks_asked_for


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network in the hub's cache, and an empty lock."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HCQ_CACHE", str(tmp_path))
    return tmp_path


def test_presets_experts_and_ids_become_ids_each_once() -> None:
    assert [hub.id for hub in networks_asked_for([])] == list(PRESET.values())
    assert [hub.id for hub in networks_asked_for(["face"])] == ON_REQUEST["face"].split("+")
    twice = networks_asked_for(["a/b@v1", "neural", "a/b@v1", "motion"])
    assert twice[0] == HubId("a/b", "v1") and len(twice) == 1 + len(PRESET)
    laptop = [hub.id for hub in networks_asked_for(["laptop"])]
    assert laptop == list(WITHOUT_CAPTIONS["laptop"].values())
    with pytest.raises(UsageError, match="'no id' is no Hugging Face id") as caught:
        networks_asked_for(["no id"])
    assert "neural" in caught.value.hint and "face" in caught.value.hint


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], ["config.json", "model.safetensors"]),
        (["a.onnx", "onnx/model.onnx", "onnx/model_int8.onnx", "x.json"], ["a.onnx", "onnx/model.onnx", "x.json"]),
        (["config.json", "pytorch_model.bin"], []),
        (
            ["model.safetensors", "other/model.safetensors", "spiece.model", "README.md"],
            ["model.safetensors", "spiece.model"],
        ),
        (
            ["modules.json", "0_CLIPModel/model.safetensors", "0_CLIPModel/vocab.json", "1_Dense/model.safetensors"],
            ["0_CLIPModel/model.safetensors", "0_CLIPModel/vocab.json", "1_Dense/model.safetensors", "modules.json"],
        ),
        (
            [
                "modules.json",
                "text/model.safetensors",
                "text/config.json",
                "onnx/model.onnx",
                "2_Dense/pytorch_model.bin",
            ],
            ["modules.json", "text/config.json", "text/model.safetensors"],
        ),
    ],
)
def test_safetensors_go_before_onnx_and_pickles_are_never_chosen(names: list[str], chosen: list[str]) -> None:
    assert chosen_files(names) == chosen


def test_what_is_not_here_says_how_to_get_it(nothing_here: Path) -> None:
    known = {network.hub.id: network for network in list_models()}
    assert set(PRESET.values()) <= set(known)
    assert known["laion/clap-htsat-unfused"].presets == ["laptop", "gpu"]
    for network in (known[source] for sources in WITHOUT_CAPTIONS.values() for source in sources.values()):
        assert network.licence and network.about_bytes > 40_000_000 and network.experts
    for network in known.values():
        assert not network.commit and not network.nbytes and network.hint == f"hcq models fetch {network.hub.id}"


def test_a_fetched_network_is_listed_and_a_damaged_lock_is_named(nothing_here: Path) -> None:
    lock = nothing_here / "models.json"
    lock.write_text(json.dumps({"own/net@main": {"commit": "0" * 40, "licence": "MIT", "fetched": ""}}))
    assert "own/net" in [network.hub.id for network in list_models()]
    lock.write_text("[1]")
    with pytest.raises(DamagedError, match="no list of fetched models"):
        list_models()


def test_nothing_is_fetched_where_the_environment_forbids_it(
    nothing_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HcqError, match="HF_HUB_OFFLINE is set"):
        fetch(HubId("own/net"))
