"""What is noted of a collection, and where a file lies in it."""

from __future__ import annotations

import os
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hostile_json import hostile

from hcq_cli.collection import (
    FOLDER,
    FORMAT,
    Collection,
    LastExtraction,
    RemovedVideo,
    Roots,
    change_collection,
    read_collection,
)
from hcq_cli.errors import DamagedError
from hcq_cli.generations import Generations

NOTED = Collection(
    ("/videos", "/more"),
    {"a.mp4": RemovedVideo("/videos/a.mp4", "c0")},
    LastExtraction(["audio"], {"audio": "audio"}, exclude=["raw/*"]),
)


def test_what_is_noted_is_read_again(tmp_path: Path) -> None:
    assert read_collection(tmp_path) == Collection() and not list(tmp_path.iterdir())
    odd = replace(NOTED, roots=("/bytes\udcff",))
    for noted in (NOTED, odd):
        assert change_collection(tmp_path, lambda before, noted=noted: noted) == noted == read_collection(tmp_path)
    generations = list((tmp_path / FOLDER).glob("manifest-*"))
    change_collection(tmp_path, lambda before: before)  # which writes nothing
    assert list((tmp_path / FOLDER).glob("manifest-*")) == generations


def test_a_note_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    held = Generations(tmp_path / FOLDER, FORMAT, 1, "")
    for body in hostile(asdict(NOTED), 300, random.Random(0)):
        (tmp_path / FOLDER).mkdir(exist_ok=True)
        if not isinstance(body, dict):
            continue
        try:
            held.publish(body)
        except (ValueError, UnicodeError, TypeError):
            continue  # no JSON
        try:
            found = read_collection(tmp_path)
        except DamagedError as error:
            assert str(tmp_path) in error.message and "\n" not in error.message
        else:
            assert all(root.startswith("/") for root in found.roots)
            assert all(type(ask) is str for ask in [*found.asked.every_expert.values(), *(found.asked.experts or [])])
    Generations(tmp_path / FOLDER, FORMAT, 2, "").publish(asdict(NOTED))
    with pytest.raises(DamagedError, match="version 2"):
        read_collection(tmp_path)


def test_a_place_is_named_through_its_innermost_root(tmp_path: Path) -> None:
    for name in ("arch/2023", "arch/2024", "out"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("arch")
    (tmp_path / "arch/away").symlink_to("../out")
    roots = Roots([f"{tmp_path}/arch/2023"]).with_folder(f"{tmp_path}/link").with_folder(f"{tmp_path}/arch/2024")
    assert roots.folders == [f"{tmp_path}/arch/2023", f"{tmp_path}/link"]
    places = {
        "arch/2023": ("arch/2023", ""),
        "link/2023": ("arch/2023", ""),
        "arch/2024": ("link/2024", "2024"),
        "link/away": ("link/away", "away"),
        "arch": ("link", ""),
        "out": None,
        "arch2": None,
    }
    for name, place in places.items():
        path = tmp_path / name
        expected = None if place is None else (str(tmp_path / place[0]), place[1])
        assert roots.place(str(path), str(path.resolve())) == expected, name
    assert Roots(["/"]).place("/a/b", "/a/b") == ("/a/b", "a/b")


def test_of_many_folders_each_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, asked = os.path.realpath, list[str]()
    monkeypatch.setattr(os.path, "realpath", lambda path: asked.append(path) or resolve(path))
    roots = Roots()
    for at in range(20):
        roots = roots.with_folder(f"{tmp_path}/{at}")
    assert asked == roots.folders and len(asked) == 20
    assert roots.place(f"{tmp_path}/7/x", f"{tmp_path}/7/x") == (f"{tmp_path}/7/x", "x")
