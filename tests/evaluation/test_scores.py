"""Scores of coded items are the very sums that a search ranks by; those of float vectors are weighted cosines."""

from __future__ import annotations

import numpy as np
from handmade import plain_scan, quantizer, random_codes, random_levels

from hcq_cli.evaluation.metrics import text_to_video_ranks
from hcq_cli.evaluation.scores import DenseScores, LookUpScores
from hcq_cli.scan.table import tables


def test_what_is_measured_is_what_is_searched() -> None:
    """Scores are canonical sums to the last bit, so that duplicates tie and rank between each other."""
    levels, codes = random_levels(300), random_codes(400)
    codes[7], codes[399] = codes[100], codes[100]
    books, scale = quantizer()
    found = LookUpScores(levels, codes, books, scale)[:]
    table = tables(levels, books, scale)
    for q in (0, 1, 299):
        scores, rows = plain_scan(codes, table[q], 400)
        assert (found[q, rows] == scores).all()
    assert (found[:, 7] == found[:, 100]).all() and (found[:, 399] == found[:, 100]).all()
    ranks = text_to_video_ranks(found, np.full(300, 7))
    assert ranks.tolist() == [(row > row[7]).sum() + 1 for row in found]


def test_look_up_equals_a_plain_sum() -> None:
    rng = np.random.default_rng(0)
    levels, books = rng.normal(size=(300, 2, 8)).astype("f"), rng.normal(size=(4, 5, 4)).astype("f")
    codes, scale = rng.integers(0, 5, (7, 4)).astype(np.uint8), rng.random(4).astype("f")
    chunks = levels.reshape(300, 4, 4)
    found = LookUpScores(levels, codes, books, scale)[:]
    for n in range(7):
        wanted = sum(scale[s] * (chunks[:, s] @ books[s, codes[n, s]]) for s in range(4))
        np.testing.assert_allclose(found[:, n], wanted, atol=1e-5)


def test_dense_scores_are_weighted_cosines_and_their_transpose_the_same() -> None:
    queries, items, weights = random_levels(5), random_levels(7, seed=4), [0.25, 0.75]
    found = DenseScores(queries, items, weights)
    wanted = sum(weight * queries[:, level] @ items[:, level].T for level, weight in enumerate(weights))
    assert found.shape == (5, 7) and found.T.shape == (7, 5)
    np.testing.assert_allclose(found[1:4], wanted[1:4], atol=1e-5)
    np.testing.assert_allclose(found.T[0:7], wanted.T, atol=1e-5)
