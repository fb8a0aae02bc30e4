"""Random histories of a store against a plain dictionary."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from feature_samples import DIMS, video, write_in_turn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcq_cli.features import compaction
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter

IDS = st.sampled_from(["a", "b b", "c\n'\"", "d🎬", "e\udcff", "f", "g", "h"])
EXPERTS = st.lists(st.sampled_from(list(DIMS)), unique=True)
PUT = st.tuples(st.just("put"), IDS, EXPERTS, st.sampled_from("12"), st.booleans())
STEPS = st.lists(
    st.one_of(PUT, PUT, PUT, st.tuples(st.just("fold")), st.tuples(st.just("shard"), st.lists(PUT, max_size=6))),
    max_size=25,
)
Model = dict[str, tuple[VideoFeatures, dict[str, VideoFeatures]]]
"""For each id the newest row, and for each expert the newest row of the same content that has it."""


@contextmanager
def tiny_shards() -> Iterator[None]:
    with mock.patch.object(compaction, "FULL_VIDEOS", 3):
        yield


def make(model: Model, step: tuple[Any, ...], changes: dict[str, int]) -> VideoFeatures:
    _, id, experts, version, changed = step
    changes[id] = changes.get(id, 0) + changed  # contents never return: an old one may or may not be kept
    one = video(id, experts, content=f"c{changes[id]}", version=version)
    known = model[id][1] if id in model and model[id][0].content_hash == one.content_hash else {}
    model[id] = one, {**known, **dict.fromkeys(experts, one)}
    return one


def check(folder: Path, model: Model) -> None:
    store = FeatureStore.snapshot(folder)
    assert sorted(store.ids) == sorted(model) and [store.row(id) for id in store.ids] == list(range(len(model)))
    for id, (newest, results) in model.items():
        row = store.row(id)
        assert row is not None
        record = store.video(row)
        assert (record.facts.path, record.facts.content_hash) == (newest.path, newest.content_hash)
        for expert in DIMS:
            latest = store.newest_results(expert)
            if expert not in results:
                assert latest.slot[row] < 0 and expert not in record.results
                continue
            tokens, identity = results[expert].tokens[expert], results[expert].identities[expert]
            result = store.results({expert: latest}, row)[expert]
            assert result.identity == identity
            read = b"".join(result.read())
            assert read == tokens.features.astype("<f4").tobytes() + tokens.times.astype("<f4").tobytes()
            assert (expert in record.results) == (identity == store.experts[expert].identity)
    check_identities(store, model)
    batch = store.read(np.arange(len(store)))
    for expert, ragged in batch.items():
        assert [int(n) for n in np.diff(ragged.offsets)] == [
            each[expert].n if expert in each else 0 for each in (store.video(r).results for r in range(len(store)))
        ]


def check_identities(store: FeatureStore, model: Model) -> None:
    for expert in DIMS:
        counts: dict[str, int] = {}
        for _, results in model.values():
            if expert in results:
                name = results[expert].identities[expert]
                counts[name] = counts.get(name, 0) + 1
        assert (expert in store.experts) == bool(counts)
        if counts:
            info = store.experts[expert]
            assert info.videos == counts[info.identity] == max(counts.values())
            assert info.left_out == sum(counts.values()) - info.videos


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_any_history_equals_a_dictionary(steps: list[tuple[Any, ...]]) -> None:
    model: Model = {}
    changes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name, tiny_shards():
        folder = Path(name) / "s"
        for step in steps:
            if step[0] == "put":
                write_in_turn(folder, make(model, step, changes))
                continue
            with FeatureWriter(folder) as writer:
                if step[0] == "fold":
                    writer.compact()
                else:
                    writer.add_videos([make(model, put, changes) for put in step[1]])
            check(folder, model)
        check(folder, model)
