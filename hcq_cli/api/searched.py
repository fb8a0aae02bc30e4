"""What is searched: settings -> an open index or code file, and what encodes texts for it.

Functions, and nothing that lasts: searching.py keeps what they open, and opens it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.search.params import SearchSettings
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.search.index import Index
    from hcq_cli.search.text_encoder import TextEncoder

KINDS = ("videos", "texts")
UNITS = ("video", "segment")
SORTS = ("score", "date", "path", "duration")
CHANGED = ("by", "where", "sort", "offset", "columns", "exact")
"""Settings that an open searcher can go on with (`Searcher.change`)."""


def check_settings(wanted: SearchSettings) -> None:
    """Raise UsageError where a setting is not known, or two exclude each other."""
    if wanted.find not in (None, *KINDS):
        raise UsageError(f"--find {wanted.find}: it is videos or texts", "hcq query --video FILE --find texts")
    if wanted.by not in UNITS:
        raise UsageError(f"--by {wanted.by}: it is {' or '.join(UNITS)}", "hcq query TEXT --by segment")
    if wanted.codes is not None and wanted.index is not None:
        raise UsageError("--codes and --index exclude each other")
    if wanted.nprobe is not None and wanted.exact:
        raise UsageError("--probe and --exact exclude each other")
    if wanted.sort not in SORTS:
        raise UsageError(f"--sort {wanted.sort}: known are {', '.join(SORTS)}")
    if wanted.offset < 0:
        raise UsageError(f"--offset {wanted.offset}: hits are counted from 0")
    if wanted.on is not None:
        from hcq_cli.engines.ray_cluster import address_of

        address_of(wanted.on)


def open_searched(workspace: Workspace, wanted: SearchSettings, engine: ExitStack) -> Index:
    """Open the code file or index asked for, or else the workspace's: that of the videos, or that of the texts.

    Args:
        workspace: whose index it is, where the settings name none.
        wanted: the settings.
        engine: what ends the processes that search elsewhere (`SearchSettings.on`).

    Raises:
        NotFoundError: there is none.
        DamagedError: it is damaged, foreign, or of a newer hcq.
        UsageError: it holds something else than is to be found.
    """
    if wanted.codes is not None:
        from hcq_cli.search.code_file import CodeFileIndex

        opened: Index = CodeFileIndex(wanted.codes)
    elif wanted.index is None and wanted.find == "texts":
        opened = _open_texts(workspace)
    else:
        from hcq_cli.search.index import Index

        opened = Index.open(wanted.index or workspace.index)
    held = opened.header.kind
    if wanted.find is not None and held != wanted.find:
        raise UsageError(f"{opened.path} holds {held}, no {wanted.find}", f"--find {held}")
    if wanted.on is None or wanted.codes is not None:
        return opened
    from hcq_cli.engines.ray_search import search_on_ray

    return engine.enter_context(search_on_ray(wanted.on, opened, partial=wanted.partial))


def _open_texts(workspace: Workspace) -> Index:
    from hcq_cli.search.index import Index

    try:
        return Index.open(workspace.texts_index)
    except NotFoundError:
        first = "" if workspace.texts.is_file() else "hcq encode --texts captions.jsonl, then: "
        message = f"{workspace.texts_index}: no index of sentences there"
        raise NotFoundError(message, f"{first}hcq index build {workspace.texts}") from None


def what_passes(collection: Index, wanted: SearchSettings) -> tuple[Index, Sequence[str]]:
    """What of a collection is searched, by the filter if there is one, and the columns that are told of each hit.

    Raises:
        UsageError: the collection has no columns, or not these; or the filter cannot be read.
    """
    if wanted.where is None and wanted.sort not in ("date", "duration") and not wanted.columns:
        return collection, ()
    if wanted.codes is not None:
        raise UsageError(
            "only an index on this machine has columns to filter or sort by, no code file", "hcq index build"
        )
    from hcq_cli.search.arranging import BY_COLUMN

    columns = collection.columns
    columns.check_names([BY_COLUMN[wanted.sort]] if wanted.sort in BY_COLUMN else [])
    shown = columns.check_names(wanted.columns)
    if wanted.where is None:
        return collection, shown
    from hcq_cli.search.filtered import FilteredIndex

    return FilteredIndex(collection, columns.passing(wanted.where)), shown


def open_encoder(collection: Index, workspace: Workspace, wanted: SearchSettings) -> TextEncoder:
    """What encodes texts: the checkpoint asked for, or the text side of the index, or the codes' model.

    Raises:
        NotFoundError: there is none of them.
    """
    from hcq_cli.search.index import Index

    if wanted.checkpoint is None:
        if collection.header.kind == "texts":  # the index of the videos has the text side of the same model
            with suppress(HcqError):
                videos = Index.open(workspace.index)
                if videos.header.model_hash == collection.header.model_hash:
                    collection = videos
        threads = wanted.cores if wanted.many else 1
        if (exported := collection.text_encoder(lasting=wanted.many, threads=threads)) is not None:
            return exported
    from hcq_cli.search.text_encoder import open_checkpoint_encoder

    if wanted.checkpoint is not None:
        return open_checkpoint_encoder([wanted.checkpoint])
    return open_checkpoint_encoder([*collection.checkpoints, workspace.model], collection.header.model_hash)


def holder_of(item_id: str, collection: Index, workspace: Workspace) -> Index | None:
    """Where an id lies: in what is searched, or else in the workspace's index of videos or of texts; None if nowhere.

    Raises:
        UsageError: several videos may be meant.
    """
    from hcq_cli.search.examples import locate_moment
    from hcq_cli.search.index import Index

    if locate_moment(collection, item_id)[1]:
        return collection
    for folder in (workspace.index, workspace.texts_index):
        with suppress(NotFoundError):
            other = Index.open(folder)
            if locate_moment(other, item_id)[1]:
                return other
    return None
