"""Two lines of Python find, and a notebook shows what was found."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from answers import answer, hit
from sample_videos import clip

import hcq_cli as hcq
from hcq_cli.api.opening import FoundVideos
from hcq_cli.errors import NotFoundError

KEPT = Path(__file__).parent.parent / "golden" / "workspace"


def test_a_workspace_or_an_index_is_opened_and_searched() -> None:
    for place in (KEPT, KEPT / "index"):
        opened = hcq.open(place, threads=1)
        found = opened.search("a red ball", k=3)
        assert len(opened) == 13 and len(found) == 3 and found[0]["rank"] == 1
        assert [one["id"] for one in found] == [one["id"] for one in opened.search("a red ball", k=3)]
        assert found[0]["id"] not in [other["id"] for other in opened.like(found[0]["id"], k=3)]
    assert "13 videos" in repr(opened) and "'a red ball': 3 hits" in repr(found)


def test_without_an_index_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no index there"):
        hcq.open(tmp_path)


def test_hits_go_to_pandas_arrow_and_parquet(tmp_path: Path) -> None:
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    words = {"text": "bad\udcff", "source": "name", "start_s": None, "end_s": None, "language": ""}
    first = {**hit(1), "id": "bad\udcff.mp4", "columns": {"duration": 3.0}, "words": words}
    found = FoundVideos(answer([first, hit(2, confidence=0.5, time_s=7.5, found_by={"model": 1, "words": 3})]))
    table = found.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table["rank"]) == [1, 2] and table["duration"][0] == 3.0 and table["id"][0] == "bad?.mp4"
    assert table["words"][0] == "bad?" and table["words_source"][0] == "name"
    assert table["time_s"][1] == 7.5 and table["confidence"][1] == 0.5 and table["found_by"][1] == "model, words"
    assert isinstance(found.to_arrow(), arrow.Table) and found.to_arrow().column_names == list(table.columns)
    found.to_parquet(tmp_path / "hits.parquet")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "hits.parquet"), table)


def test_a_notebook_shows_pictures_in_a_frame_where_nothing_runs(tmp_path: Path) -> None:
    film = clip(tmp_path / "a.mp4")
    shown = FoundVideos(answer([{**hit(1), "path": str(film), "id": "<script>alert(1)</script>"}]))._repr_html_()
    assert re.search(r"<iframe sandbox srcdoc=", shown) and shown.count("<") == 2
    inside = unescape(re.search(r'srcdoc="([^"]*)"', shown)[1])  # type: ignore[index]
    assert "data:image/jpeg;base64," in inside and "<script" not in inside
