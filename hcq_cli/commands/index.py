"""hcq index: build, add, remove, compact, info, verify, export."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.errors import EXIT_SOME_FAILED, HcqError, UsageError

if TYPE_CHECKING:
    from hcq_cli.codes.codefile import CodeFile
    from hcq_cli.search.index import Index
    from hcq_cli.search.index_writer import IndexChange
    from hcq_cli.search.ivf import InvertedLists
    from hcq_cli.search.ivf_training import TuningQueries

SEARCH_TEXTS = "search it: hcq query --video FILE --find texts"
GUESSED = 5
"""Unknown ids for which the index is looked through for what was meant; a list may name thousands."""
OUTGROWN = 2
"""How many times the videos that its lists were made for an index holds before `info` says so."""
CodesArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[CODES]…", help="Code files (default: the workspace's).")
]
TextSideOption = Annotated[
    str,
    typer.Option(
        "--text-side",
        metavar="float32|int8|none",
        help="What queries are encoded with, without torch: exact, a quarter of the size, or nothing.",
    ),
]
IndexOption = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="The index (default: the workspace's).")
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
        ],
        add: ["hcq index add new.hcq"],
        remove: ["hcq index remove holiday/beach.mp4"],
        compact: ["hcq index compact"],
        info: ["hcq index info --json"],
        verify: ["hcq index verify"],
        export: ["hcq index export --to faiss -o videos.faiss"],
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
    text_side: TextSideOption = "float32",
) -> None:
    """Make a searchable index of code files, in place of the old one."""
    from hcq_cli.search.index_writer import build as build_index

    paths = codes or [session.workspace.codes]
    queries = partial(_captions, session, paths[0])
    action = partial(build_index, partitions=_lists(partitions), queries=queries)
    _write(session, action, paths, index, text_side)


def _captions(session: Session, codes: Path) -> TuningQueries | None:
    from hcq_cli.codes.codefile import open_codes

    session.console.note("choosing which lists a query looks into…")
    return caption_queries_of(session, open_codes(codes))


def caption_queries_of(session: Session, file: CodeFile) -> TuningQueries | None:
    """The workspace's captions as the codes' model sees them; None where there are none, or no such model."""
    from hcq_cli.datasets.captions import read_captions
    from hcq_cli.search.ivf_training import caption_queries
    from hcq_cli.search.text_encoder import open_checkpoint_encoder

    if file.header.kind != "videos" or not session.workspace.captions.is_file():
        return None
    try:
        tower = open_checkpoint_encoder([*file.checkpoints, session.workspace.model], file.header.model_hash)
        if tower.hash != file.header.model_hash:
            return None
        return caption_queries(read_captions(session.workspace.captions), tower)
    except HcqError as error:
        session.console.warn(f"the workspace's captions cannot be asked: {error.message}")
        return None


def _lists(partitions: str) -> int | None:
    if partitions in ("auto", "none"):
        return None if partitions == "auto" else 0
    if not partitions.isascii() or not partitions.isdigit():
        raise UsageError(
            f"--partitions {partitions!r} is no number", "--partitions auto, none, or as many as you like"
        )
    return int(partitions)


def add(session: Session, codes: CodesArgument = None, index: IndexOption = None) -> None:
    """Add code files to the index; a video that is there already is replaced, however it was cut in stretches."""
    from hcq_cli.search.index_writer import add as add_codes

    _write(session, add_codes, codes, index)


def _write(
    session: Session,
    action: Callable[..., IndexChange],
    codes: list[Path] | None,
    index: Path | None,
    text_side: str = "float32",
) -> None:
    from hcq_cli.codes.codefile import open_codes
    from hcq_cli.model.exported_tower import PRECISIONS
    from hcq_cli.search.text_encoder_export import text_encoder_exporter

    if text_side not in (*PRECISIONS, "none"):
        raise UsageError(f"--text-side {text_side}: known are {', '.join(PRECISIONS)} and none")
    paths = codes or [session.workspace.codes]
    started = time.perf_counter()
    files = [open_codes(path) for path in paths]
    texts = files[0].header.kind == "texts"
    folder = index or (session.workspace.texts_index if texts else session.workspace.index)
    tower = text_encoder_exporter(
        files[0].header,
        [*files[0].checkpoints, session.workspace.model],
        precision=text_side,
        codes=paths[0],
        warn=session.console.warn,
    )
    with session.console.progress("indexing", sum(map(len, files)), "videos") as task:
        change: IndexChange = action(folder, paths, progress=task.advance, text_encoder=tower)
    if paths == [session.workspace.codes]:
        _warn_of_another_model(session, paths[0], files[0].header.model_hash)
    _report(session, change, time.perf_counter() - started, files[0].header.kind)


def _warn_of_another_model(session: Session, codes: Path, model: str) -> None:
    """Say so where the workspace's model was trained anew and the videos were not encoded since."""
    from hcq_cli.model.checkpoint import model_hash

    try:
        now = model_hash(session.workspace.model)
    except HcqError:  # there is no model: the codes came from elsewhere
        return
    if now != model:
        session.console.warn(
            f"{codes}: made by model {model[:12]}, and {session.workspace.model} has been trained anew since "
            f"(model {now[:12]}): hcq encode, then hcq index build"
        )


def _report(session: Session, change: IndexChange, seconds: float, kind: str = "videos") -> None:
    document = {
        "index": change.index,
        "generation": change.generation,
        "videos": change.videos,
        "added": change.added,
        "removed": change.removed,
        "segments": change.segments,
        "seconds": seconds,
    }
    replaced = f", {change.removed:,} replaced" if change.removed else ""

    def human() -> None:
        session.console.text(f"{change.index}: {change.videos:,} {kind} ({change.added:,} added{replaced})")
        session.console.note('search it: hcq query "…"' if kind == "videos" else SEARCH_TEXTS)

    session.console.result(document, human)


