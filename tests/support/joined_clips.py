"""Films joined of clips that a feature store holds: their features one after another, and where each clip lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from experts.base import State, Tokens
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter

PIECE_S = 30.0


@dataclass(frozen=True)
class Place:
    """Where a clip lies: in which film, from which second to which."""

    film: str
    start_s: float
    end_s: float


def join(folder: Path, store: FeatureStore, films: Sequence[Sequence[str]], scene: bool) -> dict[str, list[Place]]:
    """Write a store of films joined of clips, by their ids; with or without what the expert `scene` would say."""
    places: dict[str, list[Place]] = {}
    joined = []
    for number, clips in enumerate(films):
        name, edges = f"film{number:03d}.mp4", [0.0]
        parts = {expert: ([], []) for expert in store.experts}
        for clip in clips:
            row = store.row(clip)
            assert row is not None
            for expert, tokens in store.read([row]).items():
                parts[expert][0].append(tokens.features)
                parts[expert][1].append(tokens.times + np.float32(edges[-1]))
            edges.append(edges[-1] + store.facts(row).duration_s)
            places.setdefault(clip, []).append(Place(name, *edges[-2:]))
        tokens = {expert: tokens_of(*map(np.concatenate, lists)) for expert, lists in parts.items()}
        identities = {expert: info.identity for expert, info in store.experts.items()}
        if scene:
            tokens["scene"], identities["scene"] = shots(edges), "scene|1||"
        facts = dict(size=1, mtime_ns=1, duration_s=edges[-1], decoder="pyav", warnings=[])
        joined.append(
            VideoFeatures(name, f"/{name}", f"{number:064x}", **facts, tokens=tokens, identities=identities)
        )
    with FeatureWriter(folder) as writer:
        writer.add_videos(joined)
    return places


def tokens_of(features: np.ndarray, times: np.ndarray) -> Tokens:
    return Tokens(features, times) if len(times) else Tokens.none(features.shape[1], State.SILENT)


def shots(edges: Sequence[float]) -> Tokens:
    """The middles of the stretches between edges, and ends of the pieces that the expert sees one at a time."""
    pieces = np.arange(0, edges[-1], PIECE_S).tolist()
    middles = np.array([sum(pair) / 2 for pair in pairwise(sorted({*edges, *pieces}))], np.float32)
    return Tokens(np.ones((len(middles), 2), np.float32), middles)
