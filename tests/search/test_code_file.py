"""A code file searched as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade import names, quantizer, random_codes, random_levels, write_codes
from indexes import build

from hcq_cli.scan.table import tables
from hcq_cli.search.code_file import CodeFileIndex
from hcq_cli.search.index import Index
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import find, search_levels


@pytest.mark.parametrize("lists", [0, 9])
def test_a_code_file_finds_what_its_index_finds(tmp_path: Path, lists: int) -> None:
    path = write_codes(tmp_path / "c", [*names(500), "a#t=0,5", "a#t=5,9"], random_codes(502))
    build(tmp_path / "index", [path], lists=lists)
    file, index = CodeFileIndex(path), Index.open(tmp_path / "index")
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


@pytest.mark.parametrize("by", ["video", "segment"])
def test_of_a_video_that_comes_twice_the_later_row_counts_as_in_an_index(tmp_path: Path, by: str) -> None:
    path = write_codes(tmp_path / "c", [*names(40), "v3.mp4", "a#t=0,5", "a#t=0,5"], random_codes(43))
    build(tmp_path / "index", [path])
    file, index = CodeFileIndex(path), Index.open(tmp_path / "index")
    assert (file.rows, file.videos) == (index.rows, index.videos) == (41, 41)
    assert file.rows_of("v3.mp4") == index.rows_of("v3.mp4") == [40]
    by_file, by_index = (
        search_levels(each, ["", ""], random_levels(2), 99, params=SearchParams(by=by)) for each in (file, index)
    )
    assert [answer.hits for answer in by_file] == [answer.hits for answer in by_index]
