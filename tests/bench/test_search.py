"""Times of a search, measured in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade import names, random_codes, random_levels, write_codes

from hcq_cli.bench import search
from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import HcqError


def test_what_is_measured_is_the_collection_made_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_codes(write_codes(tmp_path / "c", names(300), random_codes(300)))
    notes: list[str] = []
    with search.extended(file, 1000, tmp_path, notes.append) as blocks:
        assert blocks.videos == 1000 and np.array_equal(blocks.between(0, 300), random_codes(300))
    monkeypatch.setattr(search.faiss_engines, "available", lambda: False)
    found = search.measure(file, random_levels(16), "noise", videos=1000, threads=1, note=notes.append)
    assert (found.videos, found.real_videos, found.with_faiss) == (1000, 300, False)
    assert [(row.engine, row.queries) for row in found.rows] == [("hcq", 1), ("hcq", 16)]
    assert all(row.ms_per_query > 0 and row.identical_top_k == 1 for row in found.rows)
    assert "1,000 videos from 300" in notes[0]


def test_too_few_queries_are_refused(tmp_path: Path) -> None:
    file = open_codes(write_codes(tmp_path / "c", names(3), random_codes(3)))
    with pytest.raises(HcqError, match="too few"):
        search.measure(file, random_levels(2), "noise", videos=10, threads=1)
