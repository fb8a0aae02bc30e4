"""One Ray cluster for the tests of this folder: starting another costs half a minute on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line for each time that a video is opened."""
    path = tmp_path_factory.mktemp("log") / "opened"
    path.touch()
    return path


@pytest.fixture(scope="session")
def slowly(planted: dict[str, str], log: Path) -> dict[str, str]:
    """The environment in which decoders of the tests are there, and take their time."""
    return {**planted, "OPENED_LOG": str(log), "SLOW_S": "0.4"}


@pytest.fixture(scope="session")
def cluster(slowly: dict[str, str]) -> Iterator[Any]:
    """Two nodes of one processor each."""
    pytest.importorskip("ray")
    from ray_cluster import two_nodes

    with two_nodes(slowly) as cluster:
        yield cluster
