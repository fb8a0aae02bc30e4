"""Segments written in portions, by list and merged."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import (
    FOUR_LEVELS,
    clustered_codes,
    names,
    random_levels,
    write_codes,
)
from indexes import add, build

from hcq_cli.codes.codefile import open_codes
from hcq_cli.columns.columns_file import ColumnsWriter
from hcq_cli.errors import HcqError
from hcq_cli.search import segment_writer
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import compact, remove
from hcq_cli.search.query import search_levels
from hcq_cli.search.segment_writer import SegmentWriter


def test_adding_and_compacting_lists_gives_what_building_at_once_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_writer, "BUCKET_BYTES", 4096)  # many temporary files
    monkeypatch.setattr(segment_writer, "SLOTS_AT_ONCE", 300)
    codes, ids = clustered_codes(3000, FOUR_LEVELS), names(3000)
    files = [
        write_codes(tmp_path / f"c{n}", ids[at : at + 1000], codes[at : at + 1000], FOUR_LEVELS, 500)
        for n, at in enumerate((0, 1000, 2000))
    ]
    build(tmp_path / "index", files[:1], lists=16)
    for file in files[1:]:
        add(tmp_path / "index", [file])
    levels = random_levels(8, FOUR_LEVELS)
    before = search_levels(Index.open(tmp_path / "index"), [""] * 8, levels, 10)
    compact(tmp_path / "index")
    index = Index.open(tmp_path / "index")
    index.verify()
    assert [answer.hits for answer in search_levels(index, [""] * 8, levels, 10)] == [a.hits for a in before]
    assert len(index.segments) == 1
    assert all(np.array_equal(index.codes([row])[0], codes[row]) for row in range(0, 3000, 37))
    segment = index.segments[0]
    assert segment.list_starts is not None and index.ivf is not None
    lists = index.ivf.assign(codes, open_codes(files[0]).codebooks)
    assert segment.lists_of(np.arange(3000)).tolist() == lists.tolist()
    order = segment.blocks.order
    assert order is not None
    for start, stop in zip(segment.list_starts[:-1], segment.list_starts[1:], strict=True):
        assert (np.diff(order[start:stop].astype(np.int64)) > 0).all()  # inside a list by row
    remove(tmp_path / "index", ids[::2])
    compact(tmp_path / "index")
    assert Index.open(tmp_path / "index").name(3) == ("v7.mp4", "/videos/v7.mp4")


@pytest.mark.parametrize(
    "begun", [lambda path: SegmentWriter(path, 4), lambda path: ColumnsWriter(path, {"a": "number"})]
)
def test_a_disk_that_is_full_from_the_beginning_leaves_nothing(begun, tmp_path: Path, monkeypatch) -> None:
    """The file is begun before its sections are, which need space too."""

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("hcq_cli.codes.container.tempfile.TemporaryFile", full)
    with pytest.raises(HcqError, match=r"x\.hcq: No space left.*MB or more are needed"), begun(tmp_path / "x.hcq"):
        pass
    assert not list(tmp_path.iterdir())
