"""hcq query: ranked videos or sentences for a text, for each line of standard input, for a video, or like some."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

import hcq_cli as api
from hcq_cli.commands.answers import check_actions, clips_document, finish, print_answer
from hcq_cli.commands.shared import VERBS, IndexOption, Session, command, listed
from hcq_cli.console import Console
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.api.searching import Searcher
    from hcq_cli.search.params import SearchSettings
    from hcq_cli.search.query import QueryResult

EXAMPLES = [
    "hcq query a man cooking",
    'hcq query "a dog in the snow" -k 3 --json',
    "hcq query '\"happy birthday\" a cake -school'",
    "hcq query - < queries.txt --json",
    "hcq query --like holiday/beach.mp4",
    'hcq query "a beach" --like holiday/sea.mp4 --like holiday/surf.mp4^2 --not "people"',
    "hcq query --face anna.jpg --face party.mp4@12 --not-face ben.jpg",
    "hcq query a goal --by segment",
    "hcq query --video new.mp4 --find texts",
    "hcq query --image photo.jpg",
    'hcq query "a red ball" --codes codes.hcq',
    'hcq query "a red ball" --exact',
    'hcq query "a volcano" --min-confidence 0.5',
    'hcq query "a goal" --by segment --save-clips goals/',
    'hcq query "a goal" --open 1',
    'hcq query "a volcano" --html volcano.html',
    "hcq query - --on ray < queries.txt",
    "hcq query \"a dog\" --where \"duration < 60 and folder = 'holiday' and taken >= '2025-05'\" --sort date",
]
NOT_EXAMPLE = 'hcq query "a beach" --not "people"'
QUERIES_AT_ONCE = 64
MOST_THUMBNAILS = 12
THUMBNAIL_SIDE = 240
"""Pixels."""
EXCLUDING = re.compile(r'-(?:\w{2,}\s|")')
"""How a text begins that begins with an exclusion."""

Find = Annotated[
    str | None,
    typer.Option("--find", metavar="videos|texts", help="What to find (default: what the index holds, videos)."),
]
Experts = Annotated[
    str | None,
    typer.Option(
        "--experts",
        metavar="LIST",
        help="For --video, --image and --face: NAME=SOURCE of experts that are files, where they have moved.",
    ),
]
Hits = Annotated[int, typer.Option("-k", min=1, help="How many hits.")]
MinConfidence = Annotated[
    float | None,
    typer.Option("--min-confidence", metavar="X", min=0, max=1, help="Leave out hits that are less sure than this."),
]
All = Annotated[bool, typer.Option("--all", help="Show all hits, also where nothing fits well.")]
Device = Annotated[
    str | None, typer.Option("--device", metavar="cuda", help="Scan on a device of torch: for many queries.")
]


class QueryCommand(TyperCommand):
    """Takes `"-cat dog"`, which begins with what it excludes, for a text: no option is a word and a space."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer does."""
        return super().parse_args(ctx, [f" {arg}" if EXCLUDING.match(arg) else arg for arg in args])


