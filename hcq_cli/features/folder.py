"""What lies in the folder of a feature store: shards that a manifest names, and finished videos on their way there.

A store may come from somebody else, and the checksum of its manifest says nothing of who wrote it. So a manifest
names shards by the plain names of files in `shards/`, and the folders of a store are folders, not links: otherwise
compaction and repair, which delete and move files, could be led to a person's own.

A finished video is one small file in `incoming/`, safe the moment it has been renamed into place. Its name is made of
the video's file and of what its features depend on: whoever finishes a video a second time, on whatever machine,
writes the same file again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hcq_cli import files
from hcq_cli.collection import FOLDER as COLLECTION
from hcq_cli.errors import DamagedError, UsageError
from hcq_cli.features.failures import FAILURES, HASHES
from hcq_cli.features.open_files import OpenFiles
from hcq_cli.features.records import VideoFeatures, VideoRecord
from hcq_cli.features.shard import Shard
from hcq_cli.features.shard_header import REPAIR_HINT
from hcq_cli.features.shard_writer import write_shard
from hcq_cli.features.transcripts import TRANSCRIPTS
from hcq_cli.files import need_folder, need_regular
from hcq_cli.generations import Generations, Manifest
from hcq_cli.headers import JSON, Count, Digest, FileName, decode

FORMAT, VERSION = "hcq-features", 1
SHARDS, INCOMING, SET_ASIDE, LOGS = "shards", "incoming", "set-aside", "logs"
"""Folders of a store; damaged files go into the third, notes of writers without the lock into the last."""
OWN_NAMES = {INCOMING, SHARDS, SET_ASIDE, LOGS, FAILURES, HASHES, TRANSCRIPTS, COLLECTION, "writer.lock"}
"""What lies in the folder of a store before its first generation."""
# The time of the video's last change, nanoseconds since 1970, so that names sort by it, and a digest. Those of an
# earlier hcq may have the time of writing, and a random part.
_NAME = re.compile(r"\d{20}-[0-9a-f]{12}\.h5")
NOT_OURS = "hcq writes no such manifest: make a store of your own, hcq extract VIDEOS -o NEW-FOLDER"


@dataclass(frozen=True)
class ShardEntry:
    """A shard as the manifest lists it.

    Args:
        name: of the file in `shards/`, without any folder.
        videos: how many rows it has.
        nbytes: its length.
        sha256: of its content, as hex.
    """

    name: FileName
    videos: Count
    nbytes: Count = field(metadata={JSON: "bytes"})
    sha256: Digest

    @classmethod
    def of(cls, path: Path, videos: int) -> ShardEntry:
        """The entry of a shard that was written, which is read once for its checksum."""
        return cls(path.name, videos, path.stat().st_size, files.digest_file(path, links=False))

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {"name": self.name, "videos": self.videos, "bytes": self.nbytes, "sha256": self.sha256}

    def path(self, folder: Path) -> Path:
        """Where the shard lies in the store at `folder`."""
        return folder / SHARDS / self.name


@dataclass(frozen=True)
class _Body:
    """What a manifest of a store says."""

    shards: list[ShardEntry] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Compaction would write the rows of a shard that is listed twice twice, and delete it once.
        if len({entry.name for entry in self.shards}) < len(self.shards):
            raise ValueError("a shard is listed twice")


def entries_of(manifest: Manifest, folder: Path) -> list[ShardEntry]:
    """The shards that a generation names, oldest first; the only way from a manifest to the files of a store.

    Args:
        manifest: the generation.
        folder: the store, for the message.

    Raises:
        DamagedError: an entry makes no sense, or names what is no file of the store.
    """
    return decode(_Body, manifest.body, generations(folder).path(manifest.generation), NOT_OURS).shards


def need_folders(folder: Path) -> None:
    """See that the folders of a store are its own, as far as they are there.

    Raises:
        NotRegularError: one is a link, through which files elsewhere would be read, moved or deleted.
    """
    for name in (SHARDS, INCOMING, SET_ASIDE, LOGS):
        need_folder(folder / name)


def make_folders(folder: Path) -> None:
    """Make the folders of a store, for a writer.

    Raises:
        UsageError: it holds something else, or a file is in the place of a folder.
        HcqError: it cannot be written.
    """
    # A mistyped -o must not spread a store among somebody's files.
    if folder.is_dir() and not generations(folder).numbers():
        strange = [name for name in os.listdir(folder) if name not in OWN_NAMES and not name.startswith(".")]
        if strange:
            message = f"{folder}: holds {strange[0]!r} and is no feature store"
            raise UsageError(message, "give -o a new or empty folder")
    try:
        with files.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            need_folders(folder)
            for name in (INCOMING, SHARDS):
                (folder / name).mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder}: is a file, not a folder", "give -o a folder") from error


def generations(folder: Path) -> Generations:
    """The manifests of a feature store."""
    return Generations(folder, FORMAT, VERSION, REPAIR_HINT)


def open_shards(
    folder: Path, entries: Sequence[ShardEntry], *, generation: int, open_files: OpenFiles | None = None
) -> list[Shard]:
    """Open shards that a manifest names.

    Args:
        folder: the store.
        entries: of the manifest, oldest first.
        generation: that of the manifest.
        open_files: those of the store, if they are to be shared.

    Raises:
        DamagedError: one is missing, damaged, or of a newer version.
        FileNotFoundError: the manifest is no longer the newest and its shard is gone; read it again.
    """
    shards, open_files = [], open_files or OpenFiles()
    for entry in entries:
        path = entry.path(folder)
        try:
            shard = Shard(path, open_files)
        except FileNotFoundError:
            if generations(folder).numbers()[-1:] != [generation]:
                raise
            raise DamagedError(f"{path}: is missing", REPAIR_HINT) from None
        # Cheap to compare at every opening; the SHA-256 is for `hcq features verify`, which reads every byte.
        if (shard.nbytes, shard.videos) != (entry.nbytes, entry.videos):
            raise DamagedError(f"{path}: is not the file that the manifest names", REPAIR_HINT)
        shards.append(shard)
    return shards


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
    with files.disk_errors(target):
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
    return target
