"""hcq query: ranked videos or sentences for a text, for each line of standard input, for a video, or like some."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

import hcq_cli as api
from hcq_cli.commands.answers import print_answer
from hcq_cli.commands.clips import (
    Open,
    SaveClips,
    Thumbnails,
    check_actions,
    clips_document,
    finish,
    save,
    show_thumbnails,
)
from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.console import Console
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.api.searching import Searcher
    from hcq_cli.search.query import QueryResult

EXAMPLES = [
    "hcq query a man cooking",
    'hcq query "a dog in the snow" -k 3 --json',
    "hcq query '\"happy birthday\" a cake -school'",
    "hcq query - < queries.txt --json",
    "hcq query --like holiday/beach.mp4",
    'hcq query "a beach" --like holiday/sea.mp4 --like holiday/surf.mp4^2 --not "people"',
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
EXCLUDING = re.compile(r'-(?:\w{2,}\s|")')
"""How a text begins that begins with an exclusion."""

Words = Annotated[
    list[str] | None, typer.Argument(metavar="TEXT… | -", help="What to look for; `-` reads a query a line.")
]
Like = Annotated[
    list[str] | None,
    typer.Option(
        "--like",
        metavar="ID",
        help="Find what is like this indexed video, segment or caption; several and a text go together, and ID^2 "
        "counts twice.",
    ),
]
Not = Annotated[
    list[str] | None,
    typer.Option(
        "--not",
        metavar="TEXT",
        help="Beside a text or --like: away from what looks or sounds like this; repeatable, TEXT^2 twice as much.",
    ),
]
VideoFile = Annotated[
    Path | None, typer.Option("--video", metavar="FILE", help="Find what fits this video, indexed or not.")
]
Image = Annotated[
    Path | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="As --video, for a picture: a video of one frame, to models that look at single frames.",
    ),
]
Find = Annotated[
    str | None,
    typer.Option("--find", metavar="videos|texts", help="What to find (default: what the index holds, videos)."),
]
Experts = Annotated[
    str | None,
    typer.Option(
        "--experts",
        metavar="LIST",
        help="For --video and --image: NAME=SOURCE of experts that are files, where they have moved.",
    ),
]
Codes = Annotated[Path | None, typer.Option("--codes", metavar="FILE", help="Search a code file, without an index.")]
IndexFolder = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="The index (default: the workspace's).")
]
Hits = Annotated[int, typer.Option("-k", min=1, help="How many hits.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option("--ckpt", metavar="DIR", help="The checkpoint (default: the one that made the codes)."),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Cores to scan with (default: all).")]
Probe = Annotated[
    int | None,
    typer.Option(
        "--probe",
        metavar="N",
        min=1,
        help="Lists of a partitioned index to look into; by default those near the best.",
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Look into all lists of a partitioned index.")]
MinConfidence = Annotated[
    float | None,
    typer.Option("--min-confidence", metavar="X", min=0, max=1, help="Leave out hits that are less sure than this."),
]
All = Annotated[bool, typer.Option("--all", help="Show all hits, also where nothing fits well.")]
HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write a page with thumbnails and players, too: one file, no network."
    ),
]
By = Annotated[
    str,
    typer.Option(
        "--by", metavar="video|segment", help="Each video once, by its best moment; or the moments of all videos."
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="FILTER",
        help="Only what passes, by the columns that `hcq index info` names: duration < 60 and folder = 'holiday'.",
    ),
]
Sort = Annotated[
    str, typer.Option("--sort", metavar="score|date|path|duration", help="The order of the hits that are shown.")
]
Offset = Annotated[int, typer.Option("--offset", metavar="N", min=0, help="Leave out the N best hits.")]
ShownColumns = Annotated[
    str | None, typer.Option("--columns", metavar="LIST", help="Columns to show of each hit: duration,taken.")
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="cuda", help="Scan on a device of torch: for many queries.")
]
On = Annotated[str | None, typer.Option(metavar="ray[:ADDRESS]", help="Search on a Ray cluster.", show_default=False)]
Partial = Annotated[
    bool, typer.Option("--partial", help="With --on: answer also where a part of the index cannot be reached.")
]


class QueryCommand(TyperCommand):
    """Takes `"-cat dog"`, which begins with what it excludes, for a text: no option is a word and a space."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer does."""
        return super().parse_args(ctx, [f" {arg}" if EXCLUDING.match(arg) else arg for arg in args])


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    command(app, "query", panel=VERBS, examples=EXAMPLES, kind=QueryCommand)(query)


