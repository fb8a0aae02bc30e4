"""Features in memory are those of the store, and their statistics NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from toy_dataset import video, write_store

from hcq_cli.datasets.features import MemoryFeatures, cached_in_memory, feature_statistics
from hcq_cli.features.store import FeatureStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("features")
    write_store(folder, [video(n) for n in range(40)])
    return FeatureStore.open(folder)


def test_features_in_memory_and_from_the_store_are_the_same(store: FeatureStore) -> None:
    rows = np.array([7, 3, 30])
    held = cached_in_memory(store, np.arange(40), ["audio"], 1)
    assert isinstance(held, MemoryFeatures)
    for one, other in ((held.read(rows), store.read(rows)),):
        np.testing.assert_array_equal(one["audio"].features, other["audio"].features)
        np.testing.assert_array_equal(one["audio"].offsets, other["audio"].offsets)
    assert cached_in_memory(store, np.arange(40), ["audio"], 0) is store


def test_statistics_equal_numpys(store: FeatureStore) -> None:
    rows = np.arange(40)
    every = store.read(rows)["audio"].features
    measured = feature_statistics(store, rows, {"audio": every.shape[1]})
    np.testing.assert_allclose(measured["audio"].mean, every.mean(0), atol=1e-5)
    np.testing.assert_allclose(measured["audio"].deviation, every.std(0), atol=1e-5)
