"""Codes -> an index, and its life: `hcq index build`, `add`, `remove`, `compact`, `info`, `verify`, `export`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.index_sources import caption_queries, columns_source, words_of_collection
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.collection import RemovedVideo, change_collection, read_collection
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.codes.codefile import CodeFile
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.search.faiss_export import FaissExport
    from hcq_cli.search.index import Index
    from hcq_cli.search.index_writer import IndexChange, IndexSources
    from hcq_cli.search.ivf_training import TuningQueries
    from hcq_cli.search.parquet_export import ParquetExport

GUESSED = 5
"""Unknown ids for which the index is looked through for what was meant; a list may name thousands."""


def build_index(
    workspace: Workspace,
    codes: Sequence[Path] = (),
    *,
    index: Path | None = None,
    partitions: int | None = None,
    text_side: str = "auto",
    columns: Path | None = None,
    words: bool = True,
    on: str | None = None,
    features: FeatureStore | None = None,
    progress: Progress = SILENT,
) -> IndexChange:
    """Make an index of code files, in place of the old one.

    Args:
        workspace: whose codes are indexed, and where the index goes.
        codes: code files of one model; default: the workspace's.
        index: its folder; default: the workspace's, of videos or of texts as the codes are.
        partitions: lists that videos lie by, so that a query looks into a few; 0 for none, None for what suits.
        text_side: what queries will be encoded with, without torch: float32, int8 (a quarter of the size) or none;
            auto: int8 where it would be large, float32 where not.
        columns: a table of columns of one's own, for filters (`hcq_cli.columns.own_columns`), or the path `none`;
            default: the one that the index there was made with.
        words: whether what is said, shown and told of the videos can be searched, too: transcripts, subtitles beside
            them, captions of the training, and the names of files and folders.
        on: "ray", "ray:HOST:PORT" or "ray:local": workers of a Ray cluster write the segments, one of a code file
            each; None for this machine.
        features: what knows the videos; default: the workspace's, as it is now.

    Raises:
        NotFoundError, DamagedError: a code file is missing or damaged.
        ModelMismatchError: they are of different models.
        LockedError: another writer is at work.
        HcqError: there is no such cluster, or it cannot do the work.
    """
    from hcq_cli.search.index_writer import build

    def build_anywhere(folder: Path, files: Sequence[CodeFile], sources: IndexSources) -> IndexChange:
        def tuning_queries() -> TuningQueries | None:
            progress.note("choosing which lists a query looks into…")
            return caption_queries(workspace, files[0], progress)

        with ExitStack() as stack:
            elsewhere = None
            if on is not None:
                from hcq_cli.engines.ray_building import segment_writers

                paths = [file.path for file in files]
                elsewhere = stack.enter_context(segment_writers(on, folder, paths, progress.warn))
            return build(folder, files, sources, lists=partitions, queries=tuning_queries, elsewhere=elsewhere)

    return _write(
        workspace,
        build_anywhere,
        codes,
        index=index,
        text_side=text_side,
        table=columns,
        words=words,
        features=features,
        progress=progress,
    )


def add_to_index(
    workspace: Workspace,
    codes: Sequence[Path] = (),
    *,
    index: Path | None = None,
    columns: Path | None = None,
    features: FeatureStore | None = None,
    progress: Progress = SILENT,
) -> IndexChange:
    """Add code files to an index; a video that is there already is replaced, however it was cut in segments.

    Arguments and errors are those of `build_index`; NotFoundError where there is no index yet.
    """
    from hcq_cli.search.index_writer import add

    return _write(workspace, add, codes, index=index, table=columns, features=features, progress=progress)


def remove_from_index(
    workspace: Workspace, ids: Sequence[str], *, index: Path | None = None, progress: Progress = SILENT
) -> IndexChange:
    """Make videos unfindable; ids that are not there are in the result's `unknown`, and warned of with what is near.

    A video that is removed from the workspace's own index is out of its collection: it comes back neither by `encode`
    and `build_index` nor by `extract` of its folder, but by `extract` of its file.

    Args:
        ids: of videos; or their paths, or names without folder or ending.
        index: another index than the workspace's.

    Raises:
        NotFoundError: there is no index.
        UsageError: a name may mean several videos.
        LockedError: another writer is at work.
    """
    from hcq_cli.codes.ids import video_of
    from hcq_cli.search.examples import locate
    from hcq_cli.search.index import Index
    from hcq_cli.search.index_writer import remove
    from hcq_cli.search.meant_ids import did_you_mean, similar_ids

    opened = Index.open(index or workspace.index)
    located = {name: locate(opened, name) for name in dict.fromkeys(ids)}
    found = {id: opened.name(rows[0])[1] for id, rows in located.values() if rows}
    unknown = [name for name, (_, rows) in located.items() if not rows]
    change = replace(remove(opened.path, found), unknown=tuple(unknown))
    if index is None and opened.header.kind == "videos":
        _note_removed(workspace, {video_of(id): path for id, path in found.items()})
    for at, name in enumerate(unknown):
        near = similar_ids(opened.ids(), name) if at < GUESSED else []
        progress.warn(f"{change.index}: holds no {name!r}{did_you_mean(near)}")
    return change


def _note_removed(workspace: Workspace, paths: dict[str, str]) -> None:
    """Note that videos, by id their paths, are out of the collection of the workspace, if it has one."""
    from hcq_cli.features.store import FeatureStore

    try:
        store = FeatureStore.open(workspace.features)
    except NotFoundError:  # the index came from elsewhere
        return
    removed = {}
    for id, path in paths.items():
        known = store.facts_of(id)
        removed[id] = RemovedVideo(known.path, known.content_hash) if known else RemovedVideo(path)
    change_collection(workspace.features, lambda before: replace(before, removed={**before.removed, **removed}))


def compact_index(workspace: Workspace, *, index: Path | None = None, progress: Progress = SILENT) -> IndexChange:
    """Merge an index's segments into one, without what was removed. Raises as `remove_from_index`."""
    from hcq_cli.search.index import Index
    from hcq_cli.search.index_writer import compact

    folder = index or workspace.index
    with progress.progress("compacting", Index.open(folder).rows, "videos") as bar:
        return compact(folder, progress=bar.advance)