@dataclass(frozen=True)
class Asked:
    """What is looked for."""

    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT… | -", help="What to look for; `-` reads a query a line.")
    ] = None
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="ID",
            help="Find what is like this indexed video, segment or caption; several and a text go together, and ID^2 "
            "counts twice.",
        ),
    ] = None
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            "--not",
            metavar="TEXT",
            help="Beside a text or --like: away from what looks or sounds like this; repeatable, TEXT^2 twice as "
            "much.",
        ),
    ] = None
    face: Annotated[
        list[str] | None,
        typer.Option(
            "--face",
            metavar="FILE|ID@SECOND",
            help="Show this person, where face vectors were extracted; repeatable, FILE^2 counts twice.",
        ),
    ] = None
    not_face: Annotated[
        list[str] | None,
        typer.Option("--not-face", metavar="FILE|ID@SECOND", help="Leave out what shows this person; repeatable."),
    ] = None
    video: Annotated[
        Path | None, typer.Option("--video", metavar="FILE", help="Find what fits this video, indexed or not.")
    ] = None
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="As --video, for a picture: a video of one frame, to models that look at single frames.",
        ),
    ] = None
    experts: Experts = None
    min_confidence: MinConfidence = None

    @property
    def waiting(self) -> bool:
        """Whether queries come on standard input."""
        return self.text == ["-"]

    @property
    def composed(self) -> bool:
        """Whether it has several parts."""
        return bool(self.unlike or self.face or self.not_face) or len(self.like or ()) + bool(self.text) > 1

    def check(self) -> None:
        """Refuse what asks for nothing, or for what does not go together. Raises UsageError."""
        files = [path for path in (self.video, self.image) if path is not None]
        words, parts = self.text or [], bool(self.text or self.like or self.composed)
        if not parts and not files:
            raise UsageError("give a text, --like ID, --video FILE or --image FILE", 'hcq query "a man cooking"')
        if len(files) + parts > 1:
            raise UsageError("--video and --image stand alone, without a text, --like, --not, --face or one another")
        if words[:1] == ["-"] and len(words) > 1:
            raise UsageError("- reads queries from stdin, and takes no words beside it", "hcq query - < queries.txt")
        if words and not " ".join(words).strip():
            raise UsageError("the query is empty", 'hcq query "a man cooking"')
        if not self.composed:
            return
        if self.waiting:
            raise UsageError(
                "- reads queries from stdin, --like, --not and --face belong to one", "hcq query - < queries.txt"
            )
        if self.min_confidence is not None:
            raise UsageError(
                "--min-confidence is of a text alone: how sure hits are is not known with --like, --not or --face"
            )
        if not words and not self.like and not self.face:
            raise UsageError(
                "--not and --not-face say what is not looked for: give a text, --like ID or --face FILE, too",
                NOT_EXAMPLE,
            )

    def answers(
        self, searcher: Searcher, k: int, progress: Console
    ) -> Iterator[tuple[QueryResult, dict[str, Any], dict[str, float] | None]]:
        """The answers, each with further fields of its JSON and, for a file, what took how long, milliseconds."""
        text = " ".join(self.text or ()).strip()
        experts = listed(self.experts)
        if self.composed:
            parts = {"like": self.like, "not": self.unlike, "face": self.face, "not_face": self.not_face}
            faces = {"faces": self.face or (), "not_faces": self.not_face or (), "experts": experts}
            answer = searcher.composed(text, k, likes=self.like or (), unlike=self.unlike or (), **faces)
            yield answer, {name: given for name, given in parts.items() if given}, None
        elif self.like:
            yield searcher.like(self.like[0], k), {"like": self.like[0]}, None
        elif (file := self.video or self.image) is not None:
            answer, seen = searcher.video(file, k, experts=experts, progress=progress)
            timing = {"extract": round(seen.extract_ms, 3), "encode": round(seen.encode_ms, 3)}
            yield answer, {"image" if self.image else "video": file}, timing
        elif self.waiting:
            for queries in _lines():
                for answer in searcher.texts(queries, k):
                    yield api.sure_enough(answer, self.min_confidence), {}, None
        else:
            yield api.sure_enough(searcher.text(text, k), self.min_confidence), {}, None


@dataclass(frozen=True)
class SearchOptions:
    """What is searched, and how hard."""

    find: Find = None
    codes: Annotated[
        Path | None, typer.Option("--codes", metavar="FILE", help="Search a code file, without an index.")
    ] = None
    index: IndexOption = None
    ckpt: Annotated[
        Path | None,
        typer.Option("--ckpt", metavar="DIR", help="The checkpoint (default: the one that made the codes)."),
    ] = None
    by: Annotated[
        str,
        typer.Option(
            "--by", metavar="video|segment", help="Each video once, by its best moment; or the moments of all videos."
        ),
    ] = "video"
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="FILTER",
            help="Only what passes, by the columns that `hcq index info` names: duration < 60 and folder = "
            "'holiday'.",
        ),
    ] = None
    sort: Annotated[
        str, typer.Option("--sort", metavar="score|date|path|duration", help="The order of the hits that are shown.")
    ] = "score"
    offset: Annotated[int, typer.Option("--offset", metavar="N", min=0, help="Leave out the N best hits.")] = 0
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="LIST", help="Columns to show of each hit: duration,taken.")
    ] = None
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Cores to scan with (default: all).")] = None
    probe: Annotated[
        int | None,
        typer.Option(
            "--probe",
            metavar="N",
            min=1,
            help="Lists of a partitioned index to look into; by default those near the best.",
        ),
    ] = None
    exact: Annotated[bool, typer.Option("--exact", help="Look into all lists of a partitioned index.")] = False
    device: Device = None
    on: Annotated[
        str | None, typer.Option(metavar="ray[:ADDRESS]", help="Search on a Ray cluster.", show_default=False)
    ] = None
    partial: Annotated[
        bool, typer.Option("--partial", help="With --on: answer also where a part of the index cannot be reached.")
    ] = False

    def settings(self, many: bool) -> SearchSettings:
        """The same, as the search takes it; `many` where queries will keep coming."""
        given = {**vars(self), "checkpoint": self.ckpt, "nprobe": self.probe, "many": many}
        given["columns"] = tuple(listed(self.columns))
        del given["ckpt"], given["probe"]
        return api.SearchSettings(**given)


