"""A `.pth` file is read by a child process; whatever becomes of that, one clear error names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.importers.official.pickle_reader import read_pickled_checkpoint


def test_through_the_child(tmp_path: Path):
    torch.save({"state_dict": {"module.w": torch.ones(2)}, "epoch": 3}, tmp_path / "model.pth")
    found = read_pickled_checkpoint(tmp_path / "model.pth")
    assert found.epoch == 3 and found.config == {} and found.weights["w"].tolist() == [1, 1]


def test_what_cannot_be_read_is_named_once(tmp_path: Path):
    with pytest.raises(NotFoundError, match="no such file"):
        read_pickled_checkpoint(tmp_path / "none.pth")
    text = tmp_path / "text.pth"
    text.write_text("no pickle")
    with pytest.raises(DamagedError) as caught:
        read_pickled_checkpoint(text)
    assert caught.value.message.count(str(text)) == 1


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path):
    torch.save({"state_dict": {"w": torch.ones(2)}}, tmp_path / "model.pth")
    with pytest.raises(DamagedError, match="not read within 0 s"):
        read_pickled_checkpoint(tmp_path / "model.pth", deadline_s=0.0)
