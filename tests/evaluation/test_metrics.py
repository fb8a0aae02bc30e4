"""Ranks against plain loops, and the published implementation's metrics where they can be had."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from handmade import quantizer, random_codes, random_levels
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hcq_cli.evaluation import metrics
from hcq_cli.evaluation.metrics import summarise, text_to_video_ranks, tied_ranks, video_to_text_ranks
from hcq_cli.evaluation.retrieval import RetrievalMetrics, both_directions
from hcq_cli.evaluation.scores import DenseScores, LookUpScores, Scores


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


@pytest.mark.parametrize("at_once", [1, 70, 1 << 22])
def test_a_block_at_a_time_ranks_as_the_whole_matrix(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several captions a video, videos without any, duplicates that tie; by codes and by float vectors."""
    rng, weights = np.random.default_rng(3), [0.25, 0.75]
    owner = rng.integers(0, 60, 150)
    owner[owner == 7] = 8
    texts, videos = random_levels(150), random_levels(60, seed=4)
    videos[11], texts[5] = videos[12], texts[6]
    codes = random_codes(60)
    codes[21] = codes[20]
    exact = rng.integers(-2, 3, (2, 150, 2, 4)).astype(np.float32)  # sums without rounding, and many ties
    pairs: list[tuple[Scores, Scores]] = [
        (DenseScores(texts, videos, weights), DenseScores(texts, videos, weights).T),
        (DenseScores(exact[0], exact[1, :60], weights), DenseScores(exact[0], exact[1, :60], weights).T),
        (LookUpScores(texts, codes, *quantizer()), LookUpScores(videos, random_codes(150, seed=9), *quantizer())),
    ]
    for t2v, v2t in pairs:
        whole, back = t2v[0 : t2v.shape[0]], v2t[0 : v2t.shape[0]]
        assert whole.shape == t2v.shape == (150, 60) and back.shape == v2t.shape == (60, 150)
        wanted = tied_ranks(whole, whole[np.arange(150), owner])
        captioned = sorted(set(owner.tolist()))
        best = np.array([back[video, owner == video].max() for video in captioned])
        wanted_back = tied_ranks(back[captioned], best)
        monkeypatch.setattr(metrics, "SCORES_AT_ONCE", at_once)
        assert text_to_video_ranks(t2v, owner).tolist() == wanted.tolist()
        assert video_to_text_ranks(v2t, owner).tolist() == wanted_back.tolist()
        assert both_directions(t2v, v2t, owner) == RetrievalMetrics(summarise(wanted), summarise(wanted_back))
    assert (text_to_video_ranks(pairs[1][0], owner) % 1 == 0.5).any(), "the ties are there"


def test_memory_does_not_grow_with_queries_times_items(monkeypatch: pytest.MonkeyPatch) -> None:
    many = 1600
    owner, codes = np.arange(many), random_codes(many)
    texts, videos = random_levels(many), random_levels(many, seed=4)
    monkeypatch.setattr(metrics, "SCORES_AT_ONCE", 1 << 14)
    tracemalloc.start()
    try:
        dense, coded = DenseScores(texts, videos, [0.5, 0.5]), LookUpScores(texts, codes, *quantizer())
        both_directions(dense, dense.T, owner)
        both_directions(coded, LookUpScores(videos, codes, *quantizer()), owner)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < many * many * 8 / 10, f"{most:,} bytes of {many * many * 8:,}"
