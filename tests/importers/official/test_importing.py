"""Before a reference checkpoint is converted: places that are taken, encoders that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hcq_cli.errors import DamagedError, UsageError
from hcq_cli.importers.official.importing import import_official


def test_a_folder_that_holds_a_checkpoint_is_left_alone(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a checkpoint already"):
        import_official(tmp_path / "model.pth", tmp_path, None, {})
    assert (tmp_path / "config.json").read_text() == "{}"


def test_weights_of_another_program_are_refused_by_name(tmp_path: Path):
    torch.save({"state_dict": {"layer.weight": torch.ones(2)}}, tmp_path / "model.pth")
    with pytest.raises(DamagedError, match=r"model\.pth: not a checkpoint of the reference"):
        import_official(tmp_path / "model.pth", tmp_path / "out", None, {})
    assert not (tmp_path / "out").exists()
