"""Hits that are worth showing: those that are sure enough, and where nothing fits well the best few alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hcq_cli.errors import UsageError
from hcq_cli.model.confidence import CUT_OFF

if TYPE_CHECKING:
    from hcq_cli.search.query import Hit, QueryResult

BEST_OF_NOTHING = 3
"""Hits that are shown at once where nothing fits well."""


def is_said(source: str) -> bool:
    """Whether a sentence of this source, empty for none, says, shows or tells something; a file may be called
    anything."""
    return source not in ("", "name")


def nothing_fits(hits: Iterable[tuple[float | None, str]]) -> bool:
    """Whether there are hits, the model thinks of none that it fits, and nobody says or shows the words of the query.

    Args:
        hits: of each its confidence, None where the model does not say, and the source of its sentence, empty for
            none.
    """
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
    unsure = not everything and nothing_fits((hit.confidence, _source(hit)) for hit in answer.hits)
    return (answer.hits[:BEST_OF_NOTHING] if unsure else answer.hits), unsure


def sure_enough(answer: QueryResult, least: float | None) -> QueryResult:
    """An answer without the hits that are less sure than `least`.

    Raises:
        UsageError: the model does not say how sure they are.
    """
    if least is None or not answer.hits:
        return answer
    said = [is_said(_source(hit)) for hit in answer.hits]
    if all(hit.confidence is None for hit in answer.hits) and not any(said):
        raise UsageError("--min-confidence: this model does not say how sure hits are", "hcq fit makes one that does")
    kept = tuple(hit for hit, told in zip(answer.hits, said, strict=True) if told or (hit.confidence or 0.0) >= least)
    return replace(answer, hits=kept, note=answer.note if kept else f"no hit is as sure as {least:g}")


def _source(hit: Hit) -> str:
    """Where the sentence comes from that a hit was found by; empty for none."""
    return hit.words.source if hit.words is not None else ""
