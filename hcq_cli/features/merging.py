"""Keeping shards few and free of dead weight, LSM style; pure decisions, and rows copied from shard to shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.features.building import Piece, Row
from hcq_cli.features.catalog import Catalog
from hcq_cli.features.shard import Shard
from hcq_cli.features.strip import Part

FULL_VIDEOS = 4096
"""A shard never grows beyond this many videos…"""
FULL_BYTES = 1 << 30
"""…nor, by merging, beyond this many bytes."""
LIVE_SHARE = 0.5
"""A shard of which less than this still counts is written anew without the rest."""


def tail_to_merge(entries: Sequence[dict[str, Any]]) -> int:
    """Where the run of newest shards begins that should become one.

    An older neighbour joins while it is less than twice as large as what it would join, and the whole still fits:
    every video is then copied at most about log2(4096) times, and at most a dozen shards are not nearly full.

    Args:
        entries: shards as the manifest lists them, oldest first.

    Returns:
        index of the first shard of the run; len(entries) if nothing should be merged.
    """
    if not entries:
        return 0
    begin, videos, size = len(entries) - 1, entries[-1]["videos"], entries[-1]["bytes"]
    while begin > 0:
        older = entries[begin - 1]
        fits = videos + older["videos"] <= FULL_VIDEOS and size + older["bytes"] <= FULL_BYTES
        if not fits or older["videos"] >= 2 * videos:
            break
        begin, videos, size = begin - 1, videos + older["videos"], size + older["bytes"]
    return begin if begin < len(entries) - 1 else len(entries)


def piece_of(shard: Shard, part: Part, at: int) -> Piece:
    """What the expert of `part` found in video `at` of a shard; it is read when it is written."""
    offsets = shard.column(f"{part.prefix}offsets")
    identities = shard.text(f"{part.prefix}identities")
    return Piece(
        part,
        int(offsets[at + 1] - offsets[at]),
        int(shard.column(f"{part.prefix}state")[at]),
        identities[int(shard.column(f"{part.prefix}identity")[at])],
        lambda: shard.tokens(part, at),
    )


def merged_rows(catalog: Catalog) -> Iterator[Row]:
    """Every row of `catalog` with the newest valid result of each expert; overridden ones are left behind."""
    results = {expert: catalog.latest(expert) for expert in catalog.experts}
    for row in range(len(catalog)):
        places = [catalog.part(expert, latest, row) for expert, latest in results.items() if latest.slot[row] >= 0]
        yield Row(catalog.facts(row), tuple(piece_of(shard, part, at) for shard, at, part in places))


def _live(catalog: Catalog, number: int) -> tuple[NDArray[np.bool_], dict[Part, NDArray[np.bool_]]]:
    """Which videos of a shard are the newest of their id, and of which ones each expert's result still counts."""
    shard, begin = catalog.shards[number], int(catalog.starts[number])
    slots = np.arange(begin, begin + shard.videos)
    rows = catalog.row_of_slot[slots]
    counts = {
        part: (catalog.latest(part.expert).slot[rows] == slots) & (shard.column(f"{part.prefix}state") != 0)
        for part in shard.parts
    }
    return catalog.newest[rows] == slots, counts


def live_share(catalog: Catalog, number: int) -> float:
    """The share of a shard's bytes that no newer shard overrides, 0..1."""
    shard = catalog.shards[number]
    newest, counts = _live(catalog, number)
    live, total = 64 * int(np.count_nonzero(newest)), 64 * shard.videos
    for part, mask in counts.items():
        tokens, token_bytes = np.diff(shard.column(f"{part.prefix}offsets")), 4 * (part.dim + 1)
        live += token_bytes * int(tokens[mask].sum())
        total += token_bytes * int(tokens.sum())
    return live / total if total else 0.0


def live_rows(catalog: Catalog, number: int) -> list[Row]:
    """The rows of a shard that still count, each with only those results that no newer shard overrides."""
    shard = catalog.shards[number]
    newest, counts = _live(catalog, number)
    rows = []
    for at in np.flatnonzero(np.logical_or.reduce([newest, *counts.values()])).tolist():
        rows.append(
            Row(shard.facts(at), tuple(piece_of(shard, part, at) for part, mask in counts.items() if mask[at]))
        )
    return rows


def in_shards(rows: Iterable[Row], most_bytes: int = FULL_BYTES) -> Iterator[list[Row]]:
    """Cut a stream of rows into lists that each fit into a shard; no list has an id twice."""
    batch: list[Row] = []
    ids: set[str] = set()
    size = 0
    for row in rows:
        too_big = size + row.nbytes > most_bytes or len(batch) == FULL_VIDEOS
        if batch and (too_big or row.facts.id in ids):
            yield batch
            batch, ids, size = [], set(), 0
        batch.append(row)
        ids.add(row.facts.id)
        size += row.nbytes
    if batch:
        yield batch
