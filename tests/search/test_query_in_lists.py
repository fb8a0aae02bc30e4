"""The search for the best rows of an index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from handmade import (
    FOUR_LEVELS,
    clustered_codes,
    names,
    plain_scan,
    quantizer,
    random_levels,
    write_codes,
)
from indexes import build

from hcq_cli.scan.table import tables
from hcq_cli.search.index import Index
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import find, search_levels


def test_more_hits_than_a_list_holds(tmp_path: Path) -> None:
    codes = clustered_codes(2000, FOUR_LEVELS)
    build(tmp_path / "index", [write_codes(tmp_path / "c", names(2000), codes, FOUR_LEVELS, 500)], lists=20)
    index, levels = Index.open(tmp_path / "index"), random_levels(3, FOUR_LEVELS)
    for params in (SearchParams(), SearchParams(nprobe=1)):
        for k in (1500, 2000, 5000):
            answers = search_levels(index, ["", "", ""], levels, k, params=params)
            assert all(len(answer.hits) == min(k, 2000) for answer in answers)


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
