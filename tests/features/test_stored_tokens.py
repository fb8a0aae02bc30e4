"""Features that stay in the store are those that are read at once, row by row."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_samples import video

from experts.base import Tokens
from hcq_cli.datasets.segments import Cutting, cut_tokens, cut_video, look_edges
from hcq_cli.errors import DamagedError
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter


def test_rows_are_those_that_are_read_at_once(tmp_path: Path) -> None:
    ids = [f"v{number}" for number in range(40)]
    for part in (ids[:20], ids[20:]):  # two files, and videos that lack an expert
        with FeatureWriter(tmp_path) as writer:
            writer.add_videos(video(id, ("appearance", "face")[: 1 + len(id) % 2]) for id in part)
    store, rng = FeatureStore.open(tmp_path), np.random.default_rng(0)
    rows = rng.permutation(len(ids))
    for name, stored in store.stored(rows, ["appearance", "face"]).items():
        whole = store.read(rows, [name])[name]
        assert stored.features.shape == whole.features.shape and stored.times.tolist() == whole.times.tolist()
        assert stored.offsets.tolist() == whole.offsets.tolist() and len(stored) == len(whole)
        for wanted in (rng.integers(0, len(whole.times), 100), np.empty(0, np.int64), slice(3, 17), slice(None)):
            assert np.array_equal(stored.features[wanted], whole.features[wanted])
        for number in range(len(rows)):
            one, other = stored.of(number), whole.of(number)
            assert np.array_equal(one.features[:], other.features) and np.array_equal(one.times, other.times)


def test_a_damaged_video_is_named(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([video("v1"), video("v2")])
    store = FeatureStore.open(tmp_path)
    where = store.shards[0].token_columns(next(iter(store.shards[0].experts))).features
    with store.shards[0].path.open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * 4)
    with pytest.raises(DamagedError, match=r"features of .v[12]. are damaged"):
        store.stored(np.arange(2), list(store.experts))


def test_of_a_film_no_more_is_in_memory_than_its_segments_of_one_batch(tmp_path: Path) -> None:
    rng, size = np.random.default_rng(0), 20_000
    tokens = Tokens(rng.random((size, 256), np.float32), np.arange(size, dtype=np.float32) / 5)
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([replace(video("film", ["face"]), tokens={"face": tokens})])
    store, segments = FeatureStore.open(tmp_path), cut_video(0, size / 5, Cutting())
    tracemalloc.start()
    stored = store.stored(np.arange(1), ["face"])
    parts = [segments[at : at + 8] for at in range(0, len(segments), 8)]
    sums = [cut_tokens(stored, part)[0]["face"].features.sum(0) for part in parts]
    edges = look_edges(stored["face"].of(0).features, stored["face"].times)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < tokens.features.nbytes / 2
    assert edges == look_edges(tokens.features, tokens.times)
    whole = store.read([0], ["face"])
    for part, found in zip(parts, sums, strict=True):
        assert np.array_equal(found, cut_tokens(whole, part)[0]["face"].features.sum(0))
