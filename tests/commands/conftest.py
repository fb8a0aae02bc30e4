"""Workspaces to run commands on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Outcome, run_hcq
from trained import save_workspace

KEPT = Path(__file__).parent.parent / "golden" / "workspace"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 videos with features, a checkpoint, codes and an index (tests/golden), for all tests of a file."""
    return Path(shutil.copytree(KEPT, tmp_path_factory.mktemp("kept") / "w"))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and an index of four captions as videos and 200 random ones; not to be changed."""
    root = save_workspace(tmp_path_factory.mktemp("ws") / ".hcq")
    run_hcq("-w", root, "index", "build", cwd=root.parent)
    return root


@pytest.fixture
def ask(hcq: Callable[..., Outcome], workspace: Path) -> Callable[..., Outcome]:
    """Run `hcq query ARGUMENTS` on it."""
    return lambda *arguments, **named: hcq("query", "-w", workspace, *arguments, **named)
