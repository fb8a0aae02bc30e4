"""The JSON of an answer is one form, wherever it is shown."""

from __future__ import annotations

from hcq_cli.api.answers import hit_document
from hcq_cli.search.query import Hit


def test_a_hit_of_a_part_says_its_second() -> None:
    hit = Hit(1, 0.5, "beach.mp4#t=30,60", "/v/beach.mp4", 0.75)
    assert hit_document(hit, "videos") == {
        "rank": 1,
        "score": 0.5,
        "id": "beach.mp4#t=30,60",
        "path": "/v/beach.mp4",
        "confidence": 0.75,
        "time_s": 30.0,
    }


def test_a_sentence_is_its_text_and_has_no_second() -> None:
    document = hit_document(Hit(1, 0.5, "c.jsonl#t=1,2", "a dog"), "texts")
    assert document["text"] == "a dog" and "time_s" not in document
