"""Answers as JSON, made by hand."""

from __future__ import annotations

from typing import Any


def answer(hits: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """An answer with these hits."""
    return {"query": "a dog", "videos_searched": 9, "ms": {"text": 1.0, "scan": 0.5}, "hits": hits, **more}


def hit(rank: int, **more: Any) -> dict[str, Any]:
    """A hit."""
    return {"rank": rank, "score": 0.5, "id": f"holiday/beach {rank}.mp4", "path": f"/v/beach {rank}.mp4", **more}
