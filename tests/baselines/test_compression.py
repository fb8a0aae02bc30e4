"""Post-compression: at least as good as the plain thing in NumPy, the same every time, clear about what it cannot."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hcq_cli.baselines.compression import METHODS, compress, opq, parse_methods, pq
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.evaluation.retrieval import both_directions
from hcq_cli.evaluation.scores import DenseScores
from hcq_cli.model.encoding import Encoded

pytest.importorskip("faiss")
WEIGHTS = [0.5, 0.5]


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def vectors(count: int, seed: int) -> np.ndarray:
    """[count, 2, 16], with axes that matter less and less and are mixed by a rotation."""
    mix = np.linalg.qr(np.random.default_rng(9).normal(size=(16, 16)))[0] * np.exp(-np.arange(16) / 3)[:, None]
    return unit(np.random.default_rng(seed).normal(size=(count, 2, 16)) @ mix)


@pytest.fixture(scope="module")
def train() -> np.ndarray:
    return vectors(600, 0)


@pytest.fixture(scope="module")
def test() -> Encoded:
    videos = vectors(80, 1)
    owner = np.repeat(np.arange(80), 2)
    noise = np.random.default_rng(2).normal(size=(160, 2, 16)) * 0.35
    return Encoded(videos, unit(videos[owner] + noise), owner)


def plain_pq(train: np.ndarray, items: np.ndarray, books: int, words: int = 256) -> np.ndarray:
    """Lloyd's algorithm from random points, a chunk at a time; no care for empty cells."""
    rng, parts = np.random.default_rng(3), []
    for x, y in zip(np.split(train, books, 1), np.split(items, books, 1), strict=True):
        centres = x[rng.choice(len(x), words, replace=False)]
        for _ in range(10):
            codes = ((x[:, None] - centres) ** 2).sum(-1).argmin(1)
            centres = np.stack([x[codes == k].mean(0) if (codes == k).any() else centres[k] for k in range(words)])
        parts.append(centres[((y[:, None] - centres) ** 2).sum(-1).argmin(1)])
    return np.concatenate(parts, 1)


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(((found - wanted) ** 2).sum(1).mean())


def test_pq_is_as_good_as_plain_and_opq_better(train: np.ndarray, test: Encoded) -> None:
    """The published table ran its baselines too weakly; ours must not lose to ten rounds of Lloyd."""
    x, y = np.ascontiguousarray(train[:, 0]), np.ascontiguousarray(test.videos[:, 0])
    ours, rotated = pq(x, 2, 0), opq(x, 2, 0)
    plain = error(plain_pq(x, y, 2), y)
    assert error(ours.items(y), y) < 1.03 * plain
    assert error(rotated.items(y), rotated.queries(y)) < error(ours.items(y), y)


def test_every_method_ranks_far_better_than_chance_and_repeats_itself(train: np.ndarray, test: Encoded) -> None:
    scores = DenseScores(test.texts, test.videos, WEIGHTS)
    dense = both_directions(scores, scores.T, test.owner).t2v
    found = {name: compress(train, test, WEIGHTS, name, 4) for name in METHODS}
    for name, one in found.items():
        assert one.bytes_per_video == 4 and one.method == name
        assert one.metrics == compress(train, test, WEIGHTS, name, 4).metrics
        assert 10 < one.metrics.t2v.R1 <= dense.R1 + 5 and one.metrics.v2t.R10 > 40  # chance: 1.25 and 12.5
    assert found["opq"].metrics.t2v.R1 > found["lsh"].metrics.t2v.R1
    # More bytes, more recall.
    assert compress(train, test, WEIGHTS, "pq", 16).metrics.t2v.R1 >= found["pq"].metrics.t2v.R1


def test_a_score_is_the_dense_query_against_the_decoded_item(train: np.ndarray, test: Encoded) -> None:
    found = compress(train, test, WEIGHTS, "pq", 4).metrics
    levels = [pq(np.ascontiguousarray(train[:, level]), 2, level) for level in range(2)]
    items = np.stack(
        [unit(levels[level].items(np.ascontiguousarray(test.videos[:, level]))) for level in range(2)], 1
    )
    texts = np.stack([unit(levels[level].items(np.ascontiguousarray(test.texts[:, level]))) for level in range(2)], 1)
    t2v, v2t = DenseScores(test.texts, items, WEIGHTS), DenseScores(test.videos, texts, WEIGHTS)
    assert both_directions(t2v, v2t, test.owner) == found


def test_fewer_vectors_than_codewords(train: np.ndarray, test: Encoded) -> None:
    for name in ("lsh", "pq", "opq", "lsq"):
        assert compress(train[:40], test, WEIGHTS, name, 4).metrics.t2v.R10 > 12.5
    with pytest.raises(HcqError, match="no two training vectors"):
        compress(train[:1], test, WEIGHTS, "pq", 4)


def test_what_cannot_be_is_said(train: np.ndarray, test: Encoded) -> None:
    with pytest.raises(HcqError, match="at most one bit a dimension"):
        compress(train, test, WEIGHTS, "itq", 8)
    with pytest.raises(HcqError, match="do not divide its 16 dimensions"):
        compress(train, test, WEIGHTS, "opq", 6)
    with pytest.raises(HcqError, match="opq needs a training vector a dimension: 15 are too few for 16"):
        compress(train[:15], test, WEIGHTS, "opq", 4)
    with pytest.raises(UsageError, match="shared out evenly"):
        compress(train, test, WEIGHTS, "pq", 5)
    with pytest.raises(UsageError, match="known are lsh, itq, pq, opq, lsq"):
        parse_methods("pq,magic")
    assert parse_methods(" OPQ, pq,opq") == ["opq", "pq"]


def test_what_is_not_installed_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    nothing = np.zeros((2, 1, 8), np.float32)
    with pytest.raises(NotFoundError) as caught:
        compress(nothing, Encoded(nothing, nothing, np.zeros(2, np.int64)), [1.0], "pq", 1)
    assert caught.value.hint == 'pip install "hcq[faiss]"'


def test_a_result_stands_in_the_table_under_its_methods_name(train: np.ndarray, test: Encoded) -> None:
    found = compress(train, test, WEIGHTS, "pq", 4)
    assert (found.point().name, found.point().bytes_per_video) == ("dense + pq", 4)
    assert found.point().metrics == found.metrics
