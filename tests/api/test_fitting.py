"""What can be wrong with what is asked is found before torch is loaded; commands/test_fit.py runs the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

import hcq_cli as hcq
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.workspace import Workspace


def test_nothing_to_make_a_model_of(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no source given"):
        hcq.fit(workspace)
    with pytest.raises(NotFoundError, match="no such file"):
        hcq.fit(workspace, concepts=[f"onnx:{tmp_path / 'none.onnx'}"])
