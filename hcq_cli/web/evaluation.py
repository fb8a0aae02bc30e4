"""An evaluation -> one self-contained page: `hcq eval --html`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import HcqError
from hcq_cli.media.thumbnails import Thumbnailer
from hcq_cli.printable import printable
from hcq_cli.web.cards import STATIC, templates
from hcq_cli.web.gallery import file_address
from hcq_cli.web.report import HEIGHT, WIDTH, Curve, curve_of, recall_table

if TYPE_CHECKING:
    from hcq_cli.evaluation.retrieval import RecallPoint

WORST, BETWEEN, BEST = 200, 100, 100
"""Captions that a page shows of more than all of these: a page of 100,000 could neither be opened nor sent."""
MOST_PICTURES = 400
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
    ranks: NDArray[np.float64],
    caption: Callable[[int], AskedCaption],
    folder: Path,
    *,
    notes: Sequence[str] = (),
    done: Callable[[int], None] = lambda count: None,
) -> str:
    """The page, the captions that found their video last at the top; of many captions some.

    Args:
        title: what was measured.
        points: recall against bytes.
        ranks: [Q], of every caption.
        caption: gives what is shown of a caption, by its number.
        folder: where the page will lie.
        notes: what is doubtful.
        done: told of every thumbnail made.
    """
    parts = {name: [caption(number) for number in numbers] for name, numbers in _shown(ranks).items()}
    videos = dict.fromkeys(video for part in parts.values() for each in part for video in (each.own, each.first))
    numbers = {video: number for number, video in enumerate(videos)}
    addresses = {video: file_address(video[1], folder) for video in videos}
    page = templates().get_template("evaluation.html")
    return page.render(
        title=title,
        recall=recall_table(points),
        parts=parts,
        captions=len(ranks),
        notes=notes,
        curve=_recalls(ranks),
        pictures=_pictures(list(videos)[:MOST_PICTURES], done),
        numbers=numbers,
        addresses=addresses,
        printable=printable,
        style=(STATIC / "style.css").read_text("utf-8"),
        width=WIDTH,
        height=HEIGHT,
    )


def _shown(ranks: NDArray[np.float64]) -> dict[str, list[int]]:
    """The numbers of the captions that are shown, under what is said of them; the worst first."""
    order = np.argsort(-ranks, kind="stable")
    if len(order) <= WORST + BETWEEN + BEST:
        return {"Each caption, the worst found first": order.tolist()}
    middle = order[WORST:-BEST]
    sample = middle[np.linspace(0, len(middle) - 1, BETWEEN).astype(np.int64)]
    return {
        f"The {WORST} captions that found their video last": order[:WORST].tolist(),
        f"{BETWEEN} of the {len(middle):,} between, evenly spaced by rank": sample.tolist(),
        f"{BEST} of those that found it best": order[-BEST:].tolist(),
    }


def _recalls(ranks: NDArray[np.float64]) -> Curve | None:
    """Recall at 1 to `FARTHEST`, in percent, counted as `evaluation.metrics.summarise` does."""
    found = [(ranks < k + 1).mean() if k > 1 else (ranks == 1).mean() for k in range(1, FARTHEST + 1)]
    return curve_of("recall", [100 * float(share) for share in found], low=0, high=100)


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
