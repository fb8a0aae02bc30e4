from __future__ import annotations

import numpy as np
import pytest
from handmade import HEADER, hybrid_scores, quantizer, random_codes, random_levels

from hcq_cli.errors import HcqError
from hcq_cli.scan.table import reconstruct_levels, tables


def test_the_sum_of_look_ups_is_the_hybrid_score() -> None:
    levels, codes = random_levels(4), random_codes(50)
    table = tables(levels, *quantizer())
    looked_up = np.stack([sum(query[s, codes[:, s]] for s in range(HEADER.S)) for query in table])
    assert np.abs(looked_up - hybrid_scores(levels, codes)).max() < 1e-6


def test_a_table_does_not_depend_on_its_neighbours() -> None:
    levels = random_levels(9)
    together = tables(levels, *quantizer())
    for query in range(9):
        assert np.array_equal(tables(levels[query : query + 1], *quantizer())[0], together[query])
    assert tables(levels[:0], *quantizer()).shape == (0, HEADER.S, HEADER.K)


def test_levels_of_codes_are_unit_vectors_that_fit_themselves_best() -> None:
    codes = random_codes(30)
    levels = reconstruct_levels(codes, quantizer()[0], HEADER.levels)
    assert np.allclose(np.linalg.norm(levels, axis=2), 1, atol=1e-6)
    scores = hybrid_scores(levels, codes)
    assert np.allclose(scores.diagonal(), 1, atol=1e-6)
    assert (scores.argmax(axis=1) == np.arange(30)).all()


def test_numbers_that_are_not_finite_are_refused() -> None:
    levels = random_levels(2)
    levels[1, 0, 0] = np.nan
    with pytest.raises(HcqError, match="not finite"):
        tables(levels, *quantizer())
