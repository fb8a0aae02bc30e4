"""Reads a reference checkpoint through the child process."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.importers.official.description import REMEDY
from hcq_cli.importers.official.pickle_child import WEIGHTS_FILE
from hcq_cli.process import ONE_THREAD, ChildDied, ChildProcess

if TYPE_CHECKING:
    from torch import Tensor

DEADLINE_S = 600.0


@dataclass(frozen=True)
class PickledCheckpoint:
    """What a reference checkpoint held.

    Args:
        weights: by the reference's names.
        config: its configuration; empty where the file had none that could be read.
        epoch: when it was saved.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    epoch: int | None


def read_pickled_checkpoint(path: Path, deadline_s: float = DEADLINE_S) -> PickledCheckpoint:
    """Read a `.pth` file; whatever it contains, nothing of it is executed.

    Args:
        deadline_s: seconds the child process gets.

    Raises:
        NotFoundError: there is no such file.
        DamagedError: it is no checkpoint of the reference, or damaged.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", REMEDY)
    with tempfile.TemporaryDirectory(prefix="hcq-import-") as scratch:
        about = _convert(path, Path(scratch), deadline_s)
        return PickledCheckpoint(load_file(Path(scratch) / WEIGHTS_FILE), about["config"], about["epoch"])


def _convert(path: Path, scratch: Path, deadline_s: float) -> dict[str, Any]:
    """Let the child write the weights to `scratch`; gives what it says of the rest."""
    child = ChildProcess("hcq_cli.importers.official.pickle_child", path.absolute(), scratch, environment=ONE_THREAD)
    try:
        said = child.receive(time.monotonic() + deadline_s)
    except ChildDied as death:
        if death.late:
            raise DamagedError(f"{path}: not read within {deadline_s:g} s", "check where it comes from") from None
        said = {"error": f"its reader stopped with code {death.exit_code}"}
    finally:
        child.close()
    if "error" in said:
        reason = str(said["error"])
        named = reason.startswith(os.fspath(path.absolute()))
        raise DamagedError(reason if named else f"{os.fspath(path)}: {reason}", REMEDY)
    return said
