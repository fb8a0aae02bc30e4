"""Answers -> one self-contained page: `hcq query --html FILE`.

Style, script and thumbnails are in the file; the films stay where they are, and are addressed as seen from the page's
folder, so that page and videos can be moved together.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from hcq_cli.codes.ids import video_of
from hcq_cli.errors import HcqError
from hcq_cli.media.thumbnails import Thumbnailer
from hcq_cli.web.cards import STATIC, Answer, answer_of, templates


def gallery_page(
    documents: Sequence[dict[str, Any]], folder: Path, done: Callable[[int], None] = lambda count: None
) -> str:
    """The page of some answers.

    Args:
        documents: answers as `api.answers.answer_document` makes them.
        folder: where the page will lie.
        done: told of every thumbnail made.
    """
    with Thumbnailer() as thumbnailer:

        def addresses(hit: dict[str, Any]) -> dict[str, str]:
            done(1)
            return {"video": file_address(video_of(hit["path"]), folder), "picture": _picture(thumbnailer, hit)}

        answers = [answer_of(document, addresses) for document in documents]
    return page_of_answers(answers)


def gallery_frame(document: dict[str, Any]) -> str:
    """An answer as a notebook shows it: pictures and names, in a frame of its own that runs nothing."""
    with Thumbnailer() as thumbnailer:
        answer = answer_of(document, lambda hit: {"video": "#", "picture": _picture(thumbnailer, hit)})
    style = (STATIC / "style.css").read_text("utf-8")
    return templates().get_template("frame.html").render(found=answer, style=style)


def page_of_answers(answers: Sequence[Answer]) -> str:
    """The page of answers whose addresses are known."""
    style, script = ((STATIC / name).read_text("utf-8") for name in ("style.css", "player.js"))
    # The one script that may run in the page is this one, whatever a name manages to put there.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = templates().get_template("gallery.html")
    return page.render(answers=answers, style=style, script=script, script_digest=digest)


def _picture(thumbnailer: Thumbnailer, hit: dict[str, Any]) -> str:
    """A hit's thumbnail as an address that holds it; empty where the file gives none."""
    second = hit.get("time_s") or 0.0
    try:
        jpeg = thumbnailer.make(video_of(hit["path"]), second)
    except HcqError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def file_address(path: str, folder: Path) -> str:
    """The address of a file as seen from a page in `folder`, with all that means something in addresses quoted."""
    # From ./ on, so that a name like javascript:x is never read as a scheme.
    return "./" + quote_from_bytes(os.fsencode(os.path.relpath(path, folder)))
