"""The state of an unfinished run, written after every epoch: a checkpoint, Adam's state, and what was measured.

  RUN/resume/epoch-0007/    checkpoint files, optimizer.safetensors, progress.json
  RUN/resume/best-0005/     the best epoch so far by validation, if there is one

Each folder is filled aside, synced and published by one rename, under a name that no other has. All randomness is a
function of seed, epoch and step, so no generator's state needs to be kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hcq_cli.errors import DamagedError, HcqError, NotFoundError
from hcq_cli.files import (
    atomic_folder,
    digest_file,
    need_folder,
    read_regular,
    remove_folder,
    remove_leftover_folders,
)
from hcq_cli.headers import decode
from hcq_cli.model.checkpoint import (
    CONFIG_FILE,
    TEXT_FILES,
    WEIGHTS_FILE,
    CheckpointHeader,
    check_signed,
    model_hash,
    need_own,
    read_header,
    settle,
    write_signed,
)
from hcq_cli.writer_lock import writer_lock

FOLDER, PROGRESS = "resume", "progress.json"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_PATTERN = re.compile(r"(epoch|best)-(\d{4,})")


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

    def __post_init__(self) -> None:
        if not 0 <= self.best_epoch <= self.epoch == len(self.history):
            raise ValueError("it has not as many epochs as it says")


def _folders(run: Path, kind: str) -> Iterator[tuple[int, Path]]:
    """The states that are there, "epoch" or "best", the latest first."""
    folder = run / FOLDER
    need_folder(folder)
    found = ((STATE_PATTERN.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ()))
    yield from sorted(((int(m[2]), path) for m, path in found if m and m[1] == kind), reverse=True)


def latest_state(run: Path, needed: bool = False) -> tuple[Path, ResumeState] | None:
    """The state to go on from and its folder; None if there is none, or only what a killed run began to delete.

    Raises:
        NotFoundError: there is none, and it is `needed`.
        DamagedError: it cannot be read.
    """
    for _, path in _folders(run, "epoch"):
        if all((path / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE, *TEXT_FILES, OPTIMIZER_FILE, PROGRESS)):
            state = _read(path)
            if state.best_epoch in (0, state.epoch) or best_folder(run, state.best_epoch).is_dir():
                return path, state
    if needed:
        raise NotFoundError(f"{run}: no interrupted training there", "hcq train")
    return None


def _read(path: Path) -> ResumeState:
    try:
        document = json.loads(read_regular(path / PROGRESS))
        check_signed(path / PROGRESS, document, [each.name for each in fields(ResumeState)])
        state = decode(ResumeState, document, path / PROGRESS)
        if "checksum" in document:  # earlier versions wrote neither of these
            if document["optimizer"] != digest_file(path / OPTIMIZER_FILE):
                raise ValueError(f"{OPTIMIZER_FILE} is damaged")
            if document["model"] != model_hash(path):
                raise ValueError("its checkpoint is that of another epoch")
    except (OSError, ValueError, TypeError, KeyError, HcqError, RecursionError) as error:
        hint = f"remove {path.parent} and train anew"
        raise DamagedError(f"{path}: cannot be resumed from ({error})", hint) from error
    return state


def best_folder(run: Path, epoch: int) -> Path:
    """Where the checkpoint of the best epoch lies."""
    folder = run / FOLDER / f"best-{epoch:04d}"
    return folder if folder.is_dir() else run / FOLDER / "best"  # as 0.1.0 named it


def save_state(
    run: Path, state: ResumeState, write_model: Callable[[Path], str], write_optimizer: Callable[[Path], object]
) -> None:
    """Write the state after an epoch, then drop the one before: a kill at any instant leaves one whole.

    Args:
        run: the run's folder.
        state: how far it has come.
        write_model: writes the checkpoint into the folder it is given, and returns the model's hash.
        write_optimizer: writes the optimizer's state into the file it is given.
    """
    tidy(run)
    # The best epoch before the state that names it. Killed between the two, the run repeats this epoch.
    if state.best_epoch == state.epoch:
        remove_folder(run / FOLDER / f"best-{state.epoch:04d}")
        with atomic_folder(run / FOLDER / f"best-{state.epoch:04d}") as fresh:
            write_model(fresh)
    remove_folder(run / FOLDER / f"epoch-{state.epoch:04d}")  # half of one that a killed run began to delete
    with atomic_folder(run / FOLDER / f"epoch-{state.epoch:04d}") as fresh:
        identity = write_model(fresh)
        write_optimizer(fresh / OPTIMIZER_FILE)
        digests = {"model": identity, "optimizer": digest_file(fresh / OPTIMIZER_FILE)}
        write_signed(fresh / PROGRESS, {**vars(state), **digests})
    for kind, kept in (("epoch", state.epoch), ("best", state.best_epoch)):
        for epoch, path in list(_folders(run, kind)):
            if epoch != kept:
                remove_folder(path)


def tidy(run: Path) -> None:
    """Remove what a killed run left half written or half deleted; call with the run's writer lock held."""
    need_folder(run / FOLDER)
    remove_leftover_folders(run / FOLDER, "epoch-*", "best*")
    remove_leftover_folders(run, FOLDER)


def finished(run: Path, fingerprint: str) -> CheckpointHeader | None:
    """The checkpoint in `run`, if a run of that fingerprint ended in it and it is whole; leftovers are removed.

    Raises:
        DamagedError: what lies there is another program's, or a newer hcq's.
        LockedError: another run writes there.
    """
    if not run.is_dir():
        return None
    need_own(run)
    with writer_lock(run):
        settle(run)
        try:
            header = read_header(run)
            if header.about.get("fingerprint") != fingerprint:
                return None
            header.verify()
        except (NotFoundError, DamagedError):
            return None
        clear(run)  # killed between publishing and this, the run left its state
    return header


def clear(run: Path) -> None:
    """Forget an unfinished run: what it would go on from is deleted, its checkpoint stays."""
    remove_folder(run / FOLDER)
    tidy(run)
