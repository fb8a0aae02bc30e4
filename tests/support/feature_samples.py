"""Small videos for tests of the feature store, made from a seed."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experts.base import State, Tokens
from hcq_cli.features.records import VideoFeatures, VideoRecord
from hcq_cli.features.shard_writer import write_shard
from hcq_cli.features.store import FeatureStore

DIMS = {"appearance": 6, "motion": 3, "face": 4}


def video(
    id: str,
    experts: Sequence[str] = tuple(DIMS),
    content: str = "c0",
    version: str = "1",
    path: str | None = None,
    dims: dict[str, int] = DIMS,
) -> VideoFeatures:
    """Features that are a function of id, expert, content and version alone."""
    tokens, identities = {}, {}
    for expert in experts:
        seed = [*id.encode("utf-8", "surrogateescape"), len(expert), *content.encode(), *version.encode()]
        rng = np.random.default_rng(seed)
        n = int(rng.integers(0, 5))
        dim = dims[expert]
        times = np.sort(rng.random(n)).astype(np.float32)
        found = Tokens(rng.random((n, dim), np.float32), times) if n else Tokens.none(dim, State.SILENT)
        tokens[expert], identities[expert] = found, f"{expert}|{version}|||"
    warnings = ["odd: 'quotes' \n 🎬"] if len(id) % 2 else []
    return VideoFeatures(
        id, path or f"/videos/{id}", content, 100 + len(id), 12345, 2.5, "pyav", warnings, tokens, identities
    )


def write_in_turn(folder: Path, video: VideoFeatures) -> Path:
    """A finished video under a name of the time of writing, as an earlier hcq had it: of one id the last counts."""
    path = folder / "incoming" / f"{time.time_ns():020d}-{secrets.token_hex(6)}.h5"
    write_shard(path, [VideoRecord.of(video)])
    return path


def same(store: FeatureStore, wanted: VideoFeatures) -> None:
    """Assert that the store holds `wanted`, whatever it holds beside."""
    row = store.row(wanted.id)
    assert row is not None, wanted.id
    facts, results = store.facts(row), store.video(row).results
    assert (facts.path, facts.content_hash, facts.warnings) == (wanted.path, wanted.content_hash, wanted.warnings)
    for expert, tokens in wanted.tokens.items():
        assert results[expert].state == tokens.state
        assert results[expert].identity == wanted.identities[expert]
        read = store.read([row], [expert])[expert]
        np.testing.assert_array_equal(read.features, tokens.features)
        np.testing.assert_array_equal(read.times, tokens.times)


def all_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flips(data: bytes, count: int, seed: int) -> list[tuple[int, bytes]]:
    """`data` with one bit changed: in each of the first 64 bytes, and at `count` random places."""
    chooser, length = random.Random(seed), len(data)
    places = [*range(0, 64), *(chooser.randrange(length) for _ in range(count))]
    return [(at, data[:at] + bytes([data[at] ^ (1 << chooser.randrange(8))]) + data[at + 1 :]) for at in places]


STORED = [video(f"v{at}") for at in range(12)]
"""The videos of the store that the fixture `store` makes."""
