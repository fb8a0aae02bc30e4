"""Lines through pairs of like tokens, and fast counting of bits against plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from hcq_cli.duplicates.alignment import align
from hcq_cli.duplicates.fingerprints import changed_bits, cosine, differing_bits
from hcq_cli.duplicates.groups import LEAST_MOVES


def plain(one: np.ndarray, other: np.ndarray) -> int:
    return sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("numpy_2", [True, False])
def test_bits_are_counted_as_by_hand(monkeypatch: pytest.MonkeyPatch, numpy_2: bool) -> None:
    if not numpy_2:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (5, 32), np.uint8), rng.integers(0, 256, (7, 32), np.uint8)
    assert differing_bits(one, other).tolist() == [[plain(a, b) for b in other] for a in one]
    assert changed_bits(one, other[:5]).tolist() == [plain(a, b) for a, b in zip(one, other, strict=False)]
    assert cosine(np.array([0, 128, 256])) == pytest.approx([1, 0, -1], abs=1e-9)


@pytest.mark.parametrize("speed, shift", [(1.0, 0.0), (1.0, -6.0), (1.0, 20.0), (1.05, 3.0), (0.95, 1.0)])
def test_a_stretch_is_found_at_its_speed(speed: float, shift: float) -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(0, 256, (80, 32), np.uint8), np.arange(80, dtype=np.float32) / 2
    second = rng.integers(0, 256, (120, 32), np.uint8), np.arange(120, dtype=np.float32) / 2
    # Seconds 10 to 30 of the first lie in the second, on the line.
    for at in range(20, 60):
        there = round(2 * (speed * at / 2 + shift))
        second[0][there] = first[0][at]
    found = align(first, second, np.zeros(80, bool), 0.5)
    assert found is not None
    assert found.first == pytest.approx((10, 30), abs=1)
    assert found.second == pytest.approx((speed * 10 + shift, speed * 30 + shift), abs=1.5)
    assert found.score > 0.99 and found.pictures >= 35


def test_strangers_share_nothing() -> None:
    rng = np.random.default_rng(2)
    videos = [(rng.integers(0, 256, (60, 32), np.uint8), np.arange(60, dtype=np.float32) / 2) for _ in range(2)]
    assert align(*videos, np.zeros(60, bool), 0.5) is None


def test_what_moves_in_a_copy_moves_as_in_the_original() -> None:
    rng = np.random.default_rng(3)
    studio, times = rng.integers(0, 2, 256).astype(bool), np.arange(20, dtype=np.float32) / 2

    def clip(movement: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
        return np.packbits(studio ^ movement ^ (rng.random((20, 256)) < noise), axis=1), times

    one, other = (rng.random((20, 256)) < 0.1 for _ in range(2))
    copy = align(clip(one, 0), clip(one, 0.05), np.zeros(20, bool), 0.5)
    stranger = align(clip(one, 0), clip(other, 0.05), np.zeros(20, bool), 0.5)
    assert copy is not None and stranger is not None and stranger.score > 0.7
    assert copy.moves > 0.6 and abs(stranger.moves) < LEAST_MOVES
    still = align(clip(one & False, 0), clip(one & False, 0), np.zeros(20, bool), 0.5)
    assert still is not None and still.moves == 1
