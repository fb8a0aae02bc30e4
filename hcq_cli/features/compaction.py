"""The life of shards: incoming files become shards, small shards merge, overridden rows and unnamed files go.

In the manner of a log-structured merge tree (O'Neil et al., 1996): files are immutable, newer ones override older
ones, and merging keeps them few. Each step ends with a generation of the manifest, and deletes only what no
generation that is kept names. So a kill between any two system calls leaves a store that opens with every finished
video in it. All of it needs the writer lock.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import DamagedError
from hcq_cli.features.catalog import Catalog
from hcq_cli.features.folder import (
    SHARDS,
    ShardEntry,
    entries_of,
    generations,
    list_incoming,
    need_folders,
    open_incoming,
    open_shards,
    set_aside,
)
from hcq_cli.features.records import ExpertKey, VideoRecord, text_key
from hcq_cli.features.shard import Shard
from hcq_cli.features.shard_writer import write_shard

FULL_VIDEOS = 4096
"""A shard never grows beyond this many videos…"""
FULL_BYTES = 1 << 30
"""…nor, by merging, beyond this many bytes."""
SMALL_BYTES = 1 << 25
"""A shard of less joins whatever is newer: copying it takes a moment, and a small store is one shard then, of the
same bytes however many runs and machines it was made by."""
MIN_LIVE_SHARE = 0.5
"""A shard of which less than this still counts is written anew without the rest."""
FACTS_BYTES = 64
"""What a row without features is taken to weigh, where shares of a shard are compared."""


class WritableShards:
    """The shards of a store, for its writer.

    Args:
        folder: the store.

    Raises:
        NotRegularError: a folder of the store is a link.
    """

    def __init__(self, folder: Path) -> None:
        need_folders(folder)
        self.folder = folder
        self._generations = generations(folder)
        self._seen: int | None = None
        self.warnings: list[str] = []

    def entries(self) -> list[ShardEntry]:
        """The shards of the newest generation, oldest first."""
        manifest = self._generations.read()
        self._seen = manifest.generation
        return entries_of(manifest, self.folder)

    def publish(self, entries: Sequence[ShardEntry]) -> None:
        """Make `entries` the newest generation. Raises HcqError where the disk is full.

        Raises LockedError where there is a newer one than `entries` told last: two writers that no lock kept apart.
        """
        body = {"shards": [entry.to_json() for entry in entries]}
        self._seen = self._generations.publish(body, after=self._seen).generation

    def append(self, rows: Iterable[VideoRecord], max_bytes: int | None = None) -> int:
        """Write rows to new shards, a generation each; they override whatever the store has of the same ids.

        Args:
            rows: any number; they are held in memory up to a shard at a time.
            max_bytes: of tokens a shard; a full shard's by default.

        Returns:
            how many rows were written.
        """
        written = 0
        for batch in batches_of_a_shard(rows, max_bytes):
            self.publish([*self.entries(), *self._write(batch)])
            written += len(batch)
        return written

    def take_in_incoming(self) -> int:
        """Put all incoming files into shards.

        Returns:
            how many there were.
        """
        videos = 0
        # A shard's worth at a time: there may be a million, and all of a batch are open at once.
        while paths := list_incoming(self.folder)[:FULL_VIDEOS]:
            shards = self.set_aside_damaged(paths)
            if shards:
                self.publish([*self.entries(), *self._write(current_rows(Catalog(shards)))])
            for path in paths:  # oldest first: what a kill leaves behind is newer than what it took away
                path.unlink(missing_ok=True)
            videos += len(shards)
        return videos

    def set_aside_damaged(self, paths: Sequence[Path]) -> list[Shard]:
        """Open incoming files; those that are damaged are moved out of the way, with a warning.

        Returns:
            the good ones.
        """
        good, damaged = open_incoming(paths)
        for path, error in damaged:
            target = set_aside(self.folder, path)
            self.warnings.append(f"{error.message}; moved to {target}, its video will be extracted again")
        return good

    def compact(self) -> None:
        """Merge small shards, write shards anew that are mostly overridden, delete files that nobody names."""
        try:
            entries = self.entries()
            begin = tail_to_merge(entries)
            if begin < len(entries):
                tail = open_shards(self.folder, entries[begin:], generation=self._seen or 0)
                self.publish([*entries[:begin], *self._write(current_rows(Catalog(tail)))])
            entries, catalog = self._opened()
            if len(catalog) < len(catalog.row_of_slot):  # else no id is there twice
                numbers = [n for n in range(len(entries)) if live_share(catalog, n) < MIN_LIVE_SHARE]
                self._rewrite(entries, {number: live_rows(catalog, number) for number in numbers})
        except DamagedError as error:
            self.warnings.append(f"{error.message}; left as it is ({error.hint})")
        self._delete_unnamed()

    def drop(self, ids: Collection[str]) -> None:
        """Write the shards that hold any of these videos anew, without them."""
        entries, catalog = self._opened()
        dropped = np.isin(catalog.column("videos/key"), np.array([text_key(id) for id in ids], np.uint64))
        anew = {}
        for number in range(len(entries)):
            # Older rows of an id count again where the newest is gone: each of its shards is written anew.
            if dropped[catalog.starts[number] : catalog.starts[number + 1]].any():
                anew[number] = [row for row in live_rows(catalog, number) if row.facts.id not in ids]
        self._rewrite(entries, anew)

    def _opened(self) -> tuple[list[ShardEntry], Catalog]:
        entries = self.entries()
        return entries, Catalog(open_shards(self.folder, entries, generation=self._seen or 0))

    def _rewrite(self, entries: Sequence[ShardEntry], anew: Mapping[int, Sequence[VideoRecord]]) -> None:
        """Publish the same shards, some of them written anew, with rows that may be none."""
        if anew:
            kept = [self._write(anew[at]) if at in anew else [entry] for at, entry in enumerate(entries)]
            self.publish(list(chain.from_iterable(kept)))

    def _write(self, rows: Iterable[VideoRecord]) -> list[ShardEntry]:
        """Write rows to shards, which the next generation is to name."""
        written = []
        for batch in batches_of_a_shard(rows):
            path = self.folder / SHARDS / f"{secrets.token_hex(8)}.h5"
            write_shard(path, batch)
            written.append(ShardEntry.of(path, len(batch)))
        return written

    def _delete_unnamed(self) -> None:
        named = set()
        for generation in self._generations.numbers():  # older ones too: readers may still hold them
            try:
                named |= {entry.name for entry in entries_of(self._generations.read(generation), self.folder)}
            except DamagedError:
                return  # an older manifest cannot be read: what it names stays
        for name in os.listdir(self.folder / SHARDS):
            path = self.folder / SHARDS / name
            if name not in named and not name.startswith(".") and (path.is_symlink() or not path.is_dir()):
                with suppress(FileNotFoundError):
                    path.unlink()


def tail_to_merge(entries: Sequence[ShardEntry]) -> int:
    """Where the run of newest shards begins that should become one.

    An older neighbour joins while it is less than twice as large as what it would join, or small, and the whole still
    fits: every video is then copied at most about log2(4096) times after its shard has grown out of small, and at
    most a dozen shards are not nearly full.

    Args:
        entries: shards as the manifest lists them, oldest first.

    Returns:
        index of the first shard of the run; len(entries) if nothing should be merged.
    """
    if not entries:
        return 0
    # From the newest backwards: shards are taken together only side by side, so that newer rows stay newer.
    begin, videos, size = len(entries) - 1, entries[-1].videos, entries[-1].nbytes
    while begin > 0:
        older = entries[begin - 1]
        fits = videos + older.videos <= FULL_VIDEOS and size + older.nbytes <= FULL_BYTES
        if not fits or (older.videos >= 2 * videos and older.nbytes >= SMALL_BYTES):
            break
        begin, videos, size = begin - 1, videos + older.videos, size + older.nbytes
    return begin if begin < len(entries) - 1 else len(entries)


def batches_of_a_shard(rows: Iterable[VideoRecord], max_bytes: int | None = None) -> Iterator[list[VideoRecord]]:
    """Cut a stream of rows into lists that each fit into a shard; no list has an id twice."""
    limit = FULL_BYTES if max_bytes is None else max_bytes
    batch: list[VideoRecord] = []
    ids: set[str] = set()
    size = 0
    for row in rows:
        too_big = size + row.nbytes > limit or len(batch) == FULL_VIDEOS
        # A shard has an id once: a second row of it must lie in a newer shard, to override the first.
        if batch and (too_big or row.facts.id in ids):
            yield batch
            batch, ids, size = [], set(), 0
        batch.append(row)
        ids.add(row.facts.id)
        size += row.nbytes
    if batch:
        yield batch


def current_rows(catalog: Catalog) -> Iterator[VideoRecord]:
    """Every row of `catalog`, by id, with the newest valid result of each expert; overridden ones are left behind."""
    newest = {expert: catalog.newest_results(expert) for expert in catalog.expert_names}
    # By id, not by which worker was done first: the same videos make the same shard.
    for row in sorted(range(len(catalog)), key=catalog.__getitem__):
        yield VideoRecord(catalog.facts(row), catalog.results(newest, row))


def live_share(catalog: Catalog, number: int) -> float:
    """The share of a shard's bytes that no newer shard overrides, 0..1."""
    shard = catalog.shards[number]
    newest, counts = _live(catalog, number)
    live, total = FACTS_BYTES * int(np.count_nonzero(newest)), FACTS_BYTES * shard.videos
    for key, mask in counts.items():
        tokens, token_bytes = np.diff(shard.column(f"{key.prefix}offsets")), 4 * (key.dim + 1)
        live += token_bytes * int(tokens[mask].sum())
        total += token_bytes * int(tokens.sum())
    return live / total if total else 0.0


def live_rows(catalog: Catalog, number: int) -> list[VideoRecord]:
    """The rows of a shard that still count, each with only those results that no newer shard overrides."""
    shard = catalog.shards[number]
    newest, counts = _live(catalog, number)
    rows = []
    for at in np.flatnonzero(np.logical_or.reduce([newest, *counts.values()])).tolist():
        results = {key.expert: shard.result(key, at) for key, mask in counts.items() if mask[at]}
        rows.append(VideoRecord(shard.facts(at), results))
    return rows


def _live(catalog: Catalog, number: int) -> tuple[NDArray[np.bool_], dict[ExpertKey, NDArray[np.bool_]]]:
    """Which videos [V] of a shard are the newest of their id, and of which ones each expert's result still counts."""
    shard, begin = catalog.shards[number], int(catalog.starts[number])
    slots = np.arange(begin, begin + shard.videos)
    rows = catalog.row_of_slot[slots]
    counts = {
        key: (catalog.newest_results(key.expert).slot[rows] == slots) & (shard.column(f"{key.prefix}state") != 0)
        for key in shard.experts
    }
    return catalog.newest[rows] == slots, counts
