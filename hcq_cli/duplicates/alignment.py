"""A pair of videos -> the stretch of time that both have, by tokens that lie on one line t' = speed · t + shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hcq_cli.duplicates.fingerprints import NEW_PICTURE, changed_bits, cosine, differing_bits

NEAR = 80
"""Bits that tokens of the same picture may differ in: a cosine of 0.56. Of strangers' one in a thousand does."""
SPEEDS = np.linspace(0.94, 1.06, 13)
BIN_S = 0.5
ON_LINE_S = 0.75
"""Tokens are so far from the line at most: two a second are sampled of either video, at other instants."""
GAP_S = 2.5
"""A stretch ends where nothing fits for so long."""
LEAST_TOKENS = 3
LEAST_DENSITY = 0.5
"""Share of the tokens of a stretch that must fit."""
COPY_SHARE = 0.75
"""Of copies, the share of each that the stretch takes."""
LEAST_PART_S = 5.0
"""How long a part is without what is common to many videos."""


@dataclass(frozen=True)
class Shared:
    """What two videos share.

    Args:
        first: from and to, seconds, in the first video.
        second: the same in the second.
        score: the mean cosine of tokens that fit, about; 1 is the same.
        pictures: different ones among the tokens that fit.
        telling_s: how long it is without what is common to many videos, seconds.
        line: speed and shift of t' = speed · t + shift.
        moves: how what changes in one of them goes with what changes in the other, a correlation.
    """

    first: tuple[float, float]
    second: tuple[float, float]
    score: float
    pictures: int
    telling_s: float
    line: tuple[float, float]
    moves: float


def align(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], common: np.ndarray, step_s: float
) -> Shared | None:
    """The longest stretch that two videos share, if there is any that could make them copies, or one a part.

    Args:
        first, second: bits [n, 32] and times [n] of each.
        common: bool [n], tokens of the first that many videos have.
        step_s: between two tokens, seconds.
    """
    bits, times = first
    differing = differing_bits(bits, second[0])
    here, there = np.nonzero(differing <= NEAR)
    # Most candidates share an intro: too short for a copy, and nearly all of it common: no line need be sought.
    alike = np.bincount(here, minlength=len(bits)) > 0
    enough_for_copy = alike.sum() >= max(LEAST_DENSITY * COPY_SHARE * len(bits), LEAST_TOKENS)
    if not enough_for_copy and (alike & ~common).sum() < LEAST_DENSITY * LEAST_PART_S / step_s:
        return None
    speed, shift = _line(times[here].astype(np.float64), second[1][there].astype(np.float64), here)
    near = np.abs(second[1][there] - speed * times[here] - shift) <= ON_LINE_S
    here, there = here[near], there[near]
    # Of several that lie near the line the most alike one.
    order = np.lexsort((differing[here, there], here))
    here, there = here[order], there[order]
    once = np.append(True, here[1:] != here[:-1])[: len(here)]
    here, there = here[once], there[once]
    runs = np.split(np.arange(len(here)), np.flatnonzero(np.diff(times[here]) > GAP_S) + 1)
    run = max(runs, key=len)
    if len(run) < LEAST_TOKENS:
        return None
    here, there = here[run], there[run]
    begin, end = float(times[here[0]]), float(times[here[-1]]) + step_s
    within = int(((times >= begin) & (times < end)).sum())
    if len(here) < LEAST_DENSITY * within:
        return None
    return Shared(
        (begin, end),
        (float(second[1][there].min()), float(second[1][there].max()) + step_s),
        score=float(cosine(differing[here, there]).mean()),
        pictures=_pictures(bits[here]),
        telling_s=step_s * int((~common[here]).sum()) * within / len(here),
        line=(speed, shift),
        moves=_moves(bits[here], second[0][there]),
    )


def _line(times: np.ndarray, others: np.ndarray, tokens: np.ndarray) -> tuple[float, float]:
    """Speed and shift of the line that most tokens lie on (Hough): times float64 [n] of pairs, and their tokens,
    in the order of tokens and then of the others' times."""
    best, found = -1, (1.0, 0.0)
    for speed in sorted(SPEEDS.tolist(), key=lambda speed: abs(speed - 1)):
        bins = np.floor((others - speed * times) / BIN_S).astype(np.int64)
        lowest = int(bins.min())
        # Each token once a bin, however many of the other video's it is like there: those follow each other.
        once = np.append(True, (bins[1:] != bins[:-1]) | (tokens[1:] != tokens[:-1]))
        counts = np.bincount(bins[once] - lowest)
        pairs = counts[1:] + counts[:-1] if len(counts) > 1 else counts
        if pairs.max() > best:
            best, found = int(pairs.max()), (speed, (lowest + int(pairs.argmax()) + 1) * BIN_S)
            if len(counts) == 1:
                found = (speed, (lowest + 0.5) * BIN_S)
    return found


def _moves(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation of bits [n, 32] that fit, each less its mean: in copies the same things change at the same
    time, in two recordings of one place only what stays is alike. 1 where nothing changes."""
    changes = [np.unpackbits(bits, axis=1).astype(np.float32) for bits in (first, second)]
    one, other = (bits - bits.mean(0) for bits in changes)
    lengths = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / lengths if lengths else 1.0


def _pictures(bits: np.ndarray) -> int:
    """How many different pictures follow each other in fingerprints [n, 32]."""
    return 1 + int((changed_bits(bits[:-1], bits[1:]) > NEW_PICTURE).sum())


def likeness_along(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], shared: Shared
) -> float:
    """How alike the tokens of another expert are along a line, a mean cosine; strangers' are about 0."""
    within = (first[1] >= shared.first[0]) & (first[1] < shared.first[1])
    if not within.any() or not len(second[1]):
        return 0.0
    wanted = shared.line[0] * first[1][within] + shared.line[1]
    nearest = np.abs(second[1][None, :] - wanted[:, None]).argmin(1)
    differing = differing_bits(first[0][within], second[0])
    return float(cosine(differing[np.arange(len(nearest)), nearest]).mean())