def remove(
    session: Session,
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids as `hcq query` prints them.")],
    index: IndexOption = None,
) -> None:
    """Make videos unfindable."""
    from hcq_cli.codes.ids import did_you_mean, similar_ids
    from hcq_cli.search.index import Index
    from hcq_cli.search.index_writer import remove as remove_ids

    change = remove_ids(index or session.workspace.index, ids)
    opened = Index.open(change.index) if change.unknown else None
    for at, unknown in enumerate(change.unknown):
        near = similar_ids(opened.names(), unknown) if opened is not None and at < GUESSED else []
        session.console.warn(f"{change.index}: holds no {unknown!r}{did_you_mean(near)}")
    document = {
        "index": change.index,
        "generation": change.generation,
        "videos": change.videos,
        "removed": change.removed,
        "unknown": list(change.unknown),
    }
    line = f"{change.index}: {change.removed:,} removed, {change.videos:,} videos left"
    session.console.result(document, lambda: session.console.text(line))
    if change.unknown:
        raise typer.Exit(EXIT_SOME_FAILED)


def compact(session: Session, index: IndexOption = None) -> None:
    """Merge the segments into one, without what was removed."""
    from hcq_cli.search.index import Index
    from hcq_cli.search.index_writer import compact as compact_index

    folder = index or session.workspace.index
    started = time.perf_counter()
    with session.console.progress("compacting", Index.open(folder).videos, "videos") as task:
        change = compact_index(folder, progress=task.advance)
    _report(session, change, time.perf_counter() - started)


def info(session: Session, index: IndexOption = None) -> None:
    """Say what the index holds."""
    from hcq_cli.search.index import VERSION, Index

    opened = Index.open(index or session.workspace.index)
    known, header, partition = opened.info(), opened.header, opened.ivf
    document = {
        "index": opened.path,
        "videos": known.videos,
        "stretches": known.stretches,
        "removed": known.removed,
        "segments": known.segments,
        "bytes_per_video": known.bytes_per_video,
        "partitions": partition.lists if partition else 0,
        "model": header.model_hash,
        "format": VERSION,
        "kind": header.kind,
        "levels": header.levels,
        "codebooks": header.M,
        "codewords": header.K,
        "width": header.D,
        "checkpoint": header.checkpoint,
        "generation": known.generation,
        "disk_bytes": known.disk_bytes,
        **_tuning(partition),
        "text_side": _text_side(opened),
    }

    def human() -> None:
        rows = [
            (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
            for name, value in document.items()
            if name != "text_side"
        ]
        rows += [(f"text side {name}".replace("_", " "), value) for name, value in _text_side(opened).items()]
        session.console.table(["", ""], rows)
        measured = partition.tuning.videos if partition and partition.tuning else 0
        if measured and known.videos > OUTGROWN * measured:
            session.console.note(f"the lists were made for {measured:,} videos: hcq index build makes them anew")

    session.console.result(document, human)


def _text_side(index: Index) -> dict[str, Any]:
    """What the index holds of the model, and how that was measured against it."""
    tower = index.content.text_encoder
    return {"precision": "none"} if tower is None else {"precision": tower.precision, **tower.checked}


def _tuning(partition: InvertedLists | None) -> dict[str, Any]:
    """How many lists a query looks into on average, and what that was worth when the index was built."""
    if partition is None or partition.tuning is None:
        return {}
    tuning = partition.tuning
    return {
        "probe": tuning.probe,
        "recall": round(tuning.recall, 4),
        "recall_of_top": tuning.hits,
        "recall_measured_on": f"{tuning.queries} {tuning.source}",
        "recall_measured_at": tuning.videos,
        "videos_scanned": f"{tuning.scanned:.2%}",
    }


def verify(session: Session, index: IndexOption = None) -> None:
    """Check every byte of the index against its checksums."""
    from hcq_cli.search.index import Index

    opened = Index.open(index or session.workspace.index)
    with session.console.progress("verifying", opened.nbytes, "bytes") as task:
        opened.verify(task.advance)
    document = {"index": opened.path, "videos": opened.videos, "segments": len(opened.segments), "ok": True}
    line = f"{opened.path}: {opened.videos:,} videos in {len(opened.segments)} segments, all sound"
    session.console.result(document, lambda: session.console.text(line))


def export(
    session: Session,
    to: Annotated[str, typer.Option("--to", metavar="faiss", help="For which program.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Ids and a note come beside it.")],
    index: IndexOption = None,
) -> None:
    """Write the index for another program: an IndexPQ that Faiss reads, with the ids of its rows."""
    from hcq_cli.search.faiss_export import export_faiss
    from hcq_cli.search.index import Index

    if to != "faiss":
        raise UsageError(f"cannot export to {to!r}", "hcq index export --to faiss -o FILE")
    opened = Index.open(index or session.workspace.index)
    opened.verify()
    with session.console.progress("exporting", opened.videos, "videos") as task:
        done = export_faiss(opened, output, task.advance)
    document = {
        "index": opened.path,
        "output": done.path,
        "ids": done.ids,
        "about": done.about,
        "videos": done.videos,
        "dimensions": done.dimensions,
    }

    def human() -> None:
        session.console.text(f"{done.path}: {done.videos:,} videos, for faiss.read_index")
        session.console.text(f"{done.ids}: a line of JSON [id, path] for each of its rows")
        session.console.note(f"a query is its {opened.header.levels} level vectors in a row ({done.about})")

    session.console.result(document, human)