def open_index(workspace: Workspace, index: Path | None = None) -> Index:
    """The newest generation of an index, to look into.

    Raises:
        NotFoundError: there is none.
        DamagedError: it is damaged, foreign, or of a newer hcq.
    """
    from hcq_cli.search.index import Index

    return Index.open(index or workspace.index)


def verify_index(workspace: Workspace, *, index: Path | None = None, progress: Progress = SILENT) -> Index:
    """Check every byte of an index against its checksums. Raises DamagedError, or as `open_index`."""
    opened = open_index(workspace, index)
    with progress.progress("verifying", opened.nbytes, "bytes") as bar:
        opened.verify(bar.advance)
    return opened


def export_index(
    workspace: Workspace, output: Path, *, to: str = "faiss", index: Path | None = None, progress: Progress = SILENT
) -> FaissExport:
    """Write an index for another program, after checking every byte of it.

    Args:
        output: the file; ids and a note come beside it.
        to: for which program; faiss (an IndexPQ) is the only one; tables are written by `export_table`.
        index: another index than the workspace's.

    Raises:
        UsageError: there is no such program.
        DamagedError, NotFoundError: as `verify_index`.
    """
    from hcq_cli.search.faiss_export import export_faiss

    if to != "faiss":
        raise UsageError(f"cannot export to {to!r}, only to faiss or parquet", "hcq index export --to faiss -o FILE")
    opened = open_index(workspace, index)
    opened.verify()
    with progress.progress("exporting", opened.rows, "videos") as bar:
        return export_faiss(opened, output, bar.advance)


