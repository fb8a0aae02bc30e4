"""Ranks against plain loops, and the published implementation's metrics where they can be had."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import plain_scan, quantizer, random_codes, random_levels
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hcq_cli.evaluation.metrics import summarise, text_to_video_ranks, video_to_text_ranks
from hcq_cli.evaluation.retrieval import look_up_scores
from hcq_cli.search.table import tables


@given(
    arrays(np.float32, (6, 4), elements=st.integers(0, 5).map(float)),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_ranks_equal_plain_loops(scores: np.ndarray, owners: list[int]) -> None:
    owner = np.array(owners)
    for query, rank in enumerate(text_to_video_ranks(scores, owner)):
        own = scores[query, owner[query]]
        assert rank == sum(s > own for s in scores[query]) + (sum(s == own for s in scores[query]) - 1) / 2
    wanted = []
    for video in sorted(set(owners)):
        best = max(scores[q, video] for q in range(6) if owners[q] == video)
        column = scores[:, video]
        wanted.append(sum(s > best for s in column) + (sum(s == best for s in column) - 1) / 2)
    assert video_to_text_ranks(np.ascontiguousarray(scores.T), owner).tolist() == wanted


def test_summary_of_known_ranks() -> None:
    found = summarise(np.array([0.0, 0.5, 4, 9, 49, 50]))
    assert [found.R1, found.R5, found.R10, found.R50] == pytest.approx([100 / 6, 50, 400 / 6, 500 / 6])
    assert found.MedR == 7.5 and found.MeanR == pytest.approx(112.5 / 6 + 1)
    assert found.GM == pytest.approx((100 / 6 * 50 * 400 / 6) ** (1 / 3))
    assert summarise(np.array([99.0])).GM == 0


def test_what_is_measured_is_what_is_searched() -> None:
    """Scores are canonical sums to the last bit, so that twins tie and rank between each other."""
    levels, codes = random_levels(300), random_codes(400)
    codes[7], codes[399] = codes[100], codes[100]
    books, scale = quantizer()
    found = look_up_scores(levels, codes, books, scale)
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
    found = look_up_scores(levels, codes, books, scale)
    for n in range(7):
        wanted = sum(scale[s] * (chunks[:, s] @ books[s, codes[n, s]]) for s in range(4))
        np.testing.assert_allclose(found[:, n], wanted, atol=1e-5)