@dataclass(frozen=True)
class Shown:
    """What of the hits is shown, and what else is done with them."""

    k: Hits = 10
    all_hits: All = False
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails/--no-thumbnails",
            help="Show pictures of the hits in terminals that can (kitty, Ghostty, WezTerm, iTerm2, and by sixels "
            "foot, mlterm, mintty, Contour); off anywhere else.",
        ),
    ] = True
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a page with thumbnails and players, too: one file, no network."
        ),
    ] = None
    save_clips: Annotated[
        Path | None,
        typer.Option(
            "--save-clips",
            metavar="DIR",
            help="Write the moment of each hit that is shown into DIR, as a clip of its own.",
        ),
    ] = None
    open_rank: Annotated[
        int | None,
        typer.Option("--open", metavar="N", min=1, help="Play hit N from its second, in a player of this machine."),
    ] = None


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    command(app, "query", panel=VERBS, examples=EXAMPLES, kind=QueryCommand, reads=("index", "texts-index"))(query)


def query(session: Session, asked: Asked, shown: Shown, search: SearchOptions) -> None:
    """Find the videos that fit a text, best first; or what fits a video, or is like one.

    What stands in "quotes" must be said, shown or told just so, what follows a dash must not be (dog -cat); the words
    come from speech, ocr, subtitles beside the videos, captions, and names of files.

    Against an index a text is encoded without torch; --codes and --ckpt load the whole model. A model that hcq fit
    made says how sure each hit is, and where nothing fits well the best three are shown alone.
    """
    asked.check()
    console, waiting = session.console, asked.waiting
    pictured = shown.thumbnails and not waiting and console.shows_pictures
    files = (asked.video, asked.image, asked.face, asked.not_face)
    here = any((*files, shown.html, shown.save_clips, shown.open_rank, pictured))
    if search.codes is not None and search.on is not None:
        console.note("a code file is searched on this machine")
    searcher = session.searcher(search.settings(many=waiting), here=here)
    if searcher.outdated:
        console.warn(searcher.outdated)
    if search.probe is not None and not searcher.lists:
        console.note(f"{searcher.collection.path} has no lists to probe: all of it is searched")
    if shown.save_clips is not None or shown.open_rank is not None:
        check_actions(searcher, waiting, shown.save_clips)
    documents: list[dict[str, Any]] = []
    for answer, more, timing in asked.answers(searcher, shown.k, console):
        hits, clips = api.worth_showing(answer, everything=shown.all_hits)[0], []
        if shown.save_clips is not None:
            clips = api.save_clips(replace(answer, hits=tuple(hits)), shown.save_clips, progress=console)
            more = {**more, "clips": clips_document(clips)} if clips else more
        document: dict[str, Any] = {}
        if console.json_mode or shown.html is not None:
            document = api.answer_document(searcher, answer, more, timing)
            if session.visit is not None:  # the place as it is called where the command was typed
                document["index"] = session.workspace.index
        print_it = partial(print_answer, session, searcher, answer, timing)
        console.result(document, partial(print_it, heading=waiting, everything=shown.all_hits))
        documents += [document] if shown.html else []
        if pictured and searcher.kind == "videos":  # below the table that they are numbered in
            pictures = api.thumbnails(hits[:MOST_THUMBNAILS], THUMBNAIL_SIDE)
            console.pictures([(f"{hit.rank:>2}", png) for hit, png in pictures])
        if clips or shown.open_rank is not None:
            finish(session, answer, clips, shown.open_rank)
    if shown.html is not None:
        api.write_gallery(shown.html, documents, progress=console)
        console.note(f"page {shown.html}")


def _lines() -> Iterator[list[str]]:
    """Lines of standard input as they come, blank ones left out: what is waiting together is answered together.

    Raises:
        UsageError: there is none.
    """
    # os.read and not lines: it gives what has been written so far, so that queries which wait together are answered
    # together, and one that comes alone is answered at once.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest, read_any = "", False
    while True:
        read = os.read(sys.stdin.fileno(), 1 << 16)
        rest += decoder.decode(read, final=not read)
        *lines, rest = rest.split("\n") if read else [*rest.split("\n"), ""]
        wanted = [line.strip() for line in lines if line.strip()]
        for at in range(0, len(wanted), QUERIES_AT_ONCE):
            read_any = True
            yield wanted[at : at + QUERIES_AT_ONCE]
        if not read:
            break
    if not read_any:
        raise UsageError("no query on standard input", 'echo "a man cooking" | hcq query -')
