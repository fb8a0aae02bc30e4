"""The life of shards: incoming files become shards, small shards merge, dead weight and unnamed files go.

Each step ends with a generation of the manifest, and deletes only what no generation that is kept names. So a kill
between any two system calls leaves a store that opens with every finished video in it. All of it needs the writer
lock.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hcq_cli import files
from hcq_cli.errors import DamagedError
from hcq_cli.features.building import Row, storing, write_shard
from hcq_cli.features.catalog import Catalog
from hcq_cli.features.handles import Handles
from hcq_cli.features.incoming import list_incoming, open_incoming, set_aside
from hcq_cli.features.merging import (
    FULL_BYTES,
    FULL_VIDEOS,
    LIVE_SHARE,
    in_shards,
    live_rows,
    live_share,
    merged_rows,
    tail_to_merge,
)
from hcq_cli.features.reader import SHARDS, generations, open_shards
from hcq_cli.features.shard import Shard
from hcq_cli.files import Manifest


def entry_of(path: Path, videos: int) -> dict[str, Any]:
    """A shard as the manifest lists it."""
    return {"name": path.name, "videos": videos, "bytes": path.stat().st_size, "sha256": files.digest_file(path)}


class Shards:
    """The shards of a store, for its writer.

    Args:
        folder: the store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known = generations(folder)
        self.warnings: list[str] = []

    def entries(self) -> list[dict[str, Any]]:
        """The shards of the newest generation, oldest first."""
        return list(self._known.read().body.get("shards", []))

    def append(self, rows: Iterable[Row], most_bytes: int = FULL_BYTES) -> int:
        """Write rows to new shards, a generation each; they override whatever the store has of the same ids.

        Returns:
            how many rows were written.
        """
        written = 0
        for batch in in_shards(rows, most_bytes):
            self.publish([*self.entries(), self._write(batch)])
            written += len(batch)
        return written

    def fold_incoming(self) -> int:
        """Put all incoming files into shards.

        Returns:
            how many there were.
        """
        folded = 0
        while paths := list_incoming(self.folder)[:FULL_VIDEOS]:
            shards = self.set_aside_damaged(paths)
            new = [self._write(batch) for batch in in_shards(merged_rows(Catalog(shards)))]
            if new:
                self.publish([*self.entries(), *new])
            for path in paths:  # oldest first: what a kill leaves behind is newer than what it took away
                path.unlink(missing_ok=True)
            folded += len(shards)
        return folded

    def set_aside_damaged(self, paths: Sequence[Path]) -> list[Shard]:
        """Open incoming files; those that are damaged are moved out of the way, with a warning.

        Returns:
            the good ones.
        """
        good, damaged = open_incoming(paths, Handles())
        for path, error in damaged:
            with storing(path, 0):
                target = set_aside(path)
            self.warnings.append(f"{error.message}; moved to {target}, its video will be extracted again")
        return good

    def tidy(self) -> None:
        """Merge small shards, write shards anew that are mostly overridden, delete files that nobody names."""
        try:
            self._merge_tail()
            self._drop_overridden()
        except DamagedError as error:
            self.warnings.append(f"{error.message}; left as it is ({error.hint})")
        self._sweep()

    def publish(self, entries: Sequence[dict[str, Any]]) -> None:
        """Make `entries` the newest generation. Raises HcqError where the disk is full."""
        with storing(self.folder, 1 << 20):
            self._known.publish({"shards": list(entries)})

    def _write(self, rows: Sequence[Row]) -> dict[str, Any]:
        path = self.folder / SHARDS / f"{secrets.token_hex(8)}.h5"
        write_shard(path, rows)
        return entry_of(path, len(rows))

    def _merge_tail(self) -> None:
        entries = self.entries()
        begin = tail_to_merge(entries)
        if begin == len(entries):
            return
        run = open_shards(
            self.folder, Manifest(self._known.read().generation, {"shards": entries[begin:]}), Handles()
        )
        merged = [self._write(batch) for batch in in_shards(merged_rows(Catalog(run)))]
        self.publish([*entries[:begin], *merged])

    def _drop_overridden(self) -> None:
        manifest = self._known.read()
        catalog = Catalog(open_shards(self.folder, manifest, Handles()))
        if len(catalog) == len(catalog.row_of_slot):
            return
        entries, changed = [], False
        for number, entry in enumerate(manifest.body["shards"]):
            if live_share(catalog, number) >= LIVE_SHARE:
                entries.append(entry)
                continue
            changed = True
            rows = live_rows(catalog, number)
            entries += [self._write(rows)] if rows else []
        if changed:
            self.publish(entries)

    def _sweep(self) -> None:
        named = set()
        for generation in self._known.numbers():
            try:
                named |= {entry["name"] for entry in self._known.read(generation).body.get("shards", [])}
            except DamagedError:
                return  # an older manifest cannot be read: what it names stays
        for name in os.listdir(self.folder / SHARDS):
            if name not in named and not name.startswith("."):
                with suppress(FileNotFoundError):
                    (self.folder / SHARDS / name).unlink()
