"""`hcq import`: what is asked for wrongly is said before anything is read."""

from __future__ import annotations

import pytest
from in_process import run_here

from hcq_cli.commands.import_ import _type_ids
from hcq_cli.errors import UsageError


def test_type_ids_are_names_and_numbers() -> None:
    assert _type_ids("s3d=1, vggish=2") == {"s3d": 1, "vggish": 2} and _type_ids(None) == {}
    with pytest.raises(UsageError, match="is not NAME=ID"):
        _type_ids("s3d=one")


def test_files_that_are_not_there(tmp_path) -> None:
    assert "no such file" in run_here("import", "official", tmp_path / "no.pth", "-o", tmp_path / "m", code=10).err
    assert str(tmp_path / "no") in run_here("import", "mmt", tmp_path / "no", "-w", tmp_path / "w", code=10).err
    assert not (tmp_path / "m").exists()
