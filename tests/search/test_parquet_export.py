"""The table of an index holds what a filter sees of its living rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from handmade import names, random_codes, write_codes
from indexes import add, build

from hcq_cli.columns.own_columns import Join, read_own_columns
from hcq_cli.errors import NotFoundError
from hcq_cli.search import parquet_export
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import remove
from hcq_cli.search.segment_columns import ColumnsSource

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two segments, moments, a removed video, a replaced one, odd names, and a column called as a field of ours."""
    ids = ["a/v0.mp4", "a/v0.mp4#t=0,10", "a/v0.mp4#t=5,15", "bad\udcff.mp4", "v9.mp4", "v3.mp4"]
    lines = ["a/v0.mp4,3,yes,2025-05-03T14:30,alpha,1", "v3.mp4,-0.5,no,1969-12-31,ünï,2"]
    (tmp_path / "own.csv").write_text("video,stars,liked,seen,words,Start_S\n" + "\n".join(lines))
    own = read_own_columns(tmp_path / "own.csv")
    columns = ColumnsSource(None, own, Join(own, lambda: iter([["a/v0.mp4", "v3.mp4"]])))
    build(tmp_path / "index", [write_codes(tmp_path / "a.hcq", ids, random_codes(6))], columns=columns)
    add(tmp_path / "index", [write_codes(tmp_path / "b.hcq", ["v3.mp4"], random_codes(1))], columns=columns)
    remove(tmp_path / "index", ["v9.mp4"])
    return tmp_path / "index"


def test_ids_seconds_and_columns_of_living_rows(folder: Path, tmp_path: Path) -> None:
    index, told = Index.open(folder), []
    done = parquet_export.export_parquet(index, tmp_path / "t.parquet", told.append)
    table = pq.read_table(done.path).to_pydict()
    assert tuple(table) == done.columns
    assert (done.videos, done.rows, sum(told)) == (3, 5, 5)
    assert table["id"] == ["a/v0.mp4"] * 3 + ["bad\\xff.mp4", "v3.mp4"]
    assert (table["start_s"], table["end_s"]) == ([None, 0, 5, None, None], [None, 10, 15, None, None])
    assert table["folder"] == ["a", "a", "a", "", ""]
    assert table["stars"] == [3, 3, 3, None, -0.5]
    assert table["liked"] == [True, True, True, None, False]
    assert table["words"] == ["alpha"] * 3 + [None, "ünï"]
    seen = datetime(2025, 5, 3, 14, 30, tzinfo=UTC)
    assert table["seen"] == [seen] * 3 + [None, datetime(1969, 12, 31, tzinfo=UTC)]
    assert table["Start_S (own)"] == [1, 1, 1, None, 2]
    assert set(table["duration"]) == {None}


def test_filters_of_pandas_find_what_hcq_finds(folder: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    index = Index.open(folder)
    frame = pandas.read_parquet(parquet_export.export_parquet(index, tmp_path / "t.parquet").path)
    dead = [~segment.alive for segment in index.segments]
    for where, query in (("stars > 0 and liked", "stars > 0 and liked == True"), ("folder = 'a'", "folder == 'a'")):
        passing = [keep & ~gone for keep, gone in zip(index.columns.passing(where), dead, strict=True)]
        assert len(frame.query(query)) == sum(int(keep.sum()) for keep in passing)


def test_the_rows_come_in_portions(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pq.read_table(parquet_export.export_parquet(Index.open(folder), tmp_path / "a.parquet").path)
    monkeypatch.setattr(parquet_export, "ROWS_AT_ONCE", 2)
    parts = pq.ParquetFile(parquet_export.export_parquet(Index.open(folder), tmp_path / "b.parquet").path)
    assert parts.num_row_groups > 2
    assert parts.read().to_pydict() == whole.to_pydict()


def test_without_pyarrow_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotFoundError) as caught:
        parquet_export.export_parquet(Index.open(folder), tmp_path / "t.parquet")
    assert "hcq[parquet]" in caught.value.hint
    assert not (tmp_path / "t.parquet").exists()


def test_the_command_writes_it(hcq: Callable[..., Any], tmp_path: Path) -> None:
    write_codes(tmp_path / ".hcq" / "codes.hcq", names(3), random_codes(3))
    hcq("index", "build")
    document = hcq("index", "export", "--to", "parquet", "-o", "t.parquet", "--json").json
    assert (document["videos"], document["rows"], document["columns"][:2]) == (3, 3, ["id", "path"])
    assert pq.read_table(tmp_path / "t.parquet")["id"].to_pylist() == names(3)
