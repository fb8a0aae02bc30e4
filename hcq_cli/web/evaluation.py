"""An evaluation -> one self-contained page: `hcq eval --html`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.errors import HcqError
from hcq_cli.media.thumbnails import Thumbnailer
from hcq_cli.printable import printable
from hcq_cli.web.cards import STATIC, templates
from hcq_cli.web.gallery import file_address
from hcq_cli.web.report import HEIGHT, WIDTH, Curve, curve_of

if TYPE_CHECKING:
    from hcq_cli.evaluation.retrieval import RecallPoint

MOST_PICTURES = 300
"""Videos that a page has a picture of, about 5 KB each."""
SIDE = 192
"""Pixels of a picture's longer side."""
FARTHEST = 50
"""The curve ends at recall at this rank."""


@dataclass(frozen=True)
class AskedCaption:
    """A caption that was searched for.

    Args:
        text: of it.
        rank: of its own video, from 1; of ties the middle.
        own, first: id and path of that video, and of the one that stood first.
    """

    text: str
    rank: float
    own: tuple[str, str]
    first: tuple[str, str]


def evaluation_page(
    title: str,
    points: Sequence[RecallPoint],
    asked: Sequence[AskedCaption],
    folder: Path,
    *,
    notes: Sequence[str] = (),
    done: Callable[[int], None] = lambda count: None,
) -> str:
    """The page, the captions that found their video last at the top.

    Args:
        title: what was measured.
        points: recall against bytes.
        asked: every caption.
        folder: where the page will lie.
        notes: what is doubtful.
        done: told of every thumbnail made.
    """
    worst_first = sorted(asked, key=lambda each: -each.rank)
    videos = dict.fromkeys(video for each in worst_first for video in (each.own, each.first))
    numbers = {video: number for number, video in enumerate(videos)}
    addresses = {video: file_address(video[1], folder) for video in videos}
    page = templates().get_template("evaluation.html")
    return page.render(
        title=title,
        points=points,
        asked=worst_first,
        notes=notes,
        curve=_recalls([each.rank for each in asked]),
        pictures=_pictures(list(videos)[:MOST_PICTURES], done),
        numbers=numbers,
        addresses=addresses,
        printable=printable,
        style=(STATIC / "style.css").read_text("utf-8"),
        width=WIDTH,
        height=HEIGHT,
    )


def _recalls(ranks: Sequence[float]) -> Curve | None:
    """Recall at 1 to `FARTHEST`, in percent, counted as `evaluation.metrics.summarise` does."""
    found = [sum(rank < k + 1 if k > 1 else rank == 1 for rank in ranks) for k in range(1, FARTHEST + 1)]
    return curve_of("recall", [100 * count / len(ranks) for count in found], low=0, high=100)


def _pictures(videos: Iterable[tuple[str, str]], done: Callable[[int], None]) -> dict[int, str]:
    """The pictures of videos by their numbers, as addresses that hold them; those that give none are left out."""
    found = {}
    with Thumbnailer() as thumbnailer:
        for number, (_, path) in enumerate(videos):
            try:
                found[number] = base64.b64encode(thumbnailer.make(path, 0.0, SIDE)).decode()
            except HcqError:
                continue
            finally:
                done(1)
    return found
