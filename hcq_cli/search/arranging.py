"""Hits as they are asked for: a page of them, in another order, with what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf

from hcq_cli.search.index import Index
from hcq_cli.search.query import Hit, QueryResult
from hcq_cli.search.searchable import SearchableCodes

NOTHING_PASSES = "no video passes the filter"
BY_COLUMN = {"date": "taken", "duration": "duration"}
"""The orders that need a column, and which."""


def arranged(
    collection: SearchableCodes,
    answer: QueryResult,
    *,
    offset: int = 0,
    sort: str = "score",
    columns: Sequence[str] = (),
    where: str | None = None,
) -> QueryResult:
    """An answer as it is asked for. Hits keep their rank, which says how well they fit, whatever their order.

    Args:
        collection: that the hits lie in.
        answer: the best hits, best first.
        offset: so many of the best are left out.
        sort: "score", "date" (the newest first), "path" or "duration" (the shortest first); unknown ones come last.
        columns: that each hit tells.
        where: the filter, if there was one.
    """
    if where is not None and not collection.videos:
        return replace(answer, note=NOTHING_PASSES)
    hits = list(answer.hits[offset:])
    if isinstance(collection, Index) and (columns or sort in BY_COLUMN):
        known = [_values(collection, hit, [*columns, *filter(None, [BY_COLUMN.get(sort)])]) for hit in hits]
        if sort in BY_COLUMN:
            sign = -1 if sort == "date" else 1
            keys = [inf if (value := values[BY_COLUMN[sort]]) is None else sign * float(value) for values in known]
            order = sorted(range(len(hits)), key=keys.__getitem__)
            hits, known = [hits[at] for at in order], [known[at] for at in order]
        if columns:
            kinds = collection.columns.kinds
            hits = [
                replace(hit, columns={name: _readable(values[name], kinds[name]) for name in columns})
                for hit, values in zip(hits, known, strict=True)
            ]
    if sort == "path":
        hits.sort(key=lambda hit: hit.path)
    return replace(answer, hits=tuple(hits))


def _values(index: Index, hit: Hit, names: Sequence[str]) -> dict[str, float | bool | str | None]:
    rows = index.rows_of(hit.id)  # of a video all of its segments, which have its columns
    return index.values(rows[-1], names) if rows else dict.fromkeys(names)


def _readable(value: float | bool | str | None, kind: str) -> float | bool | str | None:
    """A value for people and for JSON."""
    if kind == "date" and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return int(value) if isinstance(value, float) and value.is_integer() else value
