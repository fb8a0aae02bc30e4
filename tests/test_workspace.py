"""The places of a workspace."""

from __future__ import annotations

from pathlib import Path

from hcq_cli.workspace import Workspace


def test_each_verb_finds_what_the_one_before_left():
    places = Workspace("runs/a")
    assert places.root == Path("runs/a") and repr(places) == "Workspace('runs/a')"
    found = {name: place for name, place in vars(places).items() if name != "root"}
    assert {name: str(place.relative_to(places.root)) for name, place in found.items()} == {
        "features": "features",
        "model": "model",
        "codes": "codes.hcq",
        "texts": "texts.hcq",
        "index": "index",
        "texts_index": "texts-index",
        "captions": "captions.jsonl",
        "duplicates": "duplicates.json",
        "evaluation": "evaluation.json",
    }


def test_the_first_missing_step_is_named(tmp_path):
    places = Workspace(tmp_path)
    made = {
        "features/manifest-00000001.json": "hcq extract VIDEOS",
        "model/config.json": "hcq train --captions captions.jsonl",
        "codes.hcq": "hcq encode",
        "index/manifest-00000001.json": "hcq index build",
    }
    for name, step in made.items():
        assert places.step_towards(places.index) == step and not places.has(places.index)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert all(map(places.has, (places.features, places.model, places.codes, places.index)))
    (tmp_path / "model/config.json").unlink()
    (tmp_path / "model/resume").mkdir()
    assert places.step_towards(places.model) == places.step_towards(places.codes) == "hcq train --resume"
    assert places.step_towards(places.index) == "hcq index build"  # codes may come without the model
    assert Workspace(tmp_path / "new").step_towards(places.model) == "hcq extract VIDEOS"
