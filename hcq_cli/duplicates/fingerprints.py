"""Fingerprints: a token as 256 bits, of which two tokens differ in as large a share as the angle between them is.

Tokens are centred on the collection, and their main directions brought closer to equal strength: what all videos have
in common says nothing, what few have says who is who. The bits are the signs of random projections (Charikar, STOC
2002): P(a bit differs) = angle / π.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from experts.classic.appearance import Appearance
from experts.classic.mirror import Reordered, in_mirror
from hcq_cli.features.records import ExpertInfo
from hcq_cli.features.store import FeatureStore

BITS = 256
DIRECTIONS = 64
"""Main directions of a collection's tokens that are kept."""
EVENED = 0.5
"""The power of its strength that a direction is divided by: 0 leaves them, 1 makes all equally strong."""
SAMPLED_VIDEOS = 2000
SAMPLED_TOKENS = 16_384
VIDEOS_AT_ONCE = 256
MOST_TOKENS = 2000
"""Tokens of a video that are kept, evenly: of two hours one in eight."""
NEW_PICTURE = 20
"""Bits by which a token is another picture than the one before, and no still one."""
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of V videos, one after another.

    Args:
        bits: uint8 [T, 32].
        times: float32 [T], seconds.
        offsets: int64 [V+1]; video v has offsets[v]:offsets[v+1].
        mirrored: of the same pictures in a mirror, uint8 [T, 32]; None where nobody can tell.
        unsided: what a picture and its mirrored one have in common, uint8 [T, 32]; `bits` where nobody can tell.
    """

    bits: np.ndarray
    times: np.ndarray
    offsets: np.ndarray
    mirrored: np.ndarray | None
    unsided: np.ndarray

    def of(self, video: int) -> tuple[np.ndarray, np.ndarray]:
        """The bits [n, 32] and the times [n] of a video."""
        part = slice(self.offsets[video], self.offsets[video + 1])
        return self.bits[part], self.times[part]

    def both_ways(self, video: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """`of` the video as it is, and in a mirror where that is known."""
        part = slice(self.offsets[video], self.offsets[video + 1])
        return [(bits[part], self.times[part]) for bits in (self.bits, self.mirrored) if bits is not None]

    @property
    def owners(self) -> np.ndarray:
        """The video of each token, int64 [T]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def fingerprints(
    store: FeatureStore, rows: np.ndarray, expert: str, progress: Callable[[int], None] = lambda _: None
) -> Fingerprints:
    """The fingerprints of some videos of a store: 36 bytes a token, 100 where pictures can be mirrored.

    Args:
        store: of the features.
        rows: int64 [V], of the videos.
        expert: whose tokens.
        progress: told how many videos are done.
    """
    mean, directions = _projection(store, rows, expert)
    mirror = _mirror(store.experts[expert])
    bits = [[np.empty((0, BITS // 8), np.uint8)] for _ in range(3 if mirror else 1)]
    times, counts = [np.empty(0, np.float32)], [0]
    for start in range(0, len(rows), VIDEOS_AT_ONCE):
        part = rows[start : start + VIDEOS_AT_ONCE]
        tokens = store.read(part, [expert])[expert]
        kept = _thinned(tokens.offsets)
        seen = [tokens.features[kept]]
        seen += [seen[0][:, mirror[0]] * mirror[1]] if mirror else []
        projected = [(features - mean) @ directions for features in seen]
        for signs, array in zip(bits, [*projected, sum(projected)], strict=False):
            signs.append(np.packbits(array > 0, axis=1))
        times.append(tokens.times[kept])
        counts += np.diff(np.searchsorted(kept, tokens.offsets)).tolist()
        progress(len(part))
    joined = [np.concatenate(signs) for signs in bits]
    mirrored = joined[1] if mirror else None
    return Fingerprints(joined[0], np.concatenate(times), np.cumsum(counts), mirrored, unsided=joined[-1])


def _mirror(expert: ExpertInfo) -> Reordered | None:
    """How tokens of an expert are mirrored, if anyone knows: networks take no notice of left and right anyway."""
    ours = Appearance()
    known = expert.dim == ours.dim and expert.identity.split("|")[:3] == [ours.name, ours.version, ours.weights]
    return in_mirror() if known else None


def _thinned(offsets: np.ndarray) -> np.ndarray:
    """Which tokens are kept, int64 [n]: of a long video every so many."""
    steps = -(-np.diff(offsets) // MOST_TOKENS)
    parts = [np.arange(a, b, max(step, 1)) for a, b, step in zip(offsets, offsets[1:], steps, strict=False)]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _projection(store: FeatureStore, rows: np.ndarray, expert: str) -> tuple[np.ndarray, np.ndarray]:
    """The mean token [dim] and the directions [dim, BITS] whose signs are the bits, from a sample of the videos."""
    sampled = np.sort(np.random.default_rng(0).permutation(rows)[:SAMPLED_VIDEOS])
    tokens = store.read(sampled, [expert])[expert].features.astype(np.float64)
    tokens = tokens[np.random.default_rng(1).permutation(len(tokens))[:SAMPLED_TOKENS]]
    mean = tokens.mean(0) if len(tokens) else np.zeros(tokens.shape[1])
    centred = tokens - mean
    strengths, axes = np.linalg.eigh(centred.T @ centred / max(len(tokens), 1))
    strengths, axes = strengths[::-1][:DIRECTIONS], axes[:, ::-1][:, :DIRECTIONS]
    present = strengths > 1e-6 * max(strengths[0], 1e-12)
    evened = axes[:, present] * strengths[present] ** (-EVENED / 2)
    random = np.random.default_rng(2).normal(size=(evened.shape[1], BITS))
    return mean.astype(np.float32), (evened @ random).astype(np.float32)


def differing_bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """In how many bits each fingerprint [n, 32] differs from each [m, 32]: int16 [n, m]."""
    found = np.zeros((len(one), len(other)), np.int16)
    words, others = (np.ascontiguousarray(each).view(np.uint64) for each in (one, other))
    for at in range(words.shape[1]):  # a word at a time: no array of n · m · 4
        found += _count_ones(words[:, at, None] ^ others[None, :, at])
    return found


def changed_bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """In how many bits each fingerprint [n, 32] differs from the other of its row: int64 [n]."""
    words = np.ascontiguousarray(one).view(np.uint64) ^ np.ascontiguousarray(other).view(np.uint64)
    return np.asarray(_count_ones(words).sum(1, dtype=np.int64))


def _count_ones(words: np.ndarray) -> np.ndarray:
    """How many bits of each uint64 are 1."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(words))
    halves = np.ascontiguousarray(words)[..., None].view(np.uint8)  # NumPy 1 has no such function
    return np.asarray(_ONES[halves].sum(-1, dtype=np.uint8))


def cosine(differing: np.ndarray) -> np.ndarray:
    """The cosine that tokens which differ in so many bits have, about."""
    return np.cos(np.pi * differing / BITS)
