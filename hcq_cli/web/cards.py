"""The hits of an answer -> what a card of a page shows of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from hcq_cli.codes.ids import video_of
from hcq_cli.printable import clock, counted, printable, size_text
from hcq_cli.search.arranging import BEST_OF_NOTHING, nothing_fits

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True)
class Card:
    """What is shown of a hit; all texts can be printed as they are, addresses are quoted.

    Args:
        rank: from 1.
        title: name of the file.
        start_s, end_s: what of it was found, seconds; None for the whole video.
        video: address of the film, without a time.
        folder: the folders of its id before the name.
        score: the hybrid score, or None.
        confidence: 0 to 1, or None.
        reason: which channels found it, or empty. Not which level: the quantizer turns all levels together, so that a
            code says nothing of one alone.
        words: the sentence that matched, or empty.
        picture: address of the thumbnail, or empty.
        like: address of a page with what is like it, or empty.
        add: address of the same search with it as a further example, or empty.
        preview: address of a version that any browser plays, or empty.
    """

    rank: int
    title: str
    path: str
    start_s: float | None
    end_s: float | None
    video: str
    folder: str = ""
    score: float | None = None
    confidence: float | None = None
    reason: str = ""
    words: str = ""
    picture: str = ""
    like: str = ""
    add: str = ""
    preview: str = ""

    @property
    def time(self) -> str:
        """The second where it begins, as players write it; empty for a whole video."""
        return clock(self.start_s) if self.start_s is not None else ""


@dataclass(frozen=True)
class Answer:
    """What a page shows of an answer.

    Args:
        query: its text.
        cards: best first.
        folded: those that are shown when they are asked for.
        note: what is doubtful about it; empty where nothing is.
        videos_searched: how many could have been found.
        milliseconds: it took.
        more: address of the next page of hits, or empty.
    """

    query: str
    cards: list[Card]
    folded: list[Card]
    note: str
    videos_searched: int
    milliseconds: float
    more: str = ""


Addresses = Callable[[dict[str, Any]], dict[str, str]]
"""Gives the addresses `video`, and where there are such `picture`, `like`, `add`, `preview`, of a hit in JSON."""


def answer_of(document: dict[str, Any], addresses: Addresses, more: str = "") -> Answer:
    """What a page shows of an answer.

    Args:
        document: as `api.answers.answer_document` makes it.
        addresses: of each hit's film and pictures.
        more: address of the hits that follow.
    """
    cards = [_card(hit, addresses(hit)) for hit in document["hits"]]
    told = ((hit.get("confidence"), (hit.get("words") or {}).get("source", "")) for hit in document["hits"])
    kept = BEST_OF_NOTHING if nothing_fits(document.get("note", ""), told) else len(cards)
    return Answer(
        query=printable(str(document["query"])),
        cards=cards[:kept],
        folded=cards[kept:],
        note=printable(document.get("note", "")),
        videos_searched=document["videos_searched"],
        milliseconds=sum(document["ms"].values()),
        more=more,
    )


def title_and_folder(item_id: str) -> tuple[str, str]:
    """The name of a file, and the folders before it or nothing, of a video's id; both can be printed."""
    name = PurePath(item_id)
    return printable(name.name), printable(str(name.parent)) if name.parent.name else ""


def _card(hit: dict[str, Any], addresses: dict[str, str]) -> Card:
    title, folder = title_and_folder(video_of(hit["id"]))
    found_by, start_s = hit.get("found_by") or {}, hit.get("time_s", hit.get("start_s"))
    return Card(
        rank=hit["rank"],
        title=title,
        folder=folder,
        path=printable(video_of(hit["path"])),
        start_s=start_s,
        end_s=hit.get("end_s"),
        score=hit["score"],
        confidence=hit.get("confidence"),
        reason=printable(", ".join(found_by)),
        words=printable((hit.get("words") or {}).get("text", "")),
        **addresses,
    )


@cache
def templates() -> Environment:
    """The templates, which escape whatever is put into them."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(clock=clock, counted=counted, size=size_text)
    return made
