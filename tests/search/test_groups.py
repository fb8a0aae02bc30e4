"""An index in groups of segments gives the answers of the whole, ties included; what is missing is said."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from handmade import names, quantizer, random_codes, random_levels, write_codes
from hypothesis import given
from hypothesis import strategies as st
from indexes import add, build

from hcq_cli.codes.ids import segment_id
from hcq_cli.scan.table import tables
from hcq_cli.scan.topk import TopK, best, merge
from hcq_cli.search.filtered import FilteredIndex
from hcq_cli.search.groups import GroupedIndex, GroupQuestion, divide, search_group
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import remove
from hcq_cli.search.ivf import QUERIES_AT_ONCE
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import find, search_levels


@given(videos=st.lists(st.integers(0, 50), max_size=80), groups=st.integers(1, 70))
def test_groups_are_neighbours_and_together_all_segments(videos: list[int], groups: int) -> None:
    parts = divide(videos, groups)
    assert [at for part in parts for at in part] == list(range(len(videos)))
    assert len(parts) <= groups and all(len(part) for part in parts)


@given(
    scores=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    k=st.integers(1, 70),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_the_best_of_the_best_are_the_best_ties_by_row(scores: list[int], k: int, cuts: list[int]) -> None:
    whole, rows = np.array(scores, float), np.arange(len(scores))
    edges = [0, *sorted(min(cut, len(scores)) for cut in cuts), len(scores)]
    parts = [TopK(*best(whole[a:b], rows[a:b], k)) for a, b in pairwise(edges)]
    expected = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:k]
    merged = merge(parts[::-1], k)  # in whatever order they come
    assert merged.rows.tolist() == expected and merged.scores.tolist() == [scores[row] for row in expected]


class Here:
    """Holds all groups in this process; those that are out do not answer."""

    def __init__(self, index: Index, groups: list[range], out: tuple[int, ...] = ()) -> None:
        self.index, self.groups, self.out = index, groups, out

    def ask(self, question: GroupQuestion) -> list[list[TopK] | None]:
        return [
            None if at in self.out else search_group(self.index, group, question)
            for at, group in enumerate(self.groups)
        ]


@pytest.fixture(params=[0, 7], ids=["flat", "listed"])
def index(tmp_path: Path, request: pytest.FixtureRequest) -> Index:
    """Six segments of 40 to 240 videos, most of which are there several times."""
    codes = random_codes(150)[np.random.default_rng(3).integers(0, 150, 840)]
    begin = 0
    for number in range(1, 7):
        end = begin + 40 * number
        file = write_codes(tmp_path / f"{number}.hcq", names(end - begin, f"v{number}-"), codes[begin:end])
        if number == 1:
            build(tmp_path / "index", [file], lists=request.param)
        else:
            add(tmp_path / "index", [file])
        begin = end
    remove(tmp_path / "index", ["v3-5.mp4", "v6-0.mp4"])
    return Index.open(tmp_path / "index")


@pytest.mark.parametrize("groups", [1, 2, 4, 64])
def test_groups_answer_as_the_whole(index: Index, groups: int) -> None:
    levels = random_levels(100)
    parts = divide([segment.videos for segment in index.segments], groups)
    grouped = GroupedIndex(index, parts, Here(index, parts))
    table = tables(levels, *quantizer())
    for params in (SearchParams(), SearchParams(nprobe=2), SearchParams(exact=True)):
        for k in (1, 10, 2000):
            whole, found = (find(each, levels, table, k, params=params) for each in (index, grouped))
            assert np.array_equal(whole.rows, found.rows) and np.array_equal(whole.scores, found.scores)
    queries = [str(number) for number in range(100)]
    one, other = (search_levels(each, queries, levels, 10) for each in (index, grouped))
    assert [answer.hits for answer in one] == [answer.hits for answer in other] and not grouped.missing


def test_what_a_missing_group_holds_is_left_out_and_named(index: Index) -> None:
    levels, parts = random_levels(20), divide([segment.videos for segment in index.segments], 3)
    grouped = GroupedIndex(index, parts, Here(index, parts, out=(1,)))
    table = tables(levels, *quantizer())
    found = find(grouped, levels, table, 900, params=SearchParams(exact=True))
    firsts = np.cumsum([0, *(segment.videos for segment in index.segments)])
    gone = range(firsts[parts[1].start], firsts[parts[1].stop])
    whole = find(index, levels, table, 900, params=SearchParams(exact=True))
    for mine, every in zip(found.rows, whole.rows, strict=True):
        assert mine.tolist() == [row for row in every.tolist() if row not in gone]
    assert grouped.missing == [parts[1]] and found.rows.shape[1] == index.rows - grouped.missing_rows


def test_of_videos_in_segments_as_many_are_found_as_there_are_without_the_missing_group(tmp_path: Path) -> None:
    for number, write in enumerate((lambda *files: build(*files, lists=7), add)):
        ids = [segment_id(video, at, at + 10.0) for video in names(40, f"v{number}-") for at in range(5)]
        write(tmp_path / "index", [write_codes(tmp_path / f"{number}.hcq", ids, random_codes(200, seed=number))])
    index, levels = Index.open(tmp_path / "index"), random_levels(20)
    grouped = GroupedIndex(index, parts := [range(1), range(1, 2)], Here(index, parts, out=(1,)))
    found = find(grouped, levels, tables(levels, *quantizer()), 30, params=SearchParams(nprobe=1))
    assert found.rows.shape == (20, 30) and found.rows.max() < 200


def test_what_some_queries_of_a_search_lack_is_named_for_all(index: Index) -> None:
    levels, parts = random_levels(QUERIES_AT_ONCE + 1), divide([segment.videos for segment in index.segments], 3)

    class OnceOut(Here):
        def ask(self, question: GroupQuestion) -> list[list[TopK] | None]:
            answers = super().ask(question)
            self.out = ()
            return answers

    grouped = GroupedIndex(index, parts, OnceOut(index, parts, out=(1,)))
    for missing in ([parts[1]], []):
        find(grouped, levels, tables(levels, *quantizer()), 10, params=SearchParams(exact=True))
        assert grouped.missing == missing


def test_what_is_filtered_is_left_out_of_groups_too(index: Index) -> None:
    parts = divide([segment.videos for segment in index.segments], 3)
    grouped = GroupedIndex(index, parts, Here(index, parts))
    kept = [np.arange(segment.videos) % 2 == 0 for segment in index.segments]
    levels = random_levels(5)
    table = tables(levels, *quantizer())
    wanted, found = (find(FilteredIndex(each, kept), levels, table, 20) for each in (index, grouped))
    assert np.array_equal(found.rows, wanted.rows) and np.array_equal(found.scores, wanted.scores)
