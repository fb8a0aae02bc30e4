"""What can be searched, and the search for the best rows in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade import (
    FOUR_LEVELS,
    clustered_codes,
    names,
    plain_scan,
    quantizer,
    random_codes,
    random_levels,
    write_codes,
)

from hcq_cli.scan.table import tables
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import build
from hcq_cli.search.query import search_levels
from hcq_cli.search.searchable import SearchableCodeFile, SearchParams, find


def test_more_hits_than_a_list_holds(tmp_path: Path) -> None:
    codes = clustered_codes(2000, FOUR_LEVELS)
    build(tmp_path / "index", [write_codes(tmp_path / "c", names(2000), codes, FOUR_LEVELS, 500)], lists=20)
    index, levels = Index.open(tmp_path / "index"), random_levels(3, FOUR_LEVELS)
    for params in (SearchParams(), SearchParams(nprobe=1)):
        for k in (1500, 2000, 5000):
            answers = search_levels(index, ["", "", ""], levels, k, params=params)
            assert all(len(answer.hits) == min(k, 2000) for answer in answers)


@pytest.mark.parametrize("lists", [0, 9])
def test_a_code_file_finds_what_its_index_finds(tmp_path: Path, lists: int) -> None:
    path = write_codes(tmp_path / "c", [*names(500), "a#t=0,5", "a#t=5,9"], random_codes(502))
    build(tmp_path / "index", [path], lists=lists)
    file, index = SearchableCodeFile(path), Index.open(tmp_path / "index")
    levels = random_levels(70)
    table = tables(levels, *quantizer())
    by_file = find(file, levels, table, 600)
    by_index = find(index, levels, table, 600, params=SearchParams(exact=True, threads=2))
    assert np.array_equal(by_file.rows, by_index.rows) and np.array_equal(by_file.scores, by_index.scores)
    for item_id in ("v7.mp4", "a", "a#t=5,9", "nothing"):
        assert file.rows_of(item_id) == index.rows_of(item_id)
    for row in (0, 499, 501):
        assert file.name(row) == index.name(row) and np.array_equal(file.codes([row, 3]), index.codes([row, 3]))
    assert [list(part) for part in file.ids()] == [list(part) for part in index.ids()]
    assert (file.rows, file.videos) == (index.rows, index.videos) == (502, 501)


def test_probed_lists_are_searched_together_as_each_alone(tmp_path: Path) -> None:
    codes = clustered_codes(3000, FOUR_LEVELS)
    build(tmp_path / "index", [write_codes(tmp_path / "c", names(3000), codes, FOUR_LEVELS, 500)], lists=30)
    index, levels = Index.open(tmp_path / "index"), random_levels(70, FOUR_LEVELS)
    table, params = tables(levels, *quantizer(FOUR_LEVELS)), SearchParams(nprobe=4, threads=3)
    together = find(index, levels, table, 10, params=params)
    assert index.ivf is not None
    of_list = index.ivf.assign(codes, index.codebooks)
    for query, chosen in enumerate(index.ivf.choose(levels, np.bincount(of_list, minlength=30), 10, 4)):
        rows = np.flatnonzero(np.isin(of_list, chosen))
        scores, best = plain_scan(codes[rows], table[query], 10)
        assert together.rows[query].tolist() == rows[best].tolist()
        assert together.scores[query].tolist() == scores.tolist()
