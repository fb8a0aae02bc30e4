"""The state of an unfinished run, written after every epoch: a checkpoint, Adam's state, and what was measured.

  RUN/resume/epoch-0007/    checkpoint files, optimizer.safetensors, progress.json
  RUN/resume/best/          the best epoch so far by validation, if there is one

All randomness is a function of seed, epoch and step, so no generator's state needs to be kept.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcq_cli.errors import DamagedError
from hcq_cli.files import need_folder, read_regular, sync_folder

FOLDER, BEST, PROGRESS = "resume", "best", "progress.json"
OPTIMIZER_FILE = "optimizer.safetensors"
EPOCH_PATTERN = re.compile(r"epoch-(\d{4,})")


@dataclass(frozen=True)
class ResumeState:
    """How far a run has come; progress.json holds these fields.

    Args:
        epoch: epochs finished.
        fingerprint: of recipe and data; a run of another fingerprint cannot go on from here.
        history: a metrics.jsonl line for each finished epoch.
        best_epoch: the best by validation, from 1; 0 if there is none.
        seconds: training time so far.
    """

    epoch: int
    fingerprint: str
    history: list[dict[str, Any]]
    best_epoch: int
    seconds: float


def latest_state(run: Path) -> tuple[Path, ResumeState] | None:
    """The state to go on from and its folder; None if there is none.

    Raises:
        DamagedError: it cannot be read.
    """
    folder = run / FOLDER
    need_folder(folder)
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    # By number: a run killed between writing an epoch and dropping the one before has left both.
    found = [(int(match[1]), path) for path in names if (match := EPOCH_PATTERN.fullmatch(path.name))]
    if not found:
        return None
    _, path = max(found)
    try:
        return path, ResumeState(**json.loads(read_regular(path / PROGRESS)))
    except (OSError, ValueError, TypeError) as error:
        raise DamagedError(f"{path}: cannot be resumed from ({error})", f"remove {folder} and train anew") from error


def save_state(
    run: Path, state: ResumeState, save_model: Callable[[Path], object], save_optimizer: Callable[[Path], object]
) -> None:
    """Write the state after an epoch, then drop the one before: a kill at any instant leaves one whole.

    Args:
        run: the run's folder.
        state: how far it has come.
        save_model: writes the checkpoint into the folder it is given.
        save_optimizer: writes the optimizer's state into the file it is given.
    """

    def save_all(folder: Path) -> None:
        save_model(folder)
        save_optimizer(folder / OPTIMIZER_FILE)
        (folder / PROGRESS).write_text(json.dumps(vars(state)), "utf-8")

    # The best epoch before the state: if the run is killed between the two, the state does not know of that best
    # epoch yet, and the epoch is run again.
    if state.best_epoch == state.epoch:
        _replace(run / FOLDER / BEST, save_model)
    target = run / FOLDER / f"epoch-{state.epoch:04d}"
    _replace(target, save_all)
    for path in (run / FOLDER).iterdir():
        if EPOCH_PATTERN.fullmatch(path.name) and path.name != target.name:
            shutil.rmtree(path)


def _replace(target: Path, fill: Callable[[Path], object]) -> None:
    """Put a folder, filled, in the place of another.

    Args:
        target: the folder.
        fill: writes its files into the folder it is given.
    """
    need_folder(target.parent)  # what lies there is replaced: not where a link leads
    fresh = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    fill(fresh)
    # Everything on disk before the name: a power cut after the rename must not find the new name on empty files.
    sync_folder(fresh)
    # A folder cannot be renamed onto one that has files. A kill right here leaves no best epoch, but the run goes on
    # from the state of the epoch before, and that epoch comes out the same and is written again.
    shutil.rmtree(target, ignore_errors=True)
    fresh.replace(target)
    sync_folder(target.parent)


def clear(run: Path) -> None:
    """Forget an unfinished run: what it would go on from is deleted, its checkpoint stays."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
