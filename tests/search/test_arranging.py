"""What is shown of an answer: all of it, unless nothing fits well and nobody says the words of the query."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hcq_cli.errors import UsageError
from hcq_cli.model.confidence import CUT_OFF
from hcq_cli.search.arranging import BEST_OF_NOTHING, arranged, sure_enough, worth_showing
from hcq_cli.search.index import Index
from hcq_cli.search.query import CUT, NOTHING_FITS, Hit, QueryResult
from hcq_cli.words.sentences import SOURCES, Sentence


def answer(*found: tuple[float | None, str]) -> QueryResult:
    """An answer whose hits have these confidences, and sentences of these sources."""
    hits = [
        Hit(rank, 0.5, f"v{rank}", "", confidence, words=Sentence("a", source) if source else None)
        for rank, (confidence, source) in enumerate(found, 1)
    ]
    return QueryResult("a", tuple(hits), 9, 0.0, 0.0, note=NOTHING_FITS)


INDEX = Index.open(Path(__file__).parents[1] / "golden" / "workspace" / "index")
DOUBTFUL = (CUT_OFF - 0.01, "")


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        (DOUBTFUL, BEST_OF_NOTHING),
        ((CUT_OFF - 0.01, "name"), BEST_OF_NOTHING),
        ((CUT_OFF, ""), 6),
        ((None, ""), 6),
        *(((CUT_OFF - 0.01, source), 6) for source in SOURCES if source != "name"),
    ],
)
def test_the_best_few_are_shown_where_all_hits_are_doubtful(last: tuple[float | None, str], shown: int) -> None:
    found = answer(*[DOUBTFUL] * 5, last)
    hits, unsure = worth_showing(found)
    assert (hits, unsure) == (found.hits[:shown], shown < 6)
    assert worth_showing(found, everything=True) == (found.hits, False)
    for note in ("", CUT):  # a page of an answer that fits
        assert worth_showing(replace(found, note=note)) == (found.hits, False)


def test_a_page_behind_the_last_hit_says_how_many_there_are() -> None:
    found = replace(answer((0.9, ""), (0.4, "name")), note=CUT)
    assert [hit.rank for hit in arranged(INDEX, found, offset=1).hits] == [2]
    for offset in (2, 100):
        behind = arranged(INDEX, found, offset=offset)
        assert (behind.hits, behind.note) == ((), f"{CUT}; hits in all: 2, none after the first {offset}")
    assert not arranged(INDEX, answer(), offset=9).hits


def test_of_no_hits_none_is_doubtful() -> None:
    assert worth_showing(answer()) == ((), False)


def test_what_is_sure_enough_or_said_is_kept() -> None:
    found = answer((0.9, ""), (0.4, "name"), (0.1, "speech"), (None, "ocr"), (None, ""))
    assert [hit.rank for hit in sure_enough(found, 0.5).hits] == [1, 3, 4]
    assert sure_enough(found, None) == found
    none = sure_enough(answer((0.4, "")), 0.5)
    assert (none.hits, none.note) == ((), "no hit is as sure as 0.5")
    with pytest.raises(UsageError, match="does not say how sure"):
        sure_enough(answer((None, ""), (None, "name")), 0.5)
    assert sure_enough(answer((None, "speech")), 0.5).hits
