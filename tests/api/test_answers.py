"""The JSON of an answer is one form, wherever it is shown; a page is written whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hcq_cli.api.answers import hit_document, write_gallery
from hcq_cli.errors import HcqError
from hcq_cli.search.moments import Moment
from hcq_cli.search.query import Hit
from hcq_cli.words.sentences import Sentence


def test_a_hit_of_a_part_says_its_second() -> None:
    moment = Moment("beach.mp4#t=30,60", 35.0, 30.0, 60.0)
    hit = Hit(1, 0.5, "beach.mp4", "/v/beach.mp4", 0.75, moment=moment)
    assert hit_document(hit, "videos") == {
        "rank": 1,
        "score": 0.5,
        "id": "beach.mp4",
        "path": "/v/beach.mp4",
        "confidence": 0.75,
        **{"time_s": 35.0, "start_s": 30.0, "end_s": 60.0, "segment": "beach.mp4#t=30,60"},
    }
    said = replace(hit, words=Sentence("a wave", "speech", 31.5, 33.0), found_by={"model": 2, "words": 1})
    document = hit_document(said, "videos")
    assert (document["time_s"], document["start_s"]) == (31.5, 30.0)  # the second that somebody says it
    assert document["words"]["text"] == "a wave" and document["found_by"] == {"model": 2, "words": 1}


def test_a_sentence_is_its_text_and_has_no_second() -> None:
    document = hit_document(Hit(1, 0.5, "c.jsonl#t=1,2", "a dog"), "texts")
    assert document["text"] == "a dog" and "time_s" not in document


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    write_gallery(tmp_path / "new" / "a.html", [])
    assert (tmp_path / "new" / "a.html").read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((HcqError, OSError), match="file"):
        write_gallery(tmp_path / "file" / "a.html", [])
