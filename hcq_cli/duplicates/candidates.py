"""Pairs of videos that may share something: those with tokens whose fingerprints agree in a band of bits (LSH).

A band is sorted, so that equal ones are neighbours. Each is paired with the next few videos alone: what a thousand
videos have in common (an intro, a black picture) makes some thousand pairs, not half a million, and copies meet by
their other tokens. The work grows with the number of tokens, times its logarithm.
"""

from __future__ import annotations

import numpy as np

from hcq_cli.duplicates.fingerprints import BITS, NEW_PICTURE, Fingerprints, changed_bits

BANDS = 24
NEXT = 3
"""Videos with an equal band that each is paired with."""
COMMON = 12
"""A token whose band more videos than this have tells nothing about a part."""
LEAST_BITS, SPARE_BITS, MOST_BITS = 12, 5, 32
TOKENS_AT_ONCE = 1 << 16
LEAST_VOTES = 2
"""Agreeing bands of a pair, over all of its tokens."""


def candidates(prints: Fingerprints) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of videos worth aligning, int64 [P, 2], the first the smaller; and which tokens are common, bool [T]."""
    # Tokens of a still picture would vote as one: the first of them alone does.
    new, videos = new_pictures(prints), len(prints.offsets) - 1
    bits, owners = prints.unsided[new], prints.owners[new]
    tokens = len(bits)
    told, votes = np.zeros(tokens, bool), np.empty((0, 2), np.int64)
    # As many bits as the number of tokens asks for, and a few more: two strangers then seldom agree.
    width = int(np.clip(np.ceil(np.log2(max(tokens, 2))) + SPARE_BITS, LEAST_BITS, MOST_BITS))
    rng = np.random.default_rng(3)
    for _ in range(BANDS):
        band = np.zeros(tokens, np.uint64)
        for bit in rng.choice(BITS, width, replace=False).tolist():
            band = band << np.uint64(1) | (bits[:, bit // 8] >> (7 - bit % 8) & 1).astype(np.uint64)
        keys, counts = _pairs(band, owners, told, videos)
        votes = _added(votes, keys, counts)
    pairs = votes[votes[:, 1] >= LEAST_VOTES, 0]
    # What is said of a picture holds for all of its tokens.
    common = told[np.maximum(np.cumsum(new) - 1, 0)] if tokens else np.zeros(len(new), bool)
    return np.stack([pairs // max(videos, 1), pairs % max(videos, 1)], axis=1), common


def new_pictures(prints: Fingerprints) -> np.ndarray:
    """Which tokens show another picture than the one before them in their video, bool [T]."""
    new = np.ones(len(prints.bits), bool)
    for start in range(1, len(new), TOKENS_AT_ONCE):
        stop = min(start + TOKENS_AT_ONCE, len(new))
        new[start:stop] = changed_bits(prints.bits[start - 1 : stop - 1], prints.bits[start:stop]) > NEW_PICTURE
    new[prints.offsets[:-1][np.diff(prints.offsets) > 0]] = True
    return new


def _pairs(band: np.ndarray, owners: np.ndarray, common: np.ndarray, videos: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of one band, each as first · V + second, ascending, with how often each comes; marks common ones."""
    order = np.lexsort((owners, band))
    band, owner = band[order], owners[order]
    new_key = np.append(True, band[1:] != band[:-1]) if len(band) else np.empty(0, bool)
    new_video = new_key | np.append(True, owner[1:] != owner[:-1])[: len(band)]
    group = np.cumsum(new_key) - 1
    sizes = np.bincount(group[new_video], minlength=group[-1] + 1 if len(group) else 0)
    common[order] |= sizes[group] > COMMON
    band, owner = group[new_video], owner[new_video]
    found = [np.empty(0, np.int64)]
    for step in range(1, NEXT + 1):
        same = band[step:] == band[:-step]
        if step > 1:  # what many have leads from each to the next alone
            same &= sizes[band[step:]] <= COMMON
        found.append(owner[:-step][same] * videos + owner[step:][same])
    return np.unique(np.concatenate(found), return_counts=True)


def _added(votes: np.ndarray, keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Votes [P, 2] of keys and numbers, with more of them added."""
    every, places = np.unique(np.concatenate([votes[:, 0], keys]), return_inverse=True)
    numbers = np.bincount(places, np.concatenate([votes[:, 1], counts]), len(every)).astype(np.int64)
    return np.stack([every, numbers], axis=1)
