"""The moment of a video that fits, against scores written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, random_codes, random_levels, write_codes
from indexes import add, build

from hcq_cli.codes.ids import video_of
from hcq_cli.columns.own_columns import Join, read_own_columns
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.scan.table import tables
from hcq_cli.search.code_file import CodeFileIndex
from hcq_cli.search.examples import locate_moment, search_like
from hcq_cli.search.filtered import FilteredIndex
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import remove
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import QueryResult, search_levels
from hcq_cli.search.segment_columns import ColumnsSource

SCORES = {
    "film.mp4": 5,
    "film.mp4#t=0,10": 2,
    "film.mp4#t=5,15": 9,
    "film.mp4#t=10,20": 10,
    "film.mp4#t=15,25": 8,
    "film.mp4#t=20,30": 3,
    "film.mp4#t=25,35": 7,
    "short.mp4": 6,
    "even.mp4": 12,
    "even.mp4#t=0,8.5": 4,
    "even.mp4#t=8.5,20": 4,
    "cut.mp4#t=0,30": 1,
    "cut.mp4#t=30,60": 4,
}
"""Scores that are looked up: the code of a row is its score, and a table gives codes back."""
TABLE = np.tile(np.arange(HEADER.K, dtype=np.float32) / HEADER.S, (HEADER.S, 1))


@pytest.fixture(params=["file", "flat", "listed"])
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Index:
    codes = np.repeat(np.array(list(SCORES.values()), np.uint8)[:, None], HEADER.S, axis=1)
    path = write_codes(tmp_path / "codes.hcq", list(SCORES), codes)
    if request.param == "file":
        return CodeFileIndex(path)
    build(tmp_path / "index", [path], lists=3 if request.param == "listed" else 0)
    return Index.open(tmp_path / "index")


@pytest.fixture
def ask(collection: Index, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hcq_cli.search.query.tables", lambda *_: TABLE[None])

    def found(k: int, by: str) -> list[tuple]:
        params = SearchParams(exact=True, by=by)
        answer: QueryResult = search_levels(collection, ["q"], random_levels(1), k, params=params)[0]
        assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))
        moments = [(one.time_s, one.start_s, one.end_s) if (one := hit.moment) else None for hit in answer.hits]
        return [(hit.id, round(hit.score, 4), moment) for hit, moment in zip(answer.hits, moments, strict=True)]

    return found


def test_a_video_comes_once_by_its_best_row_and_says_where(ask, collection: Index) -> None:
    assert (collection.videos, collection.rows) == (4, 13)
    expected = [
        ("even.mp4", 12, (0, 0, 20)),  # as a whole; its shots touch, and fit alike
        ("film.mp4", 10, (10, 5, 25)),  # the best window overlaps the better neighbour from second 10 on
        ("short.mp4", 6, None),
        ("cut.mp4", 4, (30, 30, 60)),
    ]
    assert ask(9, "video") == expected
    assert [ask(k, "video") for k in (1, 2, 3)] == [expected[:k] for k in (1, 2, 3)]


def test_moments_are_parts_of_videos_that_do_not_overlap(ask) -> None:
    expected = [
        ("film.mp4", 10, (10, 5, 25)),
        ("film.mp4", 7, (25, 25, 35)),
        ("short.mp4", 6, None),
        ("even.mp4", 4, (0, 0, 20)),
        ("cut.mp4", 4, (30, 30, 60)),
        ("cut.mp4", 1, (0, 0, 30)),
    ]
    assert ask(9, "segment") == expected and ask(2, "segment") == expected[:2]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("film.mp4#t=0", "film.mp4#t=0,10"),
        ("film.mp4#t=9.5", "film.mp4#t=5,15"),
        ("/videos/film.mp4#t=35", "film.mp4#t=25,35"),
        ("cut.mp4#t=31", "cut.mp4#t=30,60"),
        ("short#t=3", "short.mp4"),
    ],
)
def test_a_second_alone_means_the_segment_that_holds_it(collection: Index, given: str, meant: str) -> None:
    name, rows = locate_moment(collection, given)
    assert (name, [collection.id(row) for row in rows]) == (meant, [meant])
    assert search_like(collection, given, 3).query == meant


def test_a_second_that_is_not_there(collection: Index) -> None:
    with pytest.raises(UsageError, match=r"film\.mp4 ends at 35 s"):
        locate_moment(collection, "film.mp4#t=90")
    with pytest.raises(NotFoundError):
        search_like(collection, "nothing.mp4#t=5", 3)


def test_a_second_behind_the_end_of_a_video_without_segments(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("video,duration\nshort.mp4,4.5\n")
    own, ids = read_own_columns(table), ["short.mp4", "unknown.mp4"]
    columns = ColumnsSource(None, own, Join(own, lambda: iter([ids])))
    build(tmp_path / "index", [write_codes(tmp_path / "codes.hcq", ids, random_codes(2))], columns=columns)
    index = Index.open(tmp_path / "index")
    assert locate_moment(index, "short.mp4#t=4.5")[0] == "short.mp4"
    assert locate_moment(index, "unknown.mp4#t=99")[0] == "unknown.mp4"
    with pytest.raises(UsageError, match=r"short\.mp4#t=99: short\.mp4 ends at 4\.5 s"):
        locate_moment(index, "short.mp4#t=99")


def test_like_a_whole_video_or_a_moment(tmp_path: Path) -> None:
    codes = random_codes(len(SCORES))
    ids = list(SCORES)
    codes[ids.index("short.mp4")] = codes[ids.index("film.mp4")]
    codes[ids.index("film.mp4#t=25,35")] = codes[ids.index("film.mp4#t=0,10")]
    collection = CodeFileIndex(write_codes(tmp_path / "codes.hcq", ids, codes))
    like = search_like(collection, "film.mp4", 9)
    assert like.hits[0].id == "short.mp4" and like.hits[0].score == pytest.approx(1, abs=1e-6)
    assert "film.mp4" not in [hit.id for hit in like.hits]
    again = search_like(collection, "film.mp4#t=0,10", 9, params=SearchParams(by="segment")).hits
    assert (again[0].id, again[0].moment.id) == ("film.mp4", "film.mp4#t=25,35")
    assert not any(hit.id == "film.mp4" and hit.moment.start_s < 10 for hit in again)
    others = search_like(collection, "film.mp4", 9, params=SearchParams(by="segment")).hits
    assert [hit.id for hit in others] and "film.mp4" not in [hit.id for hit in others]


def test_scores_are_those_of_the_scan(tmp_path: Path) -> None:
    codes, levels = random_codes(len(SCORES), seed=4), random_levels(3)
    collection = CodeFileIndex(write_codes(tmp_path / "codes.hcq", list(SCORES), codes))
    answers = search_levels(collection, ["a", "b", "c"], levels, 9)
    for answer, table in zip(answers, tables(levels, collection.codebooks, collection.scale), strict=True):
        scores = {id: float(table[np.arange(HEADER.S), row].sum()) for id, row in zip(SCORES, codes, strict=True)}
        for hit in answer.hits:
            own = [id for id in scores if video_of(id) == hit.id]
            assert hit.score == pytest.approx(max(scores[id] for id in own), abs=1e-5)
            cut = [id for id in own if id != hit.id]
            assert (hit.moment.id if hit.moment else None) == max(cut, key=scores.__getitem__, default=None)


@pytest.mark.parametrize("lists", [0, 5])
@pytest.mark.parametrize("share", [None, 0.5, 0.02], ids=["all", "half", "few"])
def test_an_index_of_long_videos_gives_the_plain_answer(tmp_path: Path, lists: int, share: float | None) -> None:
    """Of two index segments, with removed and replaced videos, filtered or not, by lists or all."""
    rng = np.random.default_rng(lists)
    held: dict[str, np.ndarray] = {}
    build(tmp_path / "index", [_films(tmp_path / "a.hcq", range(300), held, rng)], lists=lists)
    add(tmp_path / "index", [_films(tmp_path / "b.hcq", range(280, 400), held, rng)])
    gone = [f"v{number}.mp4" for number in range(0, 400, 9)]
    remove(tmp_path / "index", gone)
    index: Index = Index.open(tmp_path / "index")
    kept = {video for video in map(video_of, held) if video not in gone and (share is None or rng.random() < share)}
    if share is not None:
        passing = [np.array([video_of(name) in kept for name in segment.ids]) for segment in index.segments]
        index = FilteredIndex(index, passing)
    levels = random_levels(6)
    answers = search_levels(index, list("abcdef"), levels, 12, params=SearchParams(exact=True))
    for answer, table in zip(answers, tables(levels, index.codebooks, index.scale), strict=True):
        scores = {name: _canonical(table, code) for name, code in held.items() if video_of(name) in kept}
        best = {video: max(score for name, score in scores.items() if video_of(name) == video) for video in kept}
        assert [hit.score for hit in answer.hits] == sorted(best.values(), reverse=True)[:12]
        assert all(best[hit.id] == hit.score for hit in answer.hits) and len({hit.id for hit in answer.hits}) == 12
        for hit in answer.hits:
            cut = [name for name in scores if video_of(name) == hit.id != name]
            assert (hit.moment.id if hit.moment else None) == max(cut, key=scores.__getitem__, default=None)


def _films(path: Path, numbers: range, held: dict[str, np.ndarray], rng: np.random.Generator) -> Path:
    """Codes of films with none to twelve segments, which take the place of those held by the same names."""
    ids = [
        name
        for number in numbers
        for name in [f"v{number}.mp4", *(f"v{number}.mp4#t={5 * n},{5 * n + 10}" for n in range(number * 7 % 13))]
        if number % 5 or "#" in name or number * 7 % 13 == 0  # every fifth film lies there in segments alone
    ]
    codes = random_codes(len(ids), seed=int(rng.integers(99)))
    for name in [name for name in held if int(video_of(name)[1:-4]) in numbers]:
        del held[name]
    held.update(zip(ids, codes, strict=True))
    return write_codes(path, ids, codes)


def _canonical(table: np.ndarray, code: np.ndarray) -> float:
    score = 0.0
    for entries, codeword in zip(table.astype(np.float64), code, strict=True):
        score += float(entries[codeword])
    return score
