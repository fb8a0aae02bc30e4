"""`hcq eval` on a kept workspace: recall of codes beside that of their vectors, with what it warns of."""

from __future__ import annotations

import re
from pathlib import Path

from in_process import run_here


def test_codes_and_vectors_side_by_side(kept: Path) -> None:
    document = run_here("eval", "-w", kept, "--captions", kept / "captions.jsonl", "--split", "all", "--json").json
    assert document["split"] == "all" and document["bytes_per_video"] == 12 and document["plot"] is None
    for side in (document, document["dense"]):
        assert 0 <= side["t2v"]["R1"] <= side["t2v"]["R5"] <= side["t2v"]["R10"] <= 100
    assert isinstance(document["warnings"], list)


def test_a_split_that_there_is_not(kept: Path) -> None:
    assert "--split" in run_here("eval", "-w", kept, "--split", "mine", code=2).err


def test_a_page_shows_each_caption_with_its_rank(kept: Path, tmp_path: Path) -> None:
    page = tmp_path / "eval.html"
    asked = ["-w", kept, "--captions", kept / "captions.jsonl", "--split", "all"]
    said = run_here("eval", *asked, "--html", page, "--json").json
    assert said["html"] == str(page) and said["plot"] is None
    written = page.read_text("utf-8")
    assert written.count("<tr>") == said["texts"] + 2 + 2  # two headings, codes and vectors
    assert re.search(rf"<td[^>]*><bdi>{said['t2v']['R1']:.1f}</bdi></td>", written) and "<polyline" in written
    assert "<script" not in written and "http:" not in written
