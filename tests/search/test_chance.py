"""Chance scores of an index are the best scores of generic sentences among its living rows."""

from __future__ import annotations

import numpy as np
import pytest

from hcq_cli.model.confidence import ChanceScores
from hcq_cli.scan.blocks import Blocks, to_blocks
from hcq_cli.search import chance

FITTED = ChanceScores(9.0, 9.0, 0.0, 1.25)


def made(videos: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Codes, codebooks, scale, and generic sentences."""
    rng = np.random.default_rng(seed)
    codebooks = rng.normal(size=(8, 16, 4)).astype(np.float32)
    generic = rng.normal(size=(70, 1, 32)).astype(np.float32)
    return rng.integers(0, 16, (videos, 8), np.uint8), codebooks, np.full(8, 0.5, np.float32), generic


def best_of(codes: np.ndarray, codebooks: np.ndarray, scale: np.ndarray, generic: np.ndarray) -> np.ndarray:
    vectors = (codebooks[np.arange(8), codes] * scale[:, None]).reshape(len(codes), -1)
    return (generic[:, 0] @ vectors.T).max(1)


def test_they_are_those_of_the_living_rows_of_all_segments() -> None:
    codes, codebooks, scale, generic = made(700)
    dead = np.zeros(700, bool)
    best = best_of(codes, codebooks, scale, generic)
    dead[200:] = np.arange(500) % 3 == 0
    first, second = to_blocks(codes[:200]), to_blocks(codes[200:])
    parts = [first, Blocks(second.codes, 500, dead[200:])]
    found = chance.measure(parts, generic, codebooks, scale, FITTED)
    alive = best_of(codes[~dead], codebooks, scale, generic)
    assert found.mean == pytest.approx(alive.mean(), abs=1e-5) and found.mean < best.mean()
    assert found.deviation == pytest.approx(alive.std(ddof=1), abs=1e-5)
    assert (found.middle, found.slope) == (0.0, 1.25)


def test_where_no_row_is_alive_those_of_the_model_count() -> None:
    codes, codebooks, scale, generic = made(3)
    parts = [Blocks(to_blocks(codes).codes, 3, np.ones(3, bool))]
    assert chance.measure(parts, generic, codebooks, scale, FITTED) == FITTED


def test_of_many_rows_some_tell_what_all_would_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, codebooks, scale, generic = made(40_000)
    best = best_of(codes, codebooks, scale, generic)
    monkeypatch.setattr(chance, "MOST_ROWS", 5_000)
    # Codes by lists, as in an index that has them: rows that are alike lie together.
    order = np.argsort(codes[:, 0], kind="stable").astype(np.uint32)
    parts = [Blocks(to_blocks(codes[order]).codes, len(codes), None, order)]
    found = chance.measure(parts, generic, codebooks, scale, FITTED)
    sample = best_of(codes[order[::8]], codebooks, scale, generic)
    assert abs(found.mean - best.mean()) < 0.3 * abs(sample.mean() - best.mean())
    assert found.deviation == pytest.approx(best.std(ddof=1), rel=0.2)
