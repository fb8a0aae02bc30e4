"""What an index is made of besides codes: columns of its videos, their words, and captions to tune its lists with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.errors import DamagedError, HcqError, NotFoundError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.codes.codefile import CodeFile
    from hcq_cli.columns.own_columns import OwnColumns
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.search.index import Index
    from hcq_cli.search.ivf_training import TuningQueries
    from hcq_cli.search.segment_columns import ColumnsSource
    from hcq_cli.words.gathering import CollectionWords


def columns_source(
    store: FeatureStore | None, files: Sequence[CodeFile], folder: Path, table: Path | None, progress: Progress
) -> ColumnsSource:
    """Where the columns of the videos of code files come from: their features, and the user's own table.

    Args:
        store: what knows the videos; None where nothing does.
        files: of the videos.
        table: the user's own; None for the one that the index has, `none` for none.
        progress: for warnings.
    """
    from hcq_cli.columns.own_columns import Join, read_own_columns
    from hcq_cli.search.segment_columns import ColumnsSource

    own = _kept_table(folder, progress) if table is None and folder.exists() else None
    if table is not None and str(table) != "none":
        own = read_own_columns(table)
    join = None if own is None else Join(own, lambda: (ids for file in files for _, ids, _ in file.batches()))
    return ColumnsSource(store, own, join)


def _kept_table(folder: Path, progress: Progress) -> OwnColumns | None:
    """The user's own columns of the index that is there: its table as it is now, or the copy where that is gone."""
    from hcq_cli.columns.own_columns import read_own_columns
    from hcq_cli.search.index import Index

    try:
        kept = Index.open(folder).own_columns()
    except (NotFoundError, DamagedError):
        return None
    if kept is None:
        return None
    try:
        return read_own_columns(Path(kept.file))
    except NotFoundError:
        progress.note(f"{kept.file}: is not there; the columns are those that the index holds of it")
    except UsageError as error:
        progress.warn(f"{error.message}; the columns are those that the index holds of it")
    return kept


def table_has_changed(index: Index) -> bool:
    """Whether the user's own table, which an index has columns of, holds something else by now."""
    from hcq_cli.files import digest_file

    kept = index.own_columns()
    if kept is None or not Path(kept.file).is_file():
        return False
    return digest_file(Path(kept.file)) != kept.digest


def words_of_collection(
    workspace: Workspace, codes: CodeFile, store: FeatureStore | None, progress: Progress = SILENT
) -> CollectionWords | None:
    """Where the words of a workspace's videos come from; None where this Python's SQLite cannot search texts.

    Args:
        codes: of the videos: the model that made them knows what captions it was trained with.
        store: whose transcripts they are; None where there are no features.
    """
    from hcq_cli.model.checkpoint import read_header
    from hcq_cli.words.gathering import CollectionWords
    from hcq_cli.words.table import is_available

    if not is_available():
        reason = "the SQLite of this Python has no FTS5, which words are searched with"
        progress.warn(f"{reason}: exact words will not be found")
        return None
    captions = [workspace.captions.resolve()]
    for checkpoint in codes.checkpoints:
        with suppress(HcqError):
            trained_with = read_header(checkpoint).about.get("captions")
            captions += [Path(trained_with)] if isinstance(trained_with, str) else []
            break
    return CollectionWords(store, captions, progress.warn)


def caption_queries(workspace: Workspace, file: CodeFile, progress: Progress = SILENT) -> TuningQueries | None:
    """The workspace's captions as the codes' model sees them: what lists are tuned with, and searches timed with.

    Returns:
        None where there are no captions, or no such model.
    """
    from hcq_cli.datasets.captions import read_captions
    from hcq_cli.search import ivf_training
    from hcq_cli.search.text_encoder import open_checkpoint_encoder

    if file.header.kind != "videos" or not workspace.captions.is_file():
        return None
    try:
        encoder = open_checkpoint_encoder([*file.checkpoints, workspace.model], file.header.model_hash)
        if encoder.hash != file.header.model_hash:
            return None
        return ivf_training.caption_queries(read_captions(workspace.captions), encoder)
    except HcqError as error:
        progress.warn(f"the workspace's captions cannot be asked: {error.message}")
        return None
