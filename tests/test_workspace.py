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
    }
