"""What is done before a folder can be searched; commands/test_find.py follows one through its changes."""

from __future__ import annotations

from pathlib import Path

import pytest

import hcq_cli as hcq
from hcq_cli.api.finding import _model
from hcq_cli.errors import NotFoundError
from hcq_cli.workspace import Workspace


def test_without_a_model_a_network_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no network named") as caught:
        hcq.prepare(Workspace(tmp_path / "w"), tmp_path)
    assert "--preset light" in caught.value.hint


def test_a_trained_model_was_made_of_no_source(workspace: Workspace, tmp_path: Path) -> None:
    assert _model(Workspace(tmp_path / "none")) == (None, None)
    assert _model(workspace) == ({}, None)
