"""What is done before a folder can be searched; commands/test_find.py follows one through its changes."""

from __future__ import annotations

from pathlib import Path

import pytest

import hcq_cli as hcq
from hcq_cli.api.finding import _model
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.workspace import Workspace


def test_without_a_model_a_network_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no network named") as caught:
        hcq.make_searchable(Workspace(tmp_path / "w"), tmp_path)
    assert "--preset light" in caught.value.hint


def test_a_trained_model_was_made_of_no_source(workspace: Workspace, tmp_path: Path) -> None:
    assert _model(Workspace(tmp_path / "none")) is None
    trained = _model(workspace)
    assert trained is not None and not trained.made_of
    with pytest.raises(UsageError, match="was trained with captions"):
        hcq.make_searchable(workspace, tmp_path, code_bytes=8)
