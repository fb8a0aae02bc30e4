"""A caption file and a feature store together: the data set that a run trains or is measured on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from experts.base import State
from hcq_cli.datasets.captions import Captions, read_captions
from hcq_cli.datasets.matching import MatchResult, match
from hcq_cli.datasets.splits import Split, SplitPositions, split_videos
from hcq_cli.errors import HcqError
from hcq_cli.features.records import state_number
from hcq_cli.printable import counted

if TYPE_CHECKING:  # h5py takes a while to load, and a caption file is checked without a store, too
    from hcq_cli.features.store import FeatureStore

TOKENS = state_number(State.TOKENS)


@dataclass(frozen=True)
class Dataset:
    """Captioned videos with features, in their splits.

    Args:
        splits: "train", "val" and "test"; each may be empty.
        explanation: where the validation videos come from, a sentence.
        warnings: what was left out, a sentence each.
    """

    splits: dict[str, Split]
    explanation: str
    warnings: list[str]

    @property
    def everything(self) -> Split:
        """All splits together."""
        splits = list(self.splits.values())
        captions = [captions for split in splits for captions in split.captions]
        rows, groups = (np.concatenate([getattr(split, name) for split in splits]) for name in ("rows", "groups"))
        return Split(rows, captions, groups)


def has_tokens(store: FeatureStore, rows: NDArray[np.int64], experts: Sequence[str]) -> NDArray[np.bool_]:
    """Which videos have tokens of which expert: bool [rows, experts]."""
    columns = [store.latest(name).state[rows] == TOKENS for name in experts if name in store.experts]
    return np.stack(columns, 1) if columns else np.zeros((len(rows), 0), bool)


def rows_by_id(store: FeatureStore, without: Collection[str]) -> NDArray[np.int64]:
    """Rows of a store in the order of their ids, int64 [N], but for those of the ids `without`.

    Not as they lie in the store, which depends on which worker was done first: the same features give the same
    batches, and with them the same file to the last bit.
    """
    ids = list(store.ids)
    return np.array(sorted((row for row, id in enumerate(ids) if id not in without), key=ids.__getitem__), np.int64)


def load_dataset(store: FeatureStore, captions: Captions) -> Dataset:
    """Match captions with features and split them; videos without any token of any expert are left out.

    Raises:
        HcqError: no captioned video has features.
    """
    found = match(captions, store)
    warnings = [*store.warnings, *filter(None, [captions.left_out]), *found.problems()]
    keep: NDArray[np.bool_] = np.asarray(has_tokens(store, found.rows, list(store.experts)).any(1))
    if not keep.all():
        without = f"{counted(int((~keep).sum()), 'captioned video')} without tokens of any expert left out"
        first = store.ids[int(found.rows[~keep][0])]
        warnings.append(f"{without} (hcq features show ID says why), the first {first!r}")
    if not keep.any():
        raise HcqError(
            f"{captions.path}: of {counted(len(captions.videos), 'video')} in it none has features",
            f"hcq captions check {captions.path}",
        )
    videos = [video for video, kept in zip(found.captioned, keep.tolist(), strict=True) if kept]
    rows = found.rows[keep]
    # A number for each distinct content. Data sets from the web hold the same clip under several names: as each
    # other's negatives the copies would push apart what their features cannot tell apart.
    hashes = [store.facts(int(row)).content_hash for row in rows]
    groups = np.unique(np.array(hashes), return_inverse=True)[1].astype(np.int64)
    positions = split_videos(videos)
    splits = {}
    for name in ("train", "val", "test"):
        at = np.array(getattr(positions, name), np.int64)
        splits[name] = Split(rows[at], [videos[i].captions for i in at], groups[at])
    learned = np.concatenate([splits["train"].groups, splits["val"].groups])
    leaked = int(np.isin(splits["test"].groups, learned).sum())
    if leaked:
        warnings.append(f"{leaked} test videos have the same content as a training video")
    return Dataset(splits, positions.explanation, warnings)


@dataclass(frozen=True)
class CaptionReport:
    """Everything there is to say about a caption file before it is trained on.

    Args:
        captions: what the file holds, and its problems.
        splits: how training would use it (without regard to features).
        match: its videos found in a feature store; None if there was no store to look in.
    """

    captions: Captions
    splits: SplitPositions
    match: MatchResult | None

    @property
    def clean(self) -> bool:
        """Whether every line is right and, if there was a store, every video has features."""
        return not self.captions.errors and not (self.match and self.match.problems())


def check_captions(path: Path, store: FeatureStore | None = None) -> CaptionReport:
    """Read a caption file and look its videos up in a feature store.

    Raises:
        NotFoundError, UsageError, DamagedError: see `read_captions`.
    """
    captions = read_captions(path)
    found = match(captions, store) if store is not None else None
    return CaptionReport(captions, split_videos(captions.videos), found)
