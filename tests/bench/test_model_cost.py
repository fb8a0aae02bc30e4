"""What a model costs is measured on data of the shape that was asked for."""

from __future__ import annotations

import pytest
from toy_dataset import SMALL

from hcq_cli.bench.model_cost import bench_encoding, bench_training, synthetic_data


def test_made_up_data_have_the_shape_asked_for() -> None:
    data = synthetic_data(50, {"a": 3, "b": 5}, tokens=4, words=6)
    tokens = data.features.read(data.train.rows)
    assert {name: ragged.features.shape[1] for name, ragged in tokens.items()} == {"a": 3, "b": 5}
    counts = [ragged.offsets[1:] - ragged.offsets[:-1] for ragged in tokens.values()]
    assert all(each.min() >= 1 and each.max() <= 7 for each in counts)
    assert len(data.train) == 50 and not len(data.validation)
    assert all(len(caption.split()) == 6 for caption in data.train.sentences)


@pytest.mark.parametrize("bench", [bench_training, bench_encoding])
def test_a_whole_is_timed_beside_its_bare_part(bench) -> None:
    found = bench("default", SMALL, {"a": 3, "b": 5}, tokens=2, rounds=2)
    assert found.whole_s > 0 and found.bare_s > 0 and found.ratio > 0
    assert found.videos_per_second == pytest.approx(found.batch_size / found.whole_s)
