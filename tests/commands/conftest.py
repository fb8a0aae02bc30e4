"""A kept workspace to run commands on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

KEPT = Path(__file__).parent.parent / "golden" / "workspace"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 videos with features, a checkpoint, codes and an index (tests/golden), for all tests of a file."""
    return Path(shutil.copytree(KEPT, tmp_path_factory.mktemp("kept") / "w"))
