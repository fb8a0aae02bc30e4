"""hcq index: build, add, remove, compact, info, verify, export."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import VERBS, IndexOption, Session, command
from hcq_cli.console import Console, counted
from hcq_cli.errors import EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from hcq_cli.search.index import Index
    from hcq_cli.search.index_writer import IndexChange
    from hcq_cli.search.ivf import InvertedLists

SEARCH_TEXTS = "search it: hcq query --video FILE --find texts"
OUTGROWN = 2
"""How many times the videos that its lists were made for an index holds before `info` says so."""
CodesArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[CODES]…", help="Code files (default: the workspace's).")
]
TextSideOption = Annotated[
    str,
    typer.Option(
        "--text-side",
        metavar="auto|float32|int8|none",
        help="What queries are encoded with, without torch: exact, a quarter of the size, or nothing (auto: exact, "
        "but for the large networks of dual encoders).",
    ),
]
ColumnsOption = Annotated[
    Path | None,
    typer.Option(
        "--columns",
        metavar="FILE",
        help="Columns of your own to filter by: CSV, JSON Lines or Parquet with a column `video`. Remembered; `none` "
        "forgets them.",
    ),
]


def register(app: typer.Typer) -> None:
    """Put the command group on the command line."""
    group = typer.Typer(
        no_args_is_help=True, help="Make an index of codes, and look after it.", rich_markup_mode="rich"
    )
    examples: dict[Callable[..., None], list[str]] = {
        build: [
            "hcq index build",
            "hcq index build a.hcq b.hcq --index both --partitions 1024",
            "hcq index build --text-side int8",
            "hcq index build .hcq/texts.hcq",
            "hcq index build --columns ratings.csv",
            "hcq index build a.hcq b.hcq c.hcq --on ray  # on a machine of a Ray cluster",
        ],
        add: ["hcq index add new.hcq"],
        remove: ["hcq index remove holiday/beach.mp4"],
        compact: ["hcq index compact"],
        info: ["hcq index info --json"],
        verify: ["hcq index verify"],
        export: ["hcq index export --to faiss -o videos.faiss", "hcq index export --to parquet -o videos.parquet"],
    }
    for function, lines in examples.items():
        command(group, function.__name__, examples=lines)(function)
    app.add_typer(group, name="index", rich_help_panel=VERBS)


def build(
    session: Session,
    codes: CodesArgument = None,
    index: IndexOption = None,
    partitions: Annotated[
        str,
        typer.Option(
            metavar="auto|none|N",
            help="Lists that videos lie by, so that a query looks into a few (auto: from 100,000 videos on).",
        ),
    ] = "auto",
    text_side: TextSideOption = "auto",
    columns: ColumnsOption = None,
    words: Annotated[
        bool,
        typer.Option(
            "--words/--no-words",
            help="Whether what is said and shown can be searched, too: transcripts, subtitles beside the videos, "
            "captions of the training, names of files.",
        ),
    ] = True,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="ray[:ADDRESS]", help="Workers on a Ray cluster, a code file at a time each.", show_default=False
        ),
    ] = None,
) -> None:
    """Make a searchable index of code files, in place of the old one."""
    started = time.perf_counter()
    change = api.build_index(
        session.workspace,
        codes or (),
        index=index,
        partitions=_lists(partitions),
        text_side=text_side,
        columns=columns,
        words=words,
        on=on,
        progress=session.console,
    )
    _report(session, change, time.perf_counter() - started)


def _lists(partitions: str) -> int | None:
    """The number of lists that --partitions asks for; None for what suits."""
    if partitions in ("auto", "none"):
        return None if partitions == "auto" else 0
    if not partitions.isascii() or not partitions.isdigit():
        raise UsageError(
            f"--partitions {partitions!r} is no number", "--partitions auto, none, or as many as you like"
        )
    return int(partitions)


def add(
    session: Session, codes: CodesArgument = None, index: IndexOption = None, columns: ColumnsOption = None
) -> None:
    """Add code files to the index; a video that is there already is replaced, however it was cut in segments."""
    started = time.perf_counter()
    change = api.add_to_index(session.workspace, codes or (), index=index, columns=columns, progress=session.console)
    _report(session, change, time.perf_counter() - started)


def _report(session: Session, change: IndexChange, seconds: float) -> None:
    kind = change.kind
    replaced = f", {change.removed:,} replaced" if change.removed else ""

    def human() -> None:
        moments = f", {counted(change.rows - change.videos, 'moment')}" if change.rows > change.videos else ""
        held = counted(change.videos, kind.removesuffix("s"))
        session.console.text(f"{change.index}: {held}{moments} ({change.added:,} added{replaced})")
        session.console.note('search it: hcq query "…"' if kind == "videos" else SEARCH_TEXTS)

    session.console.result({**index_document(change), "seconds": seconds}, human)


def index_document(change: IndexChange) -> dict[str, Any]:
    """What a writer of an index did, as --json prints it."""
    return {name: value for name, value in vars(change).items() if name not in ("unknown", "kind")}


def remove(
    session: Session,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID…", help="Ids or paths as `hcq query` prints them, or short names.")
    ],
    index: IndexOption = None,
) -> None:
    """Make videos unfindable, for good: neither encode nor index build brings them back, but extract of the file."""
    change = api.remove_from_index(session.workspace, ids, index=index, progress=session.console)
    document = {
        "index": change.index,
        "generation": change.generation,
        "videos": change.videos,
        "removed": change.removed,
        "unknown": list(change.unknown),
    }
    line = f"{change.index}: {change.removed:,} removed, {counted(change.videos, 'video')} left"
    session.console.result(document, lambda: session.console.text(line))
    if change.unknown:
        raise typer.Exit(EXIT_SOME_FAILED)


def compact(session: Session, index: IndexOption = None) -> None:
    """Merge the segments into one, without what was removed."""
    started = time.perf_counter()
    change = api.compact_index(session.workspace, index=index, progress=session.console)
    _report(session, change, time.perf_counter() - started)


def info(session: Session, index: IndexOption = None) -> None:
    """Say what the index holds."""
    opened = api.open_index(session.workspace, index)
    document = _facts(opened)
    session.console.result(document, lambda: _print_facts(session.console, opened, document))


def _facts(opened: Index) -> dict[str, Any]:
    """What an index holds, as `hcq index info --json` has it."""
    header, partition, side = opened.header, opened.ivf, opened.manifest.text_encoder
    return {
        "index": opened.path,
        "videos": opened.videos,
        "rows": opened.rows,
        "moments": opened.video_segments,
        "removed": opened.removed,
        "segments": len(opened.segments),
        "sentences": opened.sentences,
        "bytes_per_video": header.S,
        "partitions": partition.lists if partition else 0,
        "model": header.model_hash,
        "format": opened.format_version,
        "kind": header.kind,
        "levels": header.levels,
        "codebooks": header.M,
        "codewords": header.K,
        "width": header.D,
        "checkpoint": header.checkpoint,
        "generation": opened.generation,
        "disk_bytes": opened.disk_bytes,
        **_tuning(partition),
        **({"drift": opened.drift} if opened.drift is not None else {}),
        "columns": ", ".join(f"{name} ({kind})" for name, kind in opened.columns.kinds.items()),
        # What the index holds of the model, and how that was measured against it.
        "text_side": {"precision": side.precision, **side.checked} if side else {"precision": "none"},
    }


def _print_facts(console: Console, opened: Index, facts: dict[str, Any]) -> None:
    """What an index holds, for people, and what of it is no longer as it should be."""
    rows = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
        for name, value in facts.items()
        if name != "text_side"
    ]
    rows += [(f"text side {name}".replace("_", " "), value) for name, value in facts["text_side"].items()]
    console.table(["", ""], rows)
    measured = opened.ivf.tuning.videos if opened.ivf and opened.ivf.tuning else 0
    if measured and opened.rows > OUTGROWN * measured:
        console.note(f"the lists were made for {measured:,} videos: hcq index build makes them anew")
    if opened.needs_refit:
        console.note(
            "refit: the model knows these videos far less well than those that it was made of: hcq fit with the same "
            "sources, or hcq train with captions of these; then hcq encode, hcq index build"
        )


def _tuning(partition: InvertedLists | None) -> dict[str, Any]:
    """How many lists a query looks into on average, and what that was worth when the index was built."""
    if partition is None or partition.tuning is None:
        return {}
    tuning = partition.tuning
    return {
        "probe": tuning.nprobe,
        "recall": round(tuning.recall, 4),
        "recall_of_top": tuning.hits,
        "recall_measured_on": f"{tuning.queries} {tuning.source}",
        "recall_measured_at": tuning.videos,
        "videos_scanned": f"{tuning.scanned:.2%}",
    }


def verify(session: Session, index: IndexOption = None) -> None:
    """Check every byte of the index against its checksums."""
    opened = api.verify_index(session.workspace, index=index, progress=session.console)
    held = {"videos": opened.videos, "rows": opened.rows, "segments": len(opened.segments)}
    document = {"index": opened.path, **held, "ok": True}
    segments = counted(len(opened.segments), "segment")
    line = f"{opened.path}: {counted(opened.videos, 'video')} in {segments}, all sound"
    session.console.result(document, lambda: session.console.text(line))


def export(
    session: Session,
    to: Annotated[str, typer.Option("--to", metavar="faiss|parquet", help="What to write.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="For faiss, ids and a note come beside it.")
    ],
    index: IndexOption = None,
) -> None:
    """Write the index for another program: its codes as an IndexPQ that Faiss reads, with the ids of its rows; or
    ids, paths, seconds and columns as a table that pandas and DuckDB read."""
    document: dict[str, Any] = {"index": index or session.workspace.index, "output": output}
    if to == "parquet":
        table = api.export_table(session.workspace, output, index=index, progress=session.console)
        document |= {"videos": table.videos, "rows": table.rows, "columns": list(table.columns)}
        line = f"{output}: {table.rows:,} rows of {len(table.columns)} columns"
        session.console.result(document, lambda: session.console.text(line))
        return
    done = api.export_index(session.workspace, output, to=to, index=index, progress=session.console)
    document |= {"ids": done.ids, "about": done.about, "videos": done.videos, "dimensions": done.dimensions}

    def human() -> None:
        session.console.text(f"{done.path}: {counted(done.videos, 'video')}, for faiss.read_index")
        session.console.text(f"{done.ids}: a line of JSON [id, path] for each of its rows")
        session.console.note(f"a query is its {done.levels} level vectors in a row ({done.about})")

    session.console.result(document, human)
