"""hcq query: ranked videos or sentences for a text, for each line of standard input, for a video, or like one."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.console import printable
from hcq_cli.errors import HcqError, NotFoundError, UsageError

if TYPE_CHECKING:
    from hcq_cli.search.collection import SearchableCodes
    from hcq_cli.search.index import Index
    from hcq_cli.search.query import Hit, QueryResult
    from hcq_cli.search.text_encoder import TextEncoder
    from hcq_cli.search.video_query import VideoQuery

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
KINDS = ("videos", "texts")

Words = Annotated[
    list[str] | None, typer.Argument(metavar="TEXT… | -", help="What to look for; `-` reads a query a line.")
]
Like = Annotated[
    str | None, typer.Option("--like", metavar="ID", help="Find what is like this indexed video, stretch or caption.")
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
    from hcq_cli.scan.kernels import default_threads
    from hcq_cli.search.ivf_search import SearchParams
    from hcq_cli.search.query import search_levels, search_like, search_texts

    words = text or []
    _check(words, like, video, find)
    if probe is not None and exact:
        raise UsageError("--probe and --exact exclude each other")
    params = SearchParams(probe, exact, f"torch:{device}" if device else None)
    collection = _open(session, codes, index, find)
    if probe is not None and getattr(collection, "ivf", None) is None:
        session.console.note(f"{collection.path} has no lists to probe: all of it is searched")
    cores = 1 if device else threads or default_threads()
    if like is not None:
        source = _holder(session, collection, like)
        answer = search_like(collection, like, k, source=source, threads=cores, params=params)
        _print(session, collection, answer, {"like": like})
    elif video is not None:
        seen = _watch(session, collection, ckpt, video, experts)
        answer = search_levels(collection, [str(video)], seen.levels, k, threads=cores, params=params)[0]
        timing = {"extract": round(seen.extract_ms, 3), "encode": round(seen.encode_ms, 3)}
        _print(session, collection, answer, {"video": video}, timing)
    else:
        waiting = words == ["-"]
        tower = _tower(session, collection, ckpt, cores if waiting else 0)
        for queries in _lines() if waiting else [[" ".join(words)]]:
            for answer in search_texts(collection, tower, queries, k, threads=cores, params=params):
                _print(session, collection, answer, heading=waiting)


def _check(words: list[str], like: str | None, video: Path | None, find: str | None) -> None:
    """Refuse what asks for nothing, or for more than one thing."""
    if bool(words) + (like is not None) + (video is not None) != 1:
        raise UsageError("give a text, --like ID or --video FILE", 'hcq query "a man cooking"')
    if find not in (None, *KINDS):
        raise UsageError(f"--find {find}: it is videos or texts", "hcq query --video FILE --find texts")
    if words[:1] == ["-"] and len(words) > 1:
        raise UsageError("- reads queries from stdin, and takes no words beside it", "hcq query - < queries.txt")
    if words and not " ".join(words).strip():
        raise UsageError("the query is empty", 'hcq query "a man cooking"')


def _open(session: Session, codes: Path | None, index: Path | None, find: str | None) -> SearchableCodes:
    from hcq_cli.search.collection import SearchableCodeFile
    from hcq_cli.search.index import Index

    if codes is not None and index is not None:
        raise UsageError("--codes and --index exclude each other")
    opened: SearchableCodes
    if codes is not None:
        opened = SearchableCodeFile(codes)
    elif index is not None or find != "texts":
        opened = Index.open(index or session.workspace.index)
    else:
        opened = _open_texts(session)
    if find is not None and opened.header.kind != find:
        raise UsageError(f"{opened.path} holds {opened.header.kind}, no {find}", f"--find {opened.header.kind}")
    return opened


def _open_texts(session: Session) -> Index:
    from hcq_cli.search.index import Index

    try:
        return Index.open(session.workspace.texts_index)
    except NotFoundError:
        encoded, place = session.workspace.texts.is_file(), session.workspace.texts
        first = "" if encoded else "hcq encode --texts captions.jsonl, then: "
        message = f"{session.workspace.texts_index}: no index of sentences there"
        raise NotFoundError(message, f"{first}hcq index build {place}") from None


def _holder(session: Session, collection: SearchableCodes, item_id: str) -> SearchableCodes:
    """Where an id lies: in what is searched, or else in the workspace's index of videos or of texts."""
    from hcq_cli.search.index import Index
    from hcq_cli.search.query import locate

    others = (session.workspace.index, session.workspace.texts_index)
    held = collection
    for folder in [None, *others]:
        with suppress(NotFoundError):
            held = collection if folder is None else Index.open(folder)
            if locate(held, item_id)[1]:
                return held
    return collection


def _tower(session: Session, collection: SearchableCodes, ckpt: Path | None, cores: int) -> TextEncoder:
    """What encodes the queries: with `cores` many of them, with 0 a single one."""
    from hcq_cli.search.index import Index
    from hcq_cli.search.text_encoder import open_checkpoint_encoder, open_text_encoder

    if ckpt is not None:
        return open_checkpoint_encoder([ckpt])
    if collection.header.kind == "texts":  # the index of the videos has the text side of the same model
        with suppress(HcqError):
            videos = Index.open(session.workspace.index)
            if videos.header.model_hash == collection.header.model_hash:
                collection = videos
    return open_text_encoder(collection, [session.workspace.model], lasting=cores > 0, threads=max(cores, 1))


def _watch(
    session: Session, collection: SearchableCodes, ckpt: Path | None, video: Path, experts: str | None
) -> VideoQuery:
    """The vectors of a video, by the model of the collection."""
    from hcq_cli.search.query import check_model
    from hcq_cli.search.text_encoder import open_checkpoint_encoder
    from hcq_cli.search.video_query import encode_video

    places = [ckpt] if ckpt else [*collection.checkpoints, session.workspace.model]
    tower = open_checkpoint_encoder(places, collection.header.model_hash)
    check_model(tower, collection)
    asks = [ask.strip() for ask in (experts or "").split(",") if ask.strip()]
    with session.console.progress("extract", total=None, unit="videos"):
        seen = encode_video(tower, video, asks)
    for warning in seen.warnings:
        session.console.warn(f"{video}: {warning}")
    return seen


def _lines() -> Iterator[list[str]]:
    """Lines of standard input as they come, blank ones left out: what is waiting together is answered together.

    Raises:
        UsageError: there is none.
    """
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
    collection: SearchableCodes,
    answer: QueryResult,
    more: dict[str, Any] | None = None,
    timing: dict[str, float] | None = None,
    *,
    heading: bool = False,
) -> None:
    kind = collection.header.kind
    document = {
        "query": answer.query,
        **(more or {}),
        "index": collection.path,
        "find": kind,
        "videos_searched": answer.videos_searched,
        "ms": {"text": round(answer.text_ms, 3), "scan": round(answer.scan_ms, 3), **(timing or {})},
        "hits": [_hit(hit, kind) for hit in answer.hits],
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
