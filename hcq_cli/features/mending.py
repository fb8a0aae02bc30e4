"""Making a damaged store whole again: damaged files are moved aside, everything else is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hcq_cli import files
from hcq_cli.errors import DamagedError
from hcq_cli.features.building import storing
from hcq_cli.features.folding import Shards, entry_of
from hcq_cli.features.frame import MEND
from hcq_cli.features.handles import Handles
from hcq_cli.features.incoming import set_aside
from hcq_cli.features.reader import SHARDS, generations
from hcq_cli.features.shard import Shard
from hcq_cli.files import Generations


def take_out(folder: Path, damaged: Iterable[Path]) -> list[Path]:
    """Take damaged shards and incoming files out of a store, so that their videos are extracted again.

    Args:
        folder: the store.
        damaged: what `verify` found.

    Returns:
        where they lie now; files that were missing are only no longer named.

    Raises:
        LockedError: another process is writing there.
    """
    bad = set(damaged)
    with storing(folder, 0), files.writer_lock(folder):
        shards = Shards(folder)
        entries = shards.entries()
        left = [entry for entry in entries if folder / SHARDS / entry["name"] not in bad]
        if len(left) < len(entries):
            shards.publish(left)
        return [set_aside(path) for path in sorted(bad) if path.is_file()]


def mend_manifest(folder: Path) -> list[Path]:
    """While the newest manifest is damaged, go back to the one before; then take in all whole shards it lacks.

    Shards describe themselves, so that nothing is lost. Where the newest manifest is good, nothing is done.

    Returns:
        where the damaged manifests lie now.

    Raises:
        DamagedError: it is of another format or of a newer hcq, which is no damage to be mended.
        LockedError: another process is writing there.
    """
    known, moved = generations(folder), list[Path]()
    if _is_readable(folder):
        return moved
    with storing(folder, 0), files.writer_lock(folder):
        while not _is_readable(folder):
            moved.append(set_aside(known.path(known.numbers()[-1])))
        shards = Shards(folder)
        entries = shards.entries()
        shards.publish([*entries, *_unnamed(folder, {entry["name"] for entry in entries})])
    return moved


def _is_readable(folder: Path) -> bool:
    known = generations(folder)
    try:
        known.read()
        return True
    except DamagedError as error:
        if _is_whole(folder, known.path(known.numbers()[-1])):  # but of another format, or of a newer version
            hint = "" if error.hint == MEND else error.hint
            raise DamagedError(error.message, hint or "give the folder of a feature store") from error
        return False


def _is_whole(folder: Path, manifest: Path) -> bool:
    """Whether a manifest's checksum is right for whatever it says that it is."""
    with suppress(ValueError, KeyError, TypeError, DamagedError, RecursionError):
        document = json.loads(manifest.read_bytes())
        Generations(folder, document["format"], document["version"], MEND).read()
        return True
    return False


def _unnamed(folder: Path, named: set[str]) -> list[dict[str, Any]]:
    """Entries of the whole shards that no manifest names any more, oldest first."""
    paths = [path for path in (folder / SHARDS).glob("*.h5") if path.name not in named]
    entries = []
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        with suppress(DamagedError):
            shard = Shard(path, Handles())
            shard.check()
            entries.append(entry_of(path, shard.videos))
    return entries
