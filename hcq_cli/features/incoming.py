"""Finished videos on their way into a shard: one small file each, safe the moment it has been renamed into place."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from hcq_cli.errors import DamagedError
from hcq_cli.features.building import row_of, write_shard
from hcq_cli.features.handles import Handles
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.shard import Shard

FOLDER = "incoming"
SET_ASIDE = "set-aside"
"""Where damaged files go."""
_NAME = re.compile(r"\d{20}-[0-9a-f]{12}\.h5")


def write_incoming(folder: Path, video: VideoFeatures, *, durable: bool = True) -> Path:
    """Put a finished video into the store at `folder`. Needs no lock; any number of processes may do it at once.

    Args:
        folder: the store.
        video: what was found.
        durable: whether to wait for the disk; a kill of the process does no harm either way.

    Returns:
        the file. Its name sorts by time, so that of two files of one id the later one counts.

    Raises:
        HcqError: the disk is full, or the folder cannot be written.
        ValueError: shapes do not fit.
    """
    path = Path(folder) / FOLDER / f"{time.time_ns():020d}-{secrets.token_hex(6)}.h5"
    write_shard(path, [row_of(video)], durable=durable)
    return path


def list_incoming(folder: Path) -> list[Path]:
    """The files in `incoming/`, oldest first."""
    try:
        names = os.listdir(folder / FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / FOLDER / name for name in sorted(names) if _NAME.fullmatch(name)]


def open_incoming(paths: Sequence[Path], handles: Handles) -> tuple[list[Shard], list[tuple[Path, DamagedError]]]:
    """Open and check incoming files.

    Returns:
        the good ones in their order, and what is wrong with the others.

    Raises:
        FileNotFoundError: a writer folded one of them meanwhile; list them again.
    """
    shards, damaged = [], []
    for path in paths:
        try:
            shard = Shard(path, handles)
            shard.check()
            shards.append(shard)
        except DamagedError as error:
            damaged.append((path, error))
    return shards, damaged


def set_aside(path: Path) -> Path:
    """Move a damaged file out of the way, where a person can look at it.

    Returns:
        where it is now.
    """
    target = path.parent.parent / SET_ASIDE / path.name
    target.parent.mkdir(exist_ok=True)
    path.replace(target)
    return target
