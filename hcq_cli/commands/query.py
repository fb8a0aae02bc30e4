"""hcq query: ranked videos or sentences for a text, for each line of standard input, for a video, or like one."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.console import printable
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.api.searching import Searcher
    from hcq_cli.search.query import Hit, QueryResult

EXAMPLES = [
    "hcq query a man cooking",
    'hcq query "a dog in the snow" -k 3 --json',
    "hcq query - < queries.txt --json",
    "hcq query --like holiday/beach.mp4",
    "hcq query --video new.mp4 --find texts",
    'hcq query "a red ball" --codes codes.hcq',
    'hcq query "a red ball" --exact',
]
QUERIES_AT_ONCE = 64

Words = Annotated[
    list[str] | None, typer.Argument(metavar="TEXT… | -", help="What to look for; `-` reads a query a line.")
]
Like = Annotated[
    str | None, typer.Option("--like", metavar="ID", help="Find what is like this indexed video, segment or caption.")
]
VideoFile = Annotated[
    Path | None, typer.Option("--video", metavar="FILE", help="Find what fits this video, indexed or not.")
]
Find = Annotated[
    str | None,
    typer.Option("--find", metavar="videos|texts", help="What to find (default: what the index holds, videos)."),
]
Experts = Annotated[
    str | None,
    typer.Option("--experts", metavar="LIST", help="For --video: NAME=SOURCE of experts that are files."),
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
Device = Annotated[
    str | None, typer.Option("--device", metavar="cuda", help="Scan on a device of torch: for many queries.")
]


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    command(app, "query", panel=VERBS, examples=EXAMPLES)(query)


def query(
    session: Session,
    text: Words = None,
    like: Like = None,
    video: VideoFile = None,
    find: Find = None,
    experts: Experts = None,
    codes: Codes = None,
    index: IndexFolder = None,
    k: Hits = 10,
    ckpt: Checkpoint = None,
    threads: Threads = None,
    probe: Probe = None,
    exact: Exact = False,
    device: Device = None,
) -> None:
    """Find the videos that fit a text, best first; or what fits a video, or is like one.

    Against an index a text is encoded without torch; --codes, --ckpt and --video load the whole model.
    """
    words = text or []
    _check(words, like, video)
    waiting = words == ["-"]
    settings = api.SearchSettings(
        index=index,
        codes=codes,
        find=find,
        checkpoint=ckpt,
        threads=threads,
        nprobe=probe,
        exact=exact,
        device=device,
        many=waiting,
    )
    searcher = api.Searcher(session.workspace, settings)
    if probe is not None and not searcher.lists:
        session.console.note(f"{searcher.collection.path} has no lists to probe: all of it is searched")
    if like is not None:
        _print(session, searcher, searcher.like(like, k), {"like": like})
    elif video is not None:
        asks = [ask.strip() for ask in (experts or "").split(",") if ask.strip()]
        answer, seen = searcher.video(video, k, experts=asks, progress=session.console)
        timing = {"extract": round(seen.extract_ms, 3), "encode": round(seen.encode_ms, 3)}
        _print(session, searcher, answer, {"video": video}, timing)
    elif waiting:
        for queries in _lines():
            for answer in searcher.texts(queries, k):
                _print(session, searcher, answer, heading=True)
    else:
        _print(session, searcher, searcher.text(" ".join(words), k))


def _check(words: list[str], like: str | None, video: Path | None) -> None:
    """Refuse what asks for nothing, or for more than one thing."""
    if bool(words) + (like is not None) + (video is not None) != 1:
        raise UsageError("give a text, --like ID or --video FILE", 'hcq query "a man cooking"')
    if words[:1] == ["-"] and len(words) > 1:
        raise UsageError("- reads queries from stdin, and takes no words beside it", "hcq query - < queries.txt")
    if words and not " ".join(words).strip():
        raise UsageError("the query is empty", 'hcq query "a man cooking"')


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


def _print(
    session: Session,
    searcher: Searcher,
    answer: QueryResult,
    more: dict[str, Any] | None = None,
    timing: dict[str, float] | None = None,
    *,
    heading: bool = False,
) -> None:
    kind = searcher.kind
    document = {
        "query": answer.query,
        **(more or {}),
        "index": searcher.collection.path,
        "find": kind,
        "videos_searched": answer.videos_searched,
        "ms": {"text": round(answer.text_ms, 3), "scan": round(answer.scan_ms, 3), **(timing or {})},
        "hits": [_hit(hit, kind) for hit in answer.hits],
        **({"note": answer.note} if answer.note else {}),
    }

    def human() -> None:
        if heading:
            session.console.text(printable(answer.query), style="bold")
        if kind == "texts":
            rows = [(hit.rank, f"{hit.score:.3f}", hit.path, hit.id) for hit in answer.hits]
            session.console.table(["rank", "score", "sentence", "caption"], rows)
        else:
            rows = [(hit.rank, f"{hit.score:.3f}", hit.id, _shortened(hit.path)) for hit in answer.hits]
            session.console.table(["rank", "score", "video", "path"], rows)
        if answer.note:
            session.console.note(answer.note)
        took = ", ".join(f"{name} {value:,.0f} ms" for name, value in (timing or {"text": answer.text_ms}).items())
        session.console.note(f"{answer.videos_searched:,} {kind} searched ({took}, scan {answer.scan_ms:.1f} ms)")

    session.console.result(document, human)


def _hit(hit: Hit, kind: str) -> dict[str, Any]:
    document: dict[str, Any] = {"rank": hit.rank, "score": hit.score, "id": hit.id, "path": hit.path}
    if kind == "texts":
        document["text"] = hit.path
    elif hit.time_s is not None:
        document["time_s"] = hit.time_s
    return document


def _shortened(path: str) -> str:
    """A path as seen from the current folder or from home, where that is shorter."""
    home = str(Path.home())
    inside = path == home or path.startswith(home + os.sep)
    candidates = [path, "~" + path[len(home) :] if inside else path]
    if Path(path).is_absolute():
        candidates.append(os.path.relpath(path))
    return min(candidates, key=len)