def export_table(
    workspace: Workspace, output: Path, *, index: Path | None = None, progress: Progress = SILENT
) -> ParquetExport:
    """Write ids, paths, seconds and columns of an index as Parquet (`hcq_cli.search.parquet_export`).

    Args:
        output: the file.
        index: another index than the workspace's.

    Raises:
        NotFoundError: there is no index, or pyarrow is not installed.
        DamagedError: as `verify_index`.
    """
    from hcq_cli.search.parquet_export import export_parquet

    opened = open_index(workspace, index)
    opened.verify()
    with progress.progress("exporting", opened.rows, "videos") as bar:
        return export_parquet(opened, output, bar.advance)


def _write(
    workspace: Workspace,
    action: Callable[[Path, Sequence[CodeFile], IndexSources], IndexChange],
    codes: Sequence[Path],
    *,
    index: Path | None,
    text_side: str = "auto",
    table: Path | None,
    words: bool = True,
    features: FeatureStore | None,
    progress: Progress,
) -> IndexChange:
    """Build or add: open the codes, find the folder and the text side they belong to, and let `action` write."""
    from hcq_cli.codes.codefile import open_codes
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.exported_text_encoder import PRECISIONS
    from hcq_cli.search.index_writer import IndexSources
    from hcq_cli.search.text_side import text_encoder_exporter

    if text_side not in ("auto", *PRECISIONS, "none"):
        raise UsageError(f"--text-side {text_side}: known are auto, {', '.join(PRECISIONS)} and none")
    files = [open_codes(path) for path in codes or [workspace.codes]]
    first, videos = files[0], files[0].header.kind == "videos"
    folder = index or (workspace.index if videos else workspace.texts_index)
    # Codes of the workspace's own videos; what other files hold was put there on purpose.
    own = videos and [file.path for file in files] == [workspace.codes]
    places = [*first.checkpoints, workspace.model]
    exporter = text_encoder_exporter(first.header, places, precision=text_side, codes=first.path, warn=progress.warn)
    if videos and features is None:
        with suppress(NotFoundError):  # an index may be made of code files alone
            features = FeatureStore.open(workspace.features)
    source = columns_source(features, files, folder, table, progress) if videos else None
    with progress.progress("indexing", sum(map(len, files)), "videos") as bar:
        without = read_collection(workspace.features).removed if own else ()
        read = words_of_collection(workspace, first, features, progress) if videos and words else None
        encoding = partial(bar.update, detail="captions and names")
        sources = IndexSources(exporter, without, source, read, progress=bar.advance, encoding=encoding)
        change = action(folder, files, sources)
    if source is not None and source.join is not None and (unused := source.join.unused):
        shown = ", ".join(map(repr, unused[:GUESSED])) + (", …" if len(unused) > GUESSED else "")
        lines = "1 line" if len(unused) == 1 else f"{len(unused):,} lines"
        total = len(source.join.used)
        progress.warn(f"{source.join.own.file}: {lines} of {total:,} name no video of these codes: {shown}")
    if own:
        _warn_of_what_is_newer(workspace, first, features, progress)
    return change


def _warn_of_what_is_newer(
    workspace: Workspace, codes: CodeFile, store: FeatureStore | None, progress: Progress
) -> None:
    """Say so where the workspace's model or features are others by now than those that its codes were made of."""
    from hcq_cli.model.checkpoint import model_hash

    made_by, made_of = codes.header.model_hash, codes.source.get("features")  # codes of an earlier hcq do not say
    with suppress(HcqError):  # there is no model: the codes came from elsewhere
        if (now := model_hash(workspace.model)) != made_by:
            progress.warn(
                f"{codes.path}: made by model {made_by[:12]}, and {workspace.model} has been trained anew since "
                f"(model {now[:12]}): hcq encode, then hcq index build"
            )
    if store is not None and made_of is not None and made_of != store.digest:
        progress.warn(
            f"{codes.path}: made of other features than {workspace.features} holds now: hcq update, or hcq encode "
            "and then hcq index build"
        )
