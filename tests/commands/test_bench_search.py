from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import names, random_codes, write_codes

from hcq_cli.bench.faiss_engines import available

Run = Callable[..., Any]
PEERS = {"faiss-indexpq", "faiss-fastscan", "dense"} if available() else set()


def test_ours_the_floor_and_whatever_is_installed_beside(hcq: Run, tmp_path: Path) -> None:
    write_codes(tmp_path / ".hcq" / "codes.hcq", names(300), random_codes(300))
    done = hcq("bench", "search", "--videos", "20000", "--threads", "1", "--json", timeout=600)
    document = done.json
    assert (document["videos"], document["bytes_per_video"], document["threads"]) == (20000, 8, 1)
    assert document["queries_from"] == "noisy videos"
    assert document["bandwidth_floor_ms"] > 0
    assert {row["engine"] for row in document["rows"]} == {"hcq", *PEERS}
    for row in document["rows"]:
        assert row["ms_per_query"] > 0
        assert row["queries"] in (1, 16)
        if row["engine"] in ("hcq", "faiss-indexpq"):
            assert row["identical_top_k"] > 0.9
    shown = hcq("bench", "search", "--videos", "5000", env={"HCQ_KERNEL": "numpy"}, timeout=600)
    assert "hcq (numpy), 16 queries" in shown.out
    assert "reading the codes once" in shown.out


def test_without_faiss_it_says_how_to_get_it(hcq: Run, tmp_path: Path) -> None:
    write_codes(tmp_path / ".hcq" / "codes.hcq", names(300), random_codes(300))
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "faiss.py").write_text("raise ImportError('hidden')")
    done = hcq("bench", "search", "--videos", "1000", "--json", env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert {row["engine"] for row in done.json["rows"]} == {"hcq"}
    assert "pip install 'hcq[faiss]'" in done.err


def test_the_picture(hcq: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_codes(tmp_path / ".hcq" / "codes.hcq", names(300), random_codes(300))
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "faiss.py").write_text("raise ImportError('hidden')")
    hcq("bench", "search", "--videos", "1000", "--plot", "x.svg", env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert "milliseconds a query" in (tmp_path / "x.svg").read_text() or (tmp_path / "x.svg").stat().st_size > 5000
    assert ".svg" in hcq("bench", "search", "--plot", "x.doc", code=2).err


def test_nothing_to_start_from(hcq: Run) -> None:
    assert "hcq extract" in hcq("bench", "search", code=10).err
