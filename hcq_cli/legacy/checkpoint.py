"""Reads a reference checkpoint through the child process."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.legacy.child import ABOUT_FILE, WEIGHTS_FILE
from hcq_cli.process import python_command

if TYPE_CHECKING:
    from torch import Tensor

DEADLINE_S = 600.0


@dataclass(frozen=True)
class LegacyCheckpoint:
    """What a reference checkpoint held.

    Args:
        weights: by the reference's names.
        config: its configuration; empty where the file had none that could be read.
        epoch: when it was saved.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    epoch: int | None


def read_legacy(path: Path, deadline_s: float = DEADLINE_S) -> LegacyCheckpoint:
    """Read a `.pth` file; whatever it contains, nothing of it is executed.

    Args:
        path: the file.
        deadline_s: seconds the child process gets.

    Raises:
        NotFoundError: there is no such file.
        DamagedError: it is no checkpoint of the reference, or damaged.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", "give the .pth file that the reference's training wrote")
    with tempfile.TemporaryDirectory(prefix="hcq-import-") as scratch:
        _run(path, Path(scratch), deadline_s)
        about = json.loads((Path(scratch) / ABOUT_FILE).read_text("utf-8"))
        return LegacyCheckpoint(load_file(Path(scratch) / WEIGHTS_FILE), about["config"], about["epoch"])


def _run(path: Path, scratch: Path, deadline_s: float) -> None:
    command = python_command("hcq_cli.legacy.child", path.absolute(), scratch)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, env=one_thread)
    except subprocess.TimeoutExpired:
        raise DamagedError(f"{path}: not read within {deadline_s:g} s", "check where it comes from") from None
    if done.returncode == 0:
        return
    try:
        reason = json.loads(done.stdout.splitlines()[-1])["error"]
    except (ValueError, KeyError, IndexError):
        reason = f"its reader stopped with code {done.returncode}"
    name = os.fspath(path)
    message = reason if reason.startswith(os.fspath(path.absolute())) else f"{name}: {reason}"
    raise DamagedError(message, "give the .pth file that the reference's training wrote")
