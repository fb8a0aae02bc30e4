"""From a feature store and a caption file to what a run trains or is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experts.base import State
from hcq_cli.datasets.captions import Captions
from hcq_cli.datasets.matching import Match, match
from hcq_cli.datasets.parts import Part
from hcq_cli.datasets.splits import split_videos
from hcq_cli.errors import HcqError
from hcq_cli.features.records import state_number
from hcq_cli.features.store import FeatureStore

TOKENS = state_number(State.TOKENS)


@dataclass(frozen=True)
class Collection:
    """Captioned videos with features, in their splits.

    Args:
        parts: "train", "val" and "test"; each may be empty.
        explanation: where the validation videos come from, a sentence.
        warnings: what was left out, a sentence each.
    """

    parts: dict[str, Part]
    explanation: str
    warnings: list[str]

    @property
    def everything(self) -> Part:
        """All parts together."""
        parts = list(self.parts.values())
        rows, groups = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "groups"))
        return Part(rows, [captions for part in parts for captions in part.captions], groups)


def has_tokens(store: FeatureStore, rows: NDArray[np.int64], experts: Sequence[str]) -> NDArray[np.bool_]:
    """Which videos have tokens of which expert: bool [rows, experts]."""
    columns = [store.latest(name).state[rows] == TOKENS for name in experts if name in store.experts]
    return np.stack(columns, 1) if columns else np.zeros((len(rows), 0), bool)


def collect(store: FeatureStore, captions: Captions) -> Collection:
    """Match captions with features and split them; videos without any token of any expert are left out.

    Raises:
        HcqError: no captioned video has features.
    """
    found = match(captions, store)
    warnings = [*store.warnings, *_caption_warnings(captions), *found.problems()]
    keep: NDArray[np.bool_] = np.asarray(has_tokens(store, found.rows, list(store.experts)).any(1))
    if not keep.all():
        warnings.append(f"{int((~keep).sum())} captioned videos have no tokens of any expert and are left out")
    if not keep.any():
        raise HcqError(
            f"{captions.path}: none of its {len(captions.videos)} videos has features",
            f"hcq captions check {captions.path}",
        )
    videos = [video for video, kept in zip(found.captioned, keep.tolist(), strict=True) if kept]
    rows, groups = found.rows[keep], _groups(store, found, keep)
    splits = split_videos(videos)
    parts = {
        name: Part(rows[at], [videos[i].captions for i in at], groups[at])
        for name, at in (
            ("train", np.array(splits.train, np.int64)),
            ("val", np.array(splits.val, np.int64)),
            ("test", np.array(splits.test, np.int64)),
        )
    }
    return Collection(parts, splits.explanation, [*warnings, *_shared_content(parts)])


def _caption_warnings(captions: Captions) -> list[str]:
    errors = len(captions.errors)
    return [f"{captions.path}: {errors} lines are wrong and left out (hcq captions check)"] if errors else []


def _groups(store: FeatureStore, found: Match, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A number for each distinct content: copies of one video are no negatives of each other."""
    hashes = [store.video(int(row)).content_hash for row in found.rows[keep]]
    return np.unique(np.array(hashes), return_inverse=True)[1].astype(np.int64)


def _shared_content(parts: dict[str, Part]) -> list[str]:
    learned = np.concatenate([parts["train"].groups, parts["val"].groups])
    leaked = int(np.isin(parts["test"].groups, learned).sum())
    return [f"{leaked} test videos have the same content as a training video"] if leaked else []
