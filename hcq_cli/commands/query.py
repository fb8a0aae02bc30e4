"""hcq query: ranked videos for a text, for each line of standard input, or for a video like one of them."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.console import printable
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.search.query import Answer, Collection
    from hcq_cli.search.tower import TextTower

EXAMPLES = [
    "hcq query a man cooking",
    'hcq query "a dog in the snow" -k 3 --json',
    "hcq query - < queries.txt --json",
    "hcq query --like holiday/beach.mp4",
    'hcq query "a red ball" --codes codes.hcq',
    'hcq query "a red ball" --exact',
]
QUERIES_AT_ONCE = 64


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    command(app, "query", panel=VERBS, examples=EXAMPLES)(query)


def query(
    session: Session,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT… | -", help="What to look for; `-` reads a query a line.")
    ] = None,
    like: Annotated[
        str | None, typer.Option("--like", metavar="ID", help="Find videos like this indexed one.")
    ] = None,
    codes: Annotated[
        Path | None, typer.Option("--codes", metavar="FILE", help="Search a code file, without an index.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option("--index", metavar="DIR", help="The index (default: the workspace's).")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many hits.")] = 10,
    ckpt: Annotated[
        Path | None,
        typer.Option("--ckpt", metavar="DIR", help="The checkpoint (default: the one that made the codes)."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Cores to scan with (default: all).")
    ] = None,
    probe: Annotated[
        int | None,
        typer.Option("--probe", metavar="N", min=1, help="Lists of a partitioned index to look into."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Look into all lists of a partitioned index.")] = False,
    device: Annotated[
        str | None, typer.Option("--device", metavar="cuda", help="Scan on a device of torch: for many queries.")
    ] = None,
) -> None:
    """Find the videos that fit a text, best first."""
    from hcq_cli.search.kernel import default_threads
    from hcq_cli.search.probing import Reach
    from hcq_cli.search.query import search_like, search_texts

    words = text or []
    if bool(words) == (like is not None):
        raise UsageError("give either a text or --like ID", 'hcq query "a man cooking"')
    if words and not " ".join(words).strip():
        raise UsageError("the query is empty", 'hcq query "a man cooking"')
    if probe is not None and exact:
        raise UsageError("--probe and --exact exclude each other")
    reach = Reach(probe, exact, f"torch:{device}" if device else None)
    collection = _open(session, codes, index)
    cores = 1 if device else threads or default_threads()
    if like is not None:
        _print(session, collection, search_like(collection, like, k, threads=cores, reach=reach), {"like": like})
        return
    tower = _tower(session, collection, ckpt, cores if words == ["-"] else 0)
    if words != ["-"]:
        _print(
            session, collection, search_texts(collection, tower, [" ".join(words)], k, threads=cores, reach=reach)[0]
        )
        return
    read_any = False
    for queries in _lines():
        read_any = True
        for answer in search_texts(collection, tower, queries, k, threads=cores, reach=reach):
            _print(session, collection, answer, heading=True)
    if not read_any:
        raise UsageError("no query on standard input", 'echo "a man cooking" | hcq query -')


def _open(session: Session, codes: Path | None, index: Path | None) -> Collection:
    if codes is not None and index is not None:
        raise UsageError("--codes and --index exclude each other")
    if codes is not None:
        from hcq_cli.search.query import CodeFileCollection

        return CodeFileCollection(codes)
    from hcq_cli.search.index import Index

    return Index.open(index or session.workspace.index)


def _tower(session: Session, collection: Collection, ckpt: Path | None, cores: int) -> TextTower:
    """What encodes the queries: with `cores` many of them, with 0 a single one."""
    from hcq_cli.search.tower import open_tower, tower_of

    if ckpt is not None:
        return open_tower([ckpt])
    return tower_of(collection, [session.workspace.model], lasting=cores > 0, threads=max(cores, 1))


def _lines() -> Iterator[list[str]]:
    """Lines of standard input as they come, blank ones left out: what is waiting together is answered together."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    while True:
        read = os.read(sys.stdin.fileno(), 1 << 16)
        rest += decoder.decode(read, final=not read)
        *lines, rest = rest.split("\n") if read else [*rest.split("\n"), ""]
        wanted = [line.strip() for line in lines if line.strip()]
        for at in range(0, len(wanted), QUERIES_AT_ONCE):
            yield wanted[at : at + QUERIES_AT_ONCE]
        if not read:
            return


def _print(
    session: Session,
    collection: Collection,
    answer: Answer,
    more: dict[str, Any] | None = None,
    *,
    heading: bool = False,
) -> None:
    hits = [{"rank": hit.rank, "score": hit.score, "id": hit.id, "path": hit.path} for hit in answer.hits]
    document = {
        "query": answer.query,
        **(more or {}),
        "index": collection.path,
        "videos_searched": answer.videos_searched,
        "ms": {"text": round(answer.text_ms, 3), "scan": round(answer.scan_ms, 3)},
        "hits": hits,
    }

    def human() -> None:
        if heading:
            session.console.text(printable(answer.query), style="bold")
        rows = [(hit.rank, f"{hit.score:.3f}", hit.id, _shortened(hit.path)) for hit in answer.hits]
        session.console.table(
            ["rank", "score", "video", "path"],
            rows,
        )
        timing = f"text {answer.text_ms:.0f} ms, scan {answer.scan_ms:.1f} ms"
        session.console.note(f"{answer.videos_searched:,} videos searched ({timing})")

    session.console.result(document, human)


def _shortened(path: str) -> str:
    """A path as seen from the current folder or from home, where that is shorter."""
    home = str(Path.home())
    inside = path == home or path.startswith(home + os.sep)
    candidates = [path, "~" + path[len(home) :] if inside else path]
    if Path(path).is_absolute():
        candidates.append(os.path.relpath(path))
    return min(candidates, key=len)
