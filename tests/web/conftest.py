"""A workspace whose videos can be watched, and a server of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served, make_films, make_workspace, served_here


@pytest.fixture(scope="package")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_films(tmp_path_factory.mktemp("films") / "videos")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, films: list[Path]) -> Iterator[Served]:
    with served_here(make_workspace(tmp_path_factory.mktemp("ws") / ".hcq", films)) as (running, _):
        yield running
