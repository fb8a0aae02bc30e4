"""Finding damage in a store, and taking it out: `hcq features verify` and its `--mend`.

Every byte is read once. What is damaged is moved to `set-aside/`, where a person can look at it; everything else is
kept, and `hcq extract` repeats the videos that are missing then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hcq_cli import files
from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.features.compaction import WritableShards
from hcq_cli.features.folder import (
    SHARDS,
    ShardEntry,
    entries_of,
    generations,
    list_incoming,
    need_folders,
    open_incoming,
    set_aside,
)
from hcq_cli.features.open_files import OpenFiles
from hcq_cli.features.shard import Shard
from hcq_cli.features.shard_header import REPAIR_HINT
from hcq_cli.files import NotRegularError
from hcq_cli.generations import Generations, Manifest
from hcq_cli.writer_lock import writer_lock


@dataclass(frozen=True)
class DamagedFile:
    """A file that is not what it should be.

    Args:
        path: the file.
        reason: what is wrong, naming the file.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Verification:
    """What was read, and what is damaged.

    Args:
        files: how many files were read.
        nbytes: how many bytes they should have.
        damaged: the damaged ones.
    """

    files: int
    nbytes: int
    damaged: list[DamagedFile]


def verify(folder: Path, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Check the newest manifest, every byte of every shard it names, and every incoming file.

    Args:
        folder: the store.
        progress: called with the bytes read so far and in all, after each shard.

    Raises:
        NotFoundError: there is no store.
        DamagedError: the manifest itself is damaged, foreign, or of a newer hcq.
        NotRegularError: there is a link, a folder, a pipe or a device where a file should be.
    """
    folder = Path(folder)
    need_folders(folder)
    manifests, incoming = generations(folder), list_incoming(folder)
    manifest = manifests.read()
    if manifest.generation == 0 and not incoming:
        raise NotFoundError(f"{folder}: no features there", "hcq extract VIDEOS")
    entries = entries_of(manifest, folder)
    damaged, done, total = [], 0, sum(entry.nbytes for entry in entries)
    for entry in entries:
        reason = _reason(entry.path(folder), entry.sha256)
        if reason and entry in entries_of(manifests.read(), folder):  # else it was merged away meanwhile
            damaged.append(DamagedFile(entry.path(folder), reason))
        done += entry.nbytes
        if progress:
            progress(done, total)
    for path in incoming:
        with suppress(FileNotFoundError):  # put into a shard meanwhile
            shards, bad = open_incoming([path])
            damaged += [DamagedFile(path, error.message) for _, error in bad]
            done += sum(shard.nbytes for shard in shards)
    return Verification(len(entries) + len(incoming), done, damaged)


def _reason(path: Path, sha256: str) -> str:
    """What is wrong with a shard; empty if nothing is. One that is no file at all is for a person to look at."""
    try:
        # Its SHA-256 covers the bytes between the columns too. Only if it differs, the checksums inside say where.
        if files.digest_file(path, links=False) != sha256:
            Shard(path, OpenFiles()).check()
            return f"{path}: its SHA-256 is not the one in the manifest"
    except files.NotRegularError:
        raise
    except DamagedError as error:
        return error.message
    except FileNotFoundError:
        return f"{path}: is missing"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    return ""


def take_out(folder: Path, damaged: Iterable[Path]) -> list[Path]:
    """Take damaged shards and incoming files out of a store, so that their videos are extracted again.

    Args:
        folder: the store.
        damaged: what `verify` found.

    Returns:
        where they lie now; files that were missing are only no longer named.

    Raises:
        LockedError: another process is writing there.
        NotRegularError: one is no file; then none is moved.
    """
    bad = set(damaged)
    for path in bad:
        files.need_regular(path)
    with files.disk_errors(folder), writer_lock(folder):
        files.remove_leftovers(folder)
        shards = WritableShards(folder)
        entries = shards.entries()
        left = [entry for entry in entries if entry.path(folder) not in bad]
        # No longer named first, then moved: a kill in between leaves no manifest that names what is gone.
        if len(left) < len(entries):
            shards.publish(left)
        return [set_aside(folder, path) for path in sorted(bad) if path.is_file()]


def repair_manifest(folder: Path) -> list[Path]:
    """While the newest manifest is damaged, go back to the one before; then take in all whole shards it lacks.

    Shards describe themselves, so that nothing is lost. Where all manifests are good, nothing is done.

    Returns:
        where the damaged manifests lie now.

    Raises:
        DamagedError: it is of another format or of a newer hcq, or the one before names what is no file of the
            store, which is no damage to be repaired; nothing is moved then.
        LockedError: another process is writing there.
    """
    need_folders(folder)
    manifests = generations(folder)
    if not _damaged_generations(manifests)[0]:
        return []
    with files.disk_errors(folder), writer_lock(folder):
        files.remove_leftovers(folder)
        damaged, whole = _damaged_generations(manifests)  # once more: nobody else writes now
        if damaged and damaged[0] == manifests.numbers()[-1]:
            entries = entries_of(whole, folder)  # before anything is moved
            # Published before anything is set aside: a kill in between leaves a store that opens with all its videos.
            # The other way round the generation before would be the newest, and what only the damaged one named lost.
            WritableShards(folder).publish([*entries, *_unnamed_shards(folder, {entry.name for entry in entries})])
        paths = [manifests.path(number) for number in damaged]
        return [set_aside(folder, path) for path in paths if path.exists()]  # the oldest go with each publication


def _damaged_generations(manifests: Generations) -> tuple[list[int], Manifest]:
    """The generations that are damaged, newest first, and the newest whole one."""
    damaged, whole = list[int](), Manifest(0, {})
    for number in reversed(manifests.numbers()):
        try:
            found = manifests.read(number)
            whole = whole if whole.generation else found
        except NotRegularError:
            raise
        except DamagedError as error:
            if not whole.generation and _is_whole(manifests, number):  # but of another format, or of a newer version
                hint = "" if error.hint == REPAIR_HINT else error.hint
                raise DamagedError(error.message, hint or "give the folder of a feature store") from error
            damaged.append(number)
    return damaged, whole


def _is_whole(manifests: Generations, number: int) -> bool:
    """Whether a manifest's checksum is right for whatever it says that it is."""
    with suppress(ValueError, KeyError, TypeError, DamagedError, RecursionError):
        document = json.loads(files.read_regular(manifests.path(number)))
        Generations(manifests.folder, document["format"], document["version"], REPAIR_HINT).read(number)
        return True
    return False


def _unnamed_shards(folder: Path, named: set[str]) -> list[ShardEntry]:
    """Entries of the whole shards that no manifest names any more, oldest first."""
    paths = [path for path in (folder / SHARDS).glob("*.h5") if path.name not in named]
    entries = []
    # Names of shards are random; their times say which of two rows of one id is the newer.
    for path in sorted(paths, key=lambda path: path.lstat().st_mtime_ns):
        with suppress(DamagedError):
            shard = Shard(path, OpenFiles())
            shard.check()
            entries.append(ShardEntry.of(path, shard.videos))
    return entries
