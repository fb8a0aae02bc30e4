"""Answers -> a page to look at: `hcq query --html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcq_cli.api.progress import SILENT, Progress


def write_gallery(path: Path, documents: Sequence[dict[str, Any]], *, progress: Progress = SILENT) -> None:
    """Write a self-contained page of answers, with a thumbnail of every hit at its second.

    Args:
        path: of the page; what was there is replaced when the page is whole.
        documents: as `answer_document` makes them.
        progress: told of every thumbnail.

    Raises:
        OSError: the page cannot be written.
    """
    from hcq_cli.files import write_text
    from hcq_cli.web.gallery import gallery_page

    hits = sum(len(document["hits"]) for document in documents)
    with progress.progress("thumbnails", total=hits, unit="hits") as bar:
        page = gallery_page(documents, path.parent.resolve(), bar.advance)
    write_text(path, page)