def query(
    session: Session,
    text: Words = None,
    like: Like = None,
    unlike: Not = None,
    video: VideoFile = None,
    image: Image = None,
    find: Find = None,
    experts: Experts = None,
    codes: Codes = None,
    index: IndexFolder = None,
    k: Hits = 10,
    by: By = "video",
    ckpt: Checkpoint = None,
    threads: Threads = None,
    probe: Probe = None,
    exact: Exact = False,
    device: Device = None,
    min_confidence: MinConfidence = None,
    all_hits: All = False,
    html: HtmlFile = None,
    on: On = None,
    partial: Partial = False,
    where: Where = None,
    sort: Sort = "score",
    offset: Offset = 0,
    columns: ShownColumns = None,
    save_clips: SaveClips = None,
    open_rank: Open = None,
    thumbnails: Thumbnails = True,
) -> None:
    """Find the videos that fit a text, best first; or what fits a video, or is like one.

    What stands in "quotes" must be said, shown or told just so, what follows a dash must not be (dog -cat); the words
    come from speech, ocr, subtitles beside the videos, captions, and names of files.

    Against an index a text is encoded without torch; --codes and --ckpt load the whole model. A model that hcq fit
    made says how sure each hit is, and where nothing fits well the best three are shown alone.
    """
    asks = [ask.strip() for ask in (experts or "").split(",") if ask.strip()]
    asked = Asked(text or [], like or [], unlike or [], video, image, experts=asks, least=min_confidence)
    asked.check()
    settings = api.SearchSettings(
        index=index,
        codes=codes,
        find=find,
        checkpoint=ckpt,
        threads=threads,
        nprobe=probe,
        exact=exact,
        device=device,
        many=asked.waiting,
        by=by,
        on=on,
        partial=partial,
        where=where,
        sort=sort,
        offset=offset,
        columns=tuple(name.strip() for name in (columns or "").split(",") if name.strip()),
    )
    pictured = thumbnails and not asked.waiting and session.console.shows_pictures
    searcher = session.searcher(settings, here=any((asked.file, html, save_clips, open_rank, pictured)))
    if searcher.outdated:
        session.console.warn(searcher.outdated)
    if probe is not None and not searcher.lists:
        session.console.note(f"{searcher.collection.path} has no lists to probe: all of it is searched")
    check_actions(searcher, asked.waiting, save_clips, open_rank)
    shown: list[dict[str, Any]] = []
    for answer, more, timing in asked.answers(searcher, k, session.console):
        hits, _ = api.worth_showing(answer, everything=all_hits)
        clips = save(session, replace(answer, hits=tuple(hits)), save_clips)
        more = {**more, **clips_document(clips)}
        heading = asked.waiting
        document = print_answer(session, searcher, answer, more, timing, heading=heading, everything=all_hits)
        shown += [document] if html else []
        if pictured and searcher.kind == "videos":
            show_thumbnails(session, hits)
        finish(session, answer, clips, open_rank)
    if html is not None:
        api.write_gallery(html, shown, progress=session.console)
        session.console.note(f"page {html}")


@dataclass(frozen=True)
class Asked:
    """What is looked for.

    Args:
        words: of a text, or a dash alone: a query a line of standard input.
        likes, nots: examples and texts that make a query of several parts, with a text or without.
        video, image: a file as the query.
        experts: for that file.
        least: confidence of a hit.
    """

    words: list[str]
    likes: list[str]
    nots: list[str]
    video: Path | None
    image: Path | None
    experts: list[str]
    least: float | None

    @property
    def waiting(self) -> bool:
        """Whether queries come on standard input."""
        return self.words == ["-"]

    @property
    def composed(self) -> bool:
        """Whether it has several parts."""
        return bool(self.nots) or len(self.likes) + bool(self.words) > 1

    @property
    def file(self) -> Path | None:
        """The file that is the query."""
        return self.video or self.image

    def check(self) -> None:
        """Refuse what asks for nothing, or for what does not go together. Raises UsageError."""
        files = [path for path in (self.video, self.image) if path is not None]
        parts = bool(self.words or self.likes or self.nots)
        if not parts and not files:
            raise UsageError("give a text, --like ID, --video FILE or --image FILE", 'hcq query "a man cooking"')
        if len(files) + parts > 1:
            raise UsageError("--video and --image stand alone, without a text, --like, --not or one another")
        if self.words[:1] == ["-"] and len(self.words) > 1:
            raise UsageError("- reads queries from stdin, and takes no words beside it", "hcq query - < queries.txt")
        if self.words and not " ".join(self.words).strip():
            raise UsageError("the query is empty", 'hcq query "a man cooking"')
        if self.composed:
            self._check_composed()

    def _check_composed(self) -> None:
        if self.waiting:
            raise UsageError(
                "- reads queries from stdin, --like and --not belong to one", "hcq query - < queries.txt"
            )
        if self.least is not None:
            raise UsageError(
                "--min-confidence is of a text alone: how sure hits are is not known with --like or --not"
            )
        if not self.words and not self.likes:
            raise UsageError("--not says what is not looked for: give a text or --like ID, too", NOT_EXAMPLE)

    def answers(
        self, searcher: Searcher, k: int, progress: Console
    ) -> Iterator[tuple[QueryResult, dict[str, Any], dict[str, float] | None]]:
        """The answers, each with further fields of its JSON and, for a file, what took how long, milliseconds."""
        text = " ".join(self.words).strip()
        if self.composed:
            parts = {"like": self.likes, "not": self.nots}
            answer = searcher.composed(text, k, likes=self.likes, unlike=self.nots)
            yield answer, {name: given for name, given in parts.items() if given}, None
        elif self.likes:
            yield searcher.like(self.likes[0], k), {"like": self.likes[0]}, None
        elif self.file is not None:
            answer, seen = searcher.video(self.file, k, experts=self.experts, progress=progress)
            timing = {"extract": round(seen.extract_ms, 3), "encode": round(seen.encode_ms, 3)}
            yield answer, {"image" if self.image else "video": self.file}, timing
        elif self.waiting:
            for queries in _lines():
                for answer in searcher.texts(queries, k):
                    yield api.sure_enough(answer, self.least), {}, None
        else:
            yield api.sure_enough(searcher.text(text, k), self.least), {}, None


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
