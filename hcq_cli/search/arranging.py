"""Hits as they are asked for: a page of them, in another order, with what is known of each, as sure as they shall be.

Where nothing fits well the best few alone are worth showing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf, isnan

from hcq_cli.errors import UsageError
from hcq_cli.model.confidence import CUT_OFF
from hcq_cli.search.index import Index
from hcq_cli.search.query import NOTHING_FITS, Hit, QueryResult

BEST_OF_NOTHING = 3
"""Hits that are shown at once where nothing fits well."""
NOTHING_PASSES = "no video passes the filter"
BY_COLUMN = {"date": "taken", "duration": "duration"}
"""The orders that need a column, and which."""


def arranged(
    collection: Index,
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
    if answer.hits and not hits:  # as many are looked for as are left out, and more: these are all
        in_all = f"hits in all: {len(answer.hits)}, none after the first {offset}"
        return replace(answer, hits=(), note="; ".join(filter(None, [answer.note, in_all])))
    if columns or sort in BY_COLUMN:
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


def is_said(source: str) -> bool:
    """Whether a sentence of this source, empty for none, says, shows or tells something; a file may be called
    anything."""
    return source not in ("", "name")


def nothing_fits(note: str, hits: Iterable[tuple[float | None, str]]) -> bool:
    """Whether there are hits, the model thinks of none that it fits, and nobody says or shows the words of the query.

    Args:
        note: of the answer; where it does not say so, something fits that is not on this page.
        hits: of each its confidence, None where the model does not say, and the source of its sentence, empty for
            none.
    """
    if NOTHING_FITS not in note:
        return False
    doubtful = [
        confidence is not None and confidence < CUT_OFF and not is_said(source) for confidence, source in hits
    ]
    return bool(doubtful) and all(doubtful)


def worth_showing(answer: QueryResult, *, everything: bool = False) -> tuple[Sequence[Hit], bool]:
    """The hits that a person is shown, and whether they are the best few of what does not fit.

    Args:
        answer: to a query.
        everything: show all hits, too, where nothing fits.
    """
    unsure = not everything and nothing_fits(answer.note, ((hit.confidence, hit.source) for hit in answer.hits))
    return (answer.hits[:BEST_OF_NOTHING] if unsure else answer.hits), unsure


def sure_enough(answer: QueryResult, least: float | None) -> QueryResult:
    """An answer without the hits that are less sure than `least`.

    Raises:
        UsageError: the model does not say how sure they are.
    """
    if least is None or not answer.hits:
        return answer
    if isnan(least):
        raise UsageError("--min-confidence: nan is no number from 0 to 1")
    said = [is_said(hit.source) for hit in answer.hits]
    if all(hit.confidence is None for hit in answer.hits) and not any(said):
        raise UsageError("--min-confidence: this model does not say how sure hits are", "hcq fit makes one that does")
    kept = tuple(hit for hit, told in zip(answer.hits, said, strict=True) if told or (hit.confidence or 0.0) >= least)
    return replace(answer, hits=kept, note=answer.note if kept else f"no hit is as sure as {least:g}")
