"""Ids of the hub, presets, and the lock of fetched commits."""

from __future__ import annotations

import json
import shutil

import pytest

from experts.neural.hub import cached_snapshot, parse_hub_id, read_lock
from experts.neural.weights import WeightsError, locate
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


HOSTILE = [
    *("[]", "3", "null", '{"a/b@main": 3}', '{"a/b@main": []}', '{"a/b@main": {}}', "[" * 100_000, "\xff", ""),
    *(json.dumps({"a/b@main": {"commit": commit, "licence": "", "fetched": ""}}) for commit in (3, None, "", "../x")),
    json.dumps({"a/b@main": {"commit": "0" * 40, "licence": ["MIT"], "fetched": ""}}),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_a_hostile_list_of_fetched_networks_is_told_for_what_it_is(tmp_path, monkeypatch, text):
    monkeypatch.setenv("HCQ_CACHE", str(tmp_path))
    (tmp_path / "models.json").write_text(text, "latin-1")
    with pytest.raises(ValueError, match=r"models\.json: is no list of fetched models"):
        read_lock()


def test_what_a_cache_calls_the_newest_commit_leads_nowhere_else(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HCQ_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    refs = tmp_path / "models--some--net" / "refs"
    refs.mkdir(parents=True)
    for text in (b"../../../elsewhere", b"\xff\xfe", b"a\0b", b""):
        (refs / "main").write_bytes(text)
        folder, commit = cached_snapshot(parse_hub_id("some/net"))
        assert commit == "main" and folder == refs.parent / "snapshots" / "main", text


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


def test_names_take_the_source_of_the_preset():
    neural = dict(ask.split("=") for ask in presets["neural"])
    assert set(neural) == {"appearance", "motion", "audio"}  # faces only where they are asked for
    assert with_default_sources(["audio", "face", "appearance=x/y"], "neural")[::2] == [
        f"audio={neural['audio']}",
        "appearance=x/y",
    ]
    assert with_default_sources(["audio", "face", "appearance=x/y"], "neural")[1].startswith("face=opencv/")
    assert with_default_sources(["audio", "face"], "classic") == ["audio", "face"]


@pytest.mark.parametrize("text", ["a/b", "a/b@main", "A-1/b.c_d@refs/pr/3"])
def test_hub_ids(text):
    found = parse_hub_id(text)
    assert found is not None and found.command == f"hcq models fetch {text.removesuffix('@main')}"


@pytest.mark.parametrize("text", ["ab", "/a/b", "a/b/c", "a/b c", "./a", "a/b@"])
def test_no_hub_ids(text):
    assert parse_hub_id(text) is None or text == "./a"
