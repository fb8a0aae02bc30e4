"""Finished videos on their way into a shard: one small file each, safe the moment it has been renamed into place."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from hcq_cli.errors import DamagedError
from hcq_cli.features.manifest import INCOMING, SET_ASIDE
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.shard import OpenFiles, Shard
from hcq_cli.features.shard_writer import ShardRow, write_shard
from hcq_cli.files import disk_errors, need_folder, need_regular

# Nanoseconds since 1970, so that names sort by time, and a random part, so that no two processes choose one name.
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
        NotRegularError: the folder `incoming` is a link.
        ValueError: shapes do not fit.
    """
    need_folder(Path(folder) / INCOMING)
    path = Path(folder) / INCOMING / f"{time.time_ns():020d}-{secrets.token_hex(6)}.h5"
    write_shard(path, [ShardRow.of(video)], durable=durable)
    return path


def list_incoming(folder: Path) -> list[Path]:
    """The files in `incoming/`, oldest first.

    Raises:
        NotRegularError: one is a link, a folder, a pipe or a device.
    """
    try:
        with os.scandir(folder / INCOMING) as listed:
            found = [entry for entry in listed if _NAME.fullmatch(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    for entry in found:
        if not entry.is_file(follow_symlinks=False):  # which costs no system call
            need_regular(Path(entry.path))
    return [folder / INCOMING / name for name in sorted(entry.name for entry in found)]


def open_incoming(
    paths: Sequence[Path], open_files: OpenFiles | None = None
) -> tuple[list[Shard], list[tuple[Path, DamagedError]]]:
    """Open and check incoming files.

    Args:
        paths: from `list_incoming`.
        open_files: those of the store, if they are to be shared.

    Returns:
        the good ones in their order, and what is wrong with the others.

    Raises:
        FileNotFoundError: a writer put one of them into a shard meanwhile; list them again.
    """
    shards, damaged, open_files = [], [], open_files or OpenFiles()
    # Unlike shards they are read whole when they are opened: they are in no manifest, which would know their SHA-256.
    for path in paths:
        try:
            shard = Shard(path, open_files)
            shard.check()
            shards.append(shard)
        except DamagedError as error:
            damaged.append((path, error))
    return shards, damaged


def set_aside(folder: Path, path: Path) -> Path:
    """Move a damaged file out of the way, where a person can look at it.

    Args:
        folder: the store.
        path: a file of it.

    Returns:
        where it is now.

    Raises:
        NotRegularError: it is no file, or the folder for such files is a link.
    """
    target = folder / SET_ASIDE / path.name
    need_regular(path)
    need_folder(target.parent)
    with disk_errors(target):
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
    return target
