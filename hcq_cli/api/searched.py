"""What is searched: settings -> an open index or code file, and what encodes texts for it.

Functions, and nothing that lasts: searching.py keeps what they open, and opens it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.search.index import Index
    from hcq_cli.search.query import SearchParams
    from hcq_cli.search.text_encoder import TextEncoder

KINDS = ("videos", "texts")
UNITS = ("video", "segment")
SORTS = ("score", "date", "path", "duration")
CHANGED = ("by", "where", "sort", "offset", "columns", "exact")
"""Settings that an open searcher can go on with (`Searcher.change`)."""


@dataclass(frozen=True)
class SearchSettings:
    """What is searched, and how hard.

    Args:
        index: the index's folder; default: the workspace's.
        codes: a code file to search instead, without an index.
        find: "videos" or "texts"; None for what the index holds.
        checkpoint: the model that encodes the queries; default: the text side in the index, else the model that made
            the codes.
        threads: cores to scan with; default: all.
        nprobe: lists of an IVF index to look into; default: those that come near the best.
        exact: look into all lists.
        device: scan on a device of torch: for many queries.
        many: queries will keep coming, so that preparing for them pays.
        by: "video": each comes once, by its best moment or as a whole; or "segment": the moments of all videos.
        on: "ray", "ray:HOST:PORT" or "ray:local": processes of a Ray cluster scan the index, each a group of its
            segments; a code file has none, and is scanned by this process.
        partial: with `on`, whether an answer that lacks a group is better than none; its note then says so.
        where: a filter over the columns of the index (`hcq_cli.columns.grammar`): only what passes is ranked.
        sort: the order of the hits, one of `SORTS`: the best are found first, and then put in order.
        offset: so many of the best hits are left out.
        columns: what is told of each hit, names of columns of the index.
    """

    index: Path | None = None
    codes: Path | None = None
    find: str | None = None
    checkpoint: Path | None = None
    threads: int | None = None
    nprobe: int | None = None
    exact: bool = False
    device: str | None = None
    many: bool = False
    by: str = "video"
    on: str | None = None
    partial: bool = False
    where: str | None = None
    sort: str = "score"
    offset: int = 0
    columns: Sequence[str] = ()

    def check(self) -> None:
        """Raise UsageError where one of them is not known, or two exclude each other."""
        if self.find not in (None, *KINDS):
            raise UsageError(f"--find {self.find}: it is videos or texts", "hcq query --video FILE --find texts")
        if self.by not in UNITS:
            raise UsageError(f"--by {self.by}: it is {' or '.join(UNITS)}", "hcq query TEXT --by segment")
        if self.codes is not None and self.index is not None:
            raise UsageError("--codes and --index exclude each other")
        if self.nprobe is not None and self.exact:
            raise UsageError("--probe and --exact exclude each other")
        if self.sort not in SORTS:
            raise UsageError(f"--sort {self.sort}: known are {', '.join(SORTS)}")
        if self.offset < 0:
            raise UsageError(f"--offset {self.offset}: hits are counted from 0")
        if self.on is not None:
            from hcq_cli.engines.ray_cluster import address_of

            address_of(self.on)

    @property
    def params(self) -> SearchParams:
        """As the scan takes them."""
        from hcq_cli.cores import cores
        from hcq_cli.search.query import SearchParams

        if self.device:  # it is fed by one core
            return SearchParams(self.nprobe, self.exact, f"torch:{self.device}", by=self.by)
        return SearchParams(self.nprobe, self.exact, by=self.by, threads=self.threads or cores())


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
        threads = wanted.params.threads if wanted.many else 1
        if (exported := collection.text_encoder(lasting=wanted.many, threads=threads)) is not None:
            return exported
    from hcq_cli.search.text_encoder import open_checkpoint_encoder

    if wanted.checkpoint is not None:
        return open_checkpoint_encoder([wanted.checkpoint])
    return open_checkpoint_encoder([*collection.checkpoints, workspace.model], collection.header.model_hash)


def holder_of(item_id: str, collection: Index, workspace: Workspace) -> Index:
    """Where an id lies: in what is searched, or else in the workspace's index of videos or of texts."""
    from hcq_cli.search.examples import locate_moment
    from hcq_cli.search.index import Index

    if locate_moment(collection, item_id)[1]:
        return collection
    for folder in (workspace.index, workspace.texts_index):
        with suppress(NotFoundError):
            other = Index.open(folder)
            if locate_moment(other, item_id)[1]:
                return other
    return collection
