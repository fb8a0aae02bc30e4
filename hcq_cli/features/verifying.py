"""Reading every byte of a store once, to say which file is damaged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hcq_cli import files
from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.features.handles import Handles
from hcq_cli.features.incoming import list_incoming, open_incoming
from hcq_cli.features.reader import SHARDS, generations
from hcq_cli.features.shard import Shard


@dataclass(frozen=True)
class Damage:
    """A file that is not what it should be.

    Args:
        path: the file.
        reason: what is wrong, naming the file.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Verified:
    """What was read, and what is damaged.

    Args:
        files: how many files were read.
        nbytes: how many bytes they should have.
        damaged: the damaged ones.
    """

    files: int
    nbytes: int
    damaged: list[Damage]


def _wrong(path: Path, sha256: str) -> str:
    """What is wrong with a shard; empty if nothing is."""
    try:
        if files.digest_file(path) != sha256:
            Shard(path, Handles()).check()
            return f"{path}: its SHA-256 is not the one in the manifest"
    except DamagedError as error:
        return error.message
    except FileNotFoundError:
        return f"{path}: is missing"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    return ""


def verify(folder: Path, progress: Callable[[int, int], None] | None = None) -> Verified:
    """Check the newest manifest, every byte of every shard it names, and every incoming file.

    Args:
        folder: the store.
        progress: called with the bytes read so far and in all, after each shard.

    Raises:
        NotFoundError: there is no store.
        DamagedError: the manifest itself is damaged, foreign, or of a newer hcq.
    """
    folder = Path(folder)
    known, incoming = generations(folder), list_incoming(folder)
    manifest = known.read()
    if manifest.generation == 0 and not incoming:
        raise NotFoundError(f"{folder}: no features there", "hcq extract VIDEOS")
    entries = manifest.body.get("shards", [])
    damaged, done, total = [], 0, sum(entry["bytes"] for entry in entries)
    for entry in entries:
        path = folder / SHARDS / entry["name"]
        reason = _wrong(path, entry["sha256"])
        if reason and entry in known.read().body["shards"]:  # else it was merged away meanwhile
            damaged.append(Damage(path, reason))
        done += entry["bytes"]
        if progress:
            progress(done, total)
    for path in incoming:
        with suppress(FileNotFoundError):  # folded meanwhile
            shards, bad = open_incoming([path], Handles())
            damaged += [Damage(path, error.message) for _, error in bad]
            done += sum(shard.nbytes for shard in shards)
    return Verified(len(entries) + len(incoming), done, damaged)
