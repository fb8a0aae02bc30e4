"""How a search is asked for: by the scan (`SearchParams`), and by a person or a program (`SearchSettings`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hcq_cli.cores import cores


@dataclass(frozen=True, kw_only=True)
class SearchParams:
    """How far a search looks, what with, and what a hit is.

    Args:
        by: "video": each comes once, by its best moment or as a whole; or "segment": the moments of all videos.
        nprobe: lists of an IVF index to look into; default: those that come near the best.
        exact: look into all lists.
        threads: cores to scan with; default: all.
        device: scan on a device of torch: for many queries.
    """

    by: str = "video"
    nprobe: int | None = None
    exact: bool = False
    threads: int | None = None
    device: str | None = None

    @property
    def kernel(self) -> str | None:
        """The name of what scans; None for the fastest of this machine."""
        return f"torch:{self.device}" if self.device else None

    @property
    def cores(self) -> int:
        """How many are used: a device is fed by one."""
        return 1 if self.device else self.threads or cores()


@dataclass(frozen=True)
class SearchSettings(SearchParams):
    """What is searched and shown, and how (`SearchParams`).

    Args:
        index: the index's folder; default: the workspace's.
        codes: a code file to search instead, without an index.
        find: "videos" or "texts"; None for what the index holds.
        checkpoint: the model that encodes the queries; default: the text side in the index, else the model that made
            the codes.
        many: queries will keep coming, so that preparing for them pays.
        on: "ray", "ray:HOST:PORT" or "ray:local": processes of a Ray cluster scan the index, each a group of its
            segments; a code file has none, and is scanned by this process.
        partial: with `on`, whether an answer that lacks a group is better than none; its note then says so.
        where: a filter over the columns of the index (`hcq_cli.columns.grammar`): only what passes is ranked.
        sort: the order of the hits, one of `api.searched.SORTS`: the best are found first, and then put in order.
        offset: so many of the best hits are left out.
        columns: what is told of each hit, names of columns of the index.
    """

    index: Path | None = None
    codes: Path | None = None
    find: str | None = None
    checkpoint: Path | None = None
    many: bool = False
    on: str | None = None
    partial: bool = False
    where: str | None = None
    sort: str = "score"
    offset: int = 0
    columns: Sequence[str] = ()
