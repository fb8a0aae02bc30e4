"""`python -m hcq_cli` is the command `hcq`, also in a folder with files of strangers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_it_is_the_command_and_imports_nothing_beside_the_videos(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise RuntimeError('a file of the current folder was run')")
    done = subprocess.run(
        [sys.executable, "-m", "hcq_cli", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("hcq ")


def test_in_a_folder_that_is_gone_it_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"cd gone && rmdir ../gone && exec '{sys.executable}' -m hcq_cli --version"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("hcq "), done.stderr
