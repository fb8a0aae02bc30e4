"""The map of the code: every file and folder that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MAPS = ["README.md", "examples/ARCHITECTURE.md"]
NAMED = re.compile(r"`((?:hcq_cli|experts|tests|examples)/[\w/.-]*)`")


@pytest.mark.parametrize("file", MAPS)
def test_what_a_map_names_is_there(file: str) -> None:
    named = NAMED.findall((REPOSITORY / file).read_text("utf-8"))
    missing = [name for name in named if not (REPOSITORY / name).exists()]
    assert named and not missing
