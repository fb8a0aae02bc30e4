"""A filtered search: the exhaustive answer without what does not pass, by every way it can be found."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, clustered_codes, names, random_codes, random_levels, write_codes
from indexes import add, build

from hcq_cli.columns.own_columns import Join, read_own_columns
from hcq_cli.errors import UsageError
from hcq_cli.scan.table import tables
from hcq_cli.search.filtered import FilteredIndex
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import compact, remove
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import find, search_levels
from hcq_cli.search.segment_columns import ColumnsSource

VIDEOS = 1500
GONE = [*range(0, 100, 7), 700]


def own_table(path: Path, videos: int) -> Path:
    """A number in every line: n has the value n, and group n % 10."""
    lines = [f"v{n}.mp4,{n},g{n % 10},2025-{1 + n % 12:02d}-03" for n in range(videos)]
    path.write_text("video,number,Group,day\n" + "\n".join(lines))
    return path


def source(table: Path, ids: list[str]) -> ColumnsSource:
    own = read_own_columns(table)
    return ColumnsSource(None, own, Join(own, lambda: iter([ids])))


@pytest.fixture(scope="module", params=[0, 12], ids=["plain", "lists"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Two segments, one video of the first again in the second, and some removed."""
    folder = tmp_path_factory.mktemp("filtered")
    ids = names(VIDEOS)
    columns = source(own_table(folder / "own.csv", VIDEOS), ids)
    codes = clustered_codes(VIDEOS, HEADER)
    first = write_codes(folder / "a.hcq", ids[:1000], codes[:1000])
    second = write_codes(folder / "b.hcq", [*ids[1000:], ids[5]], np.concatenate([codes[1000:], codes[5:6]]))
    build(folder / "index", [first], lists=request.param, columns=columns)
    add(folder / "index", [second], columns=columns)
    remove(folder / "index", [ids[n] for n in GONE])
    return Index.open(folder / "index")


def all_scores(index: Index, levels: np.ndarray) -> list[tuple[str, float]]:
    """The exhaustive answer to one query, unfiltered."""
    hits = search_levels(index, ["q"], levels, index.videos, params=SearchParams(exact=True))[0].hits
    return [(hit.id, hit.score) for hit in hits]


def random_filter(rng: random.Random) -> tuple[str, set[int]]:
    """A filter over the table, and the numbers that pass it."""
    low = rng.randrange(VIDEOS)
    width = rng.choice([1, 20, 150, VIDEOS])
    groups = rng.sample(range(10), rng.randint(1, 9))
    month = rng.randint(1, 12)
    every, quoted = range(VIDEOS), ", ".join(f"'g{g}'" for g in groups)
    parts = [
        (f"number between {low} and {low + width}", {n for n in every if low <= n <= low + width}),
        (f"group in ({quoted})", {n for n in every if n % 10 in groups}),
        (f"day >= '2025-{month:02d}'", {n for n in every if 1 + n % 12 >= month}),
        (f"id like '%{low % 100}.mp4'", {n for n in every if f"v{n}.mp4".endswith(f"{low % 100}.mp4")}),
        ("duration is null", set(every)),
    ]
    text, passing = rng.choice(parts)
    for other, more in rng.sample(parts, rng.randint(0, 2)):
        how = rng.choice(["and", "or", "and not"])
        text = f"({text}) {how} ({other})"
        passing = {"and": passing & more, "or": passing | more, "and not": passing - more}[how]
    return text, passing


@pytest.mark.parametrize("filters", [150, pytest.param(1000, marks=pytest.mark.long)])
def test_filters_give_the_exhaustive_answer_without_the_others(index: Index, filters: int) -> None:
    levels = random_levels(20)
    answers = [all_scores(index, levels[at : at + 1]) for at in range(len(levels))]
    gathered = 0
    for seed in range(filters):
        text, passing = random_filter(random.Random(seed))
        filtered, query = FilteredIndex(index, index.columns.passing(text)), seed % len(levels)
        gathered += filtered._gathered is not None
        expected = [hit for hit in answers[query] if int(hit[0][1:-4]) in passing]
        params = SearchParams(exact=True)
        hits = search_levels(filtered, ["q"], levels[query : query + 1], 10, params=params)[0].hits
        assert [(hit.id, hit.score) for hit in hits] == expected[:10], text
        assert filtered.videos == len(expected)
    assert 0 < gathered < seed


def test_the_lists_that_are_looked_into_hold_enough_of_what_passes(index: Index) -> None:
    if index.ivf is None:
        pytest.skip("has no lists")
    levels, kept, wanted = random_levels(50), 0, 0
    table = tables(levels, index.codebooks, index.scale)
    for seed in range(40):
        where = random_filter(random.Random(seed))[0]
        filtered = FilteredIndex(index, index.columns.passing(where))
        exact = find(filtered, levels, table, 10, params=SearchParams(exact=True))
        quick = find(filtered, levels, table, 10)
        assert quick.rows.shape == exact.rows.shape
        kept += sum(len(np.intersect1d(a, b)) for a, b in zip(quick.rows, exact.rows, strict=True))
        wanted += exact.rows.size
    assert kept >= 0.97 * wanted


def test_compacting_keeps_the_columns(index: Index, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(index.path, tmp_path / "index"))
    text = "number between 3 and 1200 and \"group\" != 'g3'"
    before = FilteredIndex(index, index.columns.passing(text)).videos
    compact(folder)
    compacted = Index.open(folder)
    assert len(compacted.segments) == 1
    assert FilteredIndex(compacted, compacted.columns.passing(text)).videos == before
    compacted.verify()


def test_a_segment_of_a_video_has_the_columns_of_the_video(tmp_path: Path) -> None:
    ids = ["v0.mp4#t=0,10", "v0.mp4#t=10,20", "v1.mp4"]
    columns = source(own_table(tmp_path / "own.csv", 2), ["v0.mp4", "v1.mp4"])
    build(tmp_path / "index", [write_codes(tmp_path / "a.hcq", ids, random_codes(3))], columns=columns)
    index = Index.open(tmp_path / "index")
    filtered = FilteredIndex(index, index.columns.passing("number = 0"))
    assert (filtered.videos, filtered.rows) == (1, 2)
    assert index.values(1, ["number", "Group"]) == {"number": 0.0, "Group": "g0"}


def test_an_index_without_columns_says_so(tmp_path: Path) -> None:
    build(tmp_path / "index", [write_codes(tmp_path / "a.hcq", names(3), random_codes(3))])
    with pytest.raises(UsageError, match="knows no columns"):
        Index.open(tmp_path / "index").columns.passing("duration < 3")


def test_a_column_keeps_its_kind(tmp_path: Path) -> None:
    path = write_codes(tmp_path / "a.hcq", names(3), random_codes(3))
    build(tmp_path / "index", [path], columns=source(own_table(tmp_path / "own.csv", 3), names(3)))
    (tmp_path / "other.csv").write_text("video,number\nv1.mp4,many\n")
    with pytest.raises(UsageError, match="number is a number"):
        add(tmp_path / "index", [path], columns=source(tmp_path / "other.csv", names(3)))
