"""The map of the code: every file and folder that it names is there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import command_pages
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MAPS = ["README.md", *(f"examples/{name}.md" for name in ("ARCHITECTURE", "NETWORKS", "WITHOUT_CAPTIONS"))]
NAMED = re.compile(r"`((?:hcq_cli|experts|tests|examples)/[\w/.-]*)`")


@pytest.mark.parametrize("file", MAPS)
def test_what_a_map_names_is_there(file: str) -> None:
    named = NAMED.findall((REPOSITORY / file).read_text("utf-8"))
    missing = [name for name in named if not (REPOSITORY / name).exists()]
    assert named and not missing


def test_every_room_stands_in_the_tree_of_the_readme() -> None:
    tree = (REPOSITORY / "README.md").read_text("utf-8").rpartition("## The code")[2]
    for package in ("hcq_cli", "experts"):
        rooms = {path.parent.name for path in (REPOSITORY / package).glob("*/__init__.py")}
        assert not {room for room in rooms if f"{room}/" not in tree}
    named = re.findall(r"^  ((?:[\w.]+[ /]*?/?  ?)+)  ", tree, re.MULTILINE)
    for name in " ".join(named).split():
        assert any((REPOSITORY / package / name).exists() for package in ("hcq_cli", "experts")), name


def test_the_docstring_of_every_room_names_its_files() -> None:
    for package in ("hcq_cli", "experts"):
        for room in sorted((REPOSITORY / package).glob("*/**/__init__.py")):
            docstring = ast.get_docstring(ast.parse(room.read_text("utf-8"))) or ""
            files = {path.stem for path in room.parent.glob("*.py")} - {"__init__"}
            assert not {file for file in files if not re.search(rf"\b{file}\b", docstring)}, room


def test_no_two_public_classes_share_a_name() -> None:
    places = defaultdict[str, list[str]](list)
    for package in ("hcq_cli", "experts"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path.relative_to(REPOSITORY)))
    assert not {name: files for name, files in places.items() if len(files) > 1}


def test_the_pages_of_the_commands_are_those_of_the_program() -> None:
    written = command_pages.PAGES.read_text("utf-8")
    assert written == command_pages.document(), "python examples/command_pages.py writes them anew"
