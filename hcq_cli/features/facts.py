"""What a store knows of many videos at once, in columns: for the filters of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experts.base import State
from hcq_cli.features.records import state_number
from hcq_cli.features.store import FeatureStore

HEARS = ("audio", "sounds", "speech", "dual-sound")
"""Experts that listen: what they found tells whether there is anything to hear."""
READS = ("speech", "ocr")
"""Experts that find words."""
SEES_FACES = ("face",)
UNKNOWN = 2


@dataclass(frozen=True)
class FactColumns:
    """What is known of N videos; numbers are NaN and flags `UNKNOWN` where nothing is.

    Args:
        duration_s, width, height: float64 [N], seconds and pixels.
        taken_s: float64 [N], when it was taken, as its container says, or else when its file was last changed;
            seconds since 1970 (UTC).
        by_container: bool [N], which of the two it is.
        has_sound, has_words, has_faces: uint8 [N], 0 or 1.
    """

    duration_s: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    taken_s: NDArray[np.float64]
    by_container: NDArray[np.bool_]
    has_sound: NDArray[np.uint8]
    has_words: NDArray[np.uint8]
    has_faces: NDArray[np.uint8]


def fact_columns(store: FeatureStore, ids: Sequence[str]) -> FactColumns:
    """What `store` knows of some videos, N of them; a video that it lacks is unknown."""
    rows = store.rows(ids)
    there = rows >= 0

    def number(name: str) -> NDArray[np.float64]:
        found = np.full(len(rows), np.nan)
        found[there] = store.column(f"videos/{name}")[store.newest[rows[there]]]
        return found

    duration, width, height, taken, changed = map(number, ("duration_s", "width", "height", "taken_s", "mtime_ns"))
    changed = np.where(changed > 0, changed / 1e9, np.nan)  # imported features come without a file
    return FactColumns(
        np.where(duration > 0, duration, np.nan),
        width=np.where(width > 0, width, np.nan),
        height=np.where(height > 0, height, np.nan),
        taken_s=np.where(np.isnan(taken), changed, taken),
        by_container=~np.isnan(taken),
        has_sound=_found(store, rows, HEARS, (State.TOKENS, State.NOTHING_FOUND)),
        has_words=_found(store, rows, READS, (State.TOKENS,)),
        has_faces=_found(store, rows, SEES_FACES, (State.TOKENS,)),
    )


def _found(
    store: FeatureStore, rows: NDArray[np.int64], experts: Sequence[str], states: Sequence[State]
) -> NDArray[np.uint8]:
    """Whether any of these experts came to one of these states; unknown where none of them has looked.

    Args:
        store: of the results.
        rows: int64 [N], -1 for a video that is not there.
        experts: by name; those that the store lacks have not looked.
        states: that count as found.
    """
    found = np.full(len(rows), UNKNOWN, np.uint8)
    there = rows >= 0
    for name in store.experts:
        # A name may have a part of its source behind it: dual-sound-clap.
        if not any(name == expert or name.startswith(f"{expert}-") for expert in experts):
            continue
        state = np.zeros(len(rows), np.uint8)
        state[there] = store.latest(name).state[rows[there]]
        looked = (state != 0) & (state != state_number(State.FAILED))
        yes = np.isin(state, [state_number(wanted) for wanted in states])
        found[looked & (found == UNKNOWN)] = 0
        found[yes] = 1
    return found
