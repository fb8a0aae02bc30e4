"""Finished videos on their way into a shard: one small file each, safe the moment it has been renamed into place.

Its name is made of the video's file and of what its features depend on: whoever finishes a video a second time, on
whatever machine, writes the same file again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from hcq_cli.errors import DamagedError
from hcq_cli.features.manifest import INCOMING, SET_ASIDE
from hcq_cli.features.records import VideoFeatures, VideoRecord
from hcq_cli.features.shard import OpenFiles, Shard
from hcq_cli.features.shard_writer import write_shard
from hcq_cli.files import disk_errors, need_folder, need_regular

# The time of the video's last change, nanoseconds since 1970, so that names sort by it, and a digest. Those of an
# earlier hcq may have the time of writing, and a random part.
_NAME = re.compile(r"\d{20}-[0-9a-f]{12}\.h5")


def write_incoming(folder: Path, video: VideoFeatures) -> Path:
    """Put a finished video into the store at `folder`. Needs no lock; any number of processes may do it at once.

    Args:
        folder: the store.
        video: what was found.

    Returns:
        the file. Of two of one id that of the later last change counts: should an older video have taken its place
        since, the next extraction sees that, and extracts it again.

    Raises:
        HcqError: the disk is full, or the folder cannot be written.
        NotRegularError: the folder `incoming` is a link.
        ValueError: shapes do not fit.
    """
    need_folder(Path(folder) / INCOMING)
    made_of = [video.id, video.path, video.content_hash, video.size, video.mtime_ns, sorted(video.identities.items())]
    digest = hashlib.blake2b(json.dumps(made_of).encode(), digest_size=6).hexdigest()
    path = Path(folder) / INCOMING / f"{min(max(video.mtime_ns, 0), 10**20 - 1):020d}-{digest}.h5"
    write_shard(path, [VideoRecord.of(video)])
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
