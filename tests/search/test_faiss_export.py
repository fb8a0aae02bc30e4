"""What Faiss reads answers as the index does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import HEADER, names, random_codes, random_levels, write_codes
from indexes import add, build

from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.search.faiss_export import export_faiss
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import remove
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import search_levels

faiss = pytest.importorskip("faiss")


@pytest.mark.parametrize("codewords", [2, 16, 200, 256])
@pytest.mark.parametrize("lists", [0, 5])
def test_faiss_gives_the_same_answer(tmp_path: Path, codewords: int, lists: int) -> None:
    header = replace(HEADER, K=codewords)
    build(
        tmp_path / "index",
        [write_codes(tmp_path / "a", names(700), random_codes(700, header), header)],
        lists=lists,
    )
    odd = ["line\n'q'", "🎬", "bad\udcff", "v3.mp4"]
    add(tmp_path / "index", [write_codes(tmp_path / "b", odd, random_codes(4, header, seed=7), header)])
    remove(tmp_path / "index", ["v0.mp4", "v9.mp4"])
    index, levels = Index.open(tmp_path / "index"), random_levels(20, header)
    done = export_faiss(index, tmp_path / "out.faiss")
    read = faiss.read_index(str(done.path))
    assert (read.ntotal, read.d, read.metric_type) == (701, header.levels * header.D, faiss.METRIC_INNER_PRODUCT)
    ids = [json.loads(line)[0] for line in done.ids.read_text().splitlines()]
    assert ids[-4:] == odd
    scores, rows = read.search(levels.reshape(20, -1), 701)
    answers = search_levels(index, [""] * 20, levels, 701, params=SearchParams(exact=True))
    for query, answer in enumerate(answers):
        assert np.allclose([hit.score for hit in answer.hits], scores[query], atol=1e-5)
        by_faiss = {ids[row]: score for row, score in zip(rows[query].tolist(), scores[query].tolist(), strict=True)}
        assert all(abs(by_faiss[hit.id] - hit.score) < 1e-5 for hit in answer.hits)


def test_from_outside(hcq: Callable[..., Any], tmp_path: Path) -> None:
    write_codes(tmp_path / ".hcq" / "codes.hcq", names(300), random_codes(300))
    hcq("index", "build")
    done = hcq("index", "export", "--to", "faiss", "-o", "x.faiss", "--json").json
    assert (done["videos"], done["dimensions"]) == (300, HEADER.levels * HEADER.D)
    assert faiss.read_index(str(tmp_path / "x.faiss")).ntotal == 300
    about = json.loads((tmp_path / "x.faiss.json").read_text())
    assert (about["ids"], about["model"]) == ("x.faiss.ids.jsonl", "a" * 64)
    assert "faiss.read_index" in hcq("index", "export", "--to", "faiss", "-o", "x.faiss").out
    assert "'annoy'" in hcq("index", "export", "--to", "annoy", "-o", "x", code=2).err


def test_without_faiss_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "index", [write_codes(tmp_path / "a", names(3), random_codes(3))])
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(NotFoundError) as caught:
        export_faiss(Index.open(tmp_path / "index"), tmp_path / "out.faiss")
    assert caught.value.hint == 'pip install "hcq[faiss]"'
    assert not list(tmp_path.glob("out.faiss*"))


def test_a_file_that_cannot_be_written_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "index", [write_codes(tmp_path / "a", names(3), random_codes(3))])

    def full(index: object, path: str) -> None:
        raise RuntimeError("write error: No space left on device")

    monkeypatch.setattr(faiss, "write_index", full)
    with pytest.raises(HcqError, match="No space left"):
        export_faiss(Index.open(tmp_path / "index"), tmp_path / "out.faiss")
    assert not list(tmp_path.glob("out.faiss*")) and not list(tmp_path.glob(".*.tmp"))


def test_an_index_without_videos(tmp_path: Path) -> None:
    build(tmp_path / "index", [write_codes(tmp_path / "a", names(3), random_codes(3))])
    remove(tmp_path / "index", names(3))
    done = export_faiss(Index.open(tmp_path / "index"), tmp_path / "out.faiss")
    assert faiss.read_index(str(done.path)).ntotal == 0 and done.ids.read_text() == ""
