"""An answer as a JSON document, the one form that `hcq query --json`, `hcq find` and pages show; and such a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.api.progress import SILENT, Progress

if TYPE_CHECKING:
    from hcq_cli.api.searching import Searcher
    from hcq_cli.search.query import Hit, QueryResult


def answer_document(
    searcher: Searcher,
    answer: QueryResult,
    more: dict[str, Any] | None = None,
    timing: dict[str, float] | None = None,
) -> dict[str, Any]:
    """An answer as JSON has it, all hits in it, whatever they are worth.

    Args:
        more: further fields, behind the query.
        timing: what took how long, milliseconds, beside the text and the scan.
    """
    return {
        "query": answer.query,
        **(more or {}),
        "index": searcher.collection.path,
        "find": searcher.kind,
        "videos_searched": answer.videos_searched,
        "ms": {"text": round(answer.text_ms, 3), "scan": round(answer.scan_ms, 3), **(timing or {})},
        "hits": [hit_document(hit, searcher.kind) for hit in answer.hits],
        **({"note": answer.note} if answer.note else {}),
    }


def hit_document(hit: Hit, kind: str) -> dict[str, Any]:
    """A hit as JSON has it.

    Args:
        kind: "videos" or "texts".
    """
    document: dict[str, Any] = {"rank": hit.rank, "score": hit.score, "id": hit.id, "path": hit.path}
    if hit.confidence is not None:
        document["confidence"] = round(hit.confidence, 4)
    if hit.columns is not None:
        document["columns"] = dict(hit.columns)
    if hit.words is not None:
        document["words"] = asdict(hit.words)
    if hit.found_by is not None:
        document["found_by"] = dict(hit.found_by)
    if kind == "texts":
        document["text"] = hit.path
    elif (found := hit.moment) is not None:
        document |= {"time_s": found.time_s, "start_s": found.start_s, "end_s": found.end_s, "segment": found.id}
    if hit.words is not None and hit.time_s is not None:
        document["time_s"] = hit.time_s
    return document


def write_gallery(path: Path, documents: Sequence[dict[str, Any]], *, progress: Progress = SILENT) -> None:
    """Write a self-contained page of answers, with a thumbnail of every hit at its second.

    Args:
        path: of the page; what was there is replaced when the page is whole.
        documents: as `answer_document` makes them.

    Raises:
        OSError: the page cannot be written.
    """
    from hcq_cli.files import write_text
    from hcq_cli.web.gallery import gallery_page

    hits = sum(len(document["hits"]) for document in documents)
    with progress.progress("thumbnails", total=hits, unit="hits") as bar:
        page = gallery_page(documents, path.parent.resolve(), bar.advance)
    write_text(path, page)
