"""Inverted lists: which videos lie together, and which lists a query looks into."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from handmade import (
    FOUR_LEVELS,
    quantizer,
    random_codes,
    random_levels,
)

from hcq_cli.errors import DamagedError
from hcq_cli.headers import decode
from hcq_cli.scan.table import tables
from hcq_cli.search.ivf import (
    LEADERS,
    InvertedLists,
    Tuning,
    best_lists,
    level_weights,
    reconstruct_vectors,
    weighted_codewords,
)


def test_a_vector_holds_the_score() -> None:
    """The inner product of weighted vectors is the hybrid score."""
    codebooks, scale = quantizer(FOUR_LEVELS)
    codes, levels, weights = random_codes(50, FOUR_LEVELS), random_levels(3, FOUR_LEVELS), level_weights(scale)
    vectors = reconstruct_vectors(codes, *weighted_codewords(codebooks, weights))
    queries = (levels.reshape(3, FOUR_LEVELS.S, -1) * weights[:, None]).reshape(3, -1)
    table = tables(levels, codebooks, scale)
    scores = np.stack([one[np.arange(FOUR_LEVELS.S), codes].sum(1) for one in table])
    assert np.allclose(queries @ vectors.T, scores, atol=1e-5)


@pytest.mark.parametrize("values", [2, 5, 1000])
def test_the_most_promising_lists_in_plain_numpy(values: int) -> None:
    expected = np.random.default_rng(values).integers(0, values, 97).astype(np.float32)
    in_order = np.argsort(-expected, kind="stable")
    for count in (1, 2, 40, 96, 97, 98):
        assert best_lists(expected, count).tolist() == in_order[:count].tolist()


def test_lists_near_the_leaders_are_looked_into() -> None:
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=(40, 40)).astype(np.float32)
    tuning = Tuning(7, 1.0, 10, 50, "captions", 0.1, gap=0.75)
    lists = InvertedLists(np.eye(40, dtype=np.float32), centroids, np.ones(1, np.float32), tuning)
    sizes, levels = np.full(40, 1000), np.eye(40, dtype=np.float32)[:, None]
    for query, chosen in enumerate(lists.choose(levels, sizes, 10)):
        scores = lists.centroids[:, query]
        leaders = np.sort(scores)[-LEADERS:].mean()
        assert chosen.tolist() == [n for n in np.argsort(-scores) if scores[n] >= leaders - np.float32(0.75)]
    assert len({len(chosen) for chosen in lists.choose(levels, sizes, 10)}) > 3
    one_topic = replace(lists, centroids=np.zeros((40, 40), np.float32))
    one_topic.centroids[5] = 9
    assert [chosen.tolist() for chosen in one_topic.choose(levels[:1], sizes, 10)] == [[5]]
    earlier = replace(lists, tuning=replace(tuning, gap=None))
    assert {len(chosen) for chosen in earlier.choose(levels, sizes, 10)} == {7}
    assert {len(chosen) for chosen in lists.choose(levels, sizes, 10, nprobe=3)} == {3}


def test_a_tuning_is_read_back_or_refused() -> None:
    tuning = Tuning(7, 0.99, 10, 50, "captions", 0.1, 3000, 0.75)
    document = tuning.to_json()
    assert decode(Tuning, document, "partition") == tuning
    earlier = {name: value for name, value in document.items() if name not in ("gap", "videos")}
    assert decode(Tuning, earlier, "partition") == replace(tuning, gap=None, videos=0)
    for name, value in [("gap", ""), ("gap", []), ("gap", True), ("gap", np.nan), ("recall", None), ("probe", 0)]:
        with pytest.raises(DamagedError, match=name):
            decode(Tuning, {**document, name: value}, "partition")
