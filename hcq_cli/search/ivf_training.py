"""Making inverted lists: k-means over a sample of the videos, then which lists a query must look into.

Measured on 60,000 generated videos of 256 bytes, encoded by a trained model of width 128 (1,024 dimensions in all),
1,024 lists, 1,000 captions of other videos as queries; recall of the exhaustive top 10 by share of videos scanned:

| lists made from                              | recall at 1/15 | share for 0.99 | share for 0.97 |
|----------------------------------------------|----------------|----------------|----------------|
| the whole vector                             | 0.993          | 1/17.0         | 1/29           |
| its 32 main directions                       | 0.993          | 1/17.6         | 1/29           |
| its 128 main directions (what is done here)  | 0.992          | 1/17.1         | 1/28           |
| its 256 main directions                      | 0.994          | 1/17.0         | 1/28           |
| 128 random directions                        | 0.979          | 1/9.5          | 1/19           |
| the coarse level alone                       | 0.967          | 1/7.7          | 1/14           |
| the same lists, chosen by the whole vector   | 0.975          | 1/9.1          | 1/17           |

So the whole vector is better than the coarse level, and its main directions hold all that matters at an eighth of
the work. Unit centroids, or a bonus for wide lists, change nothing.

Share scanned for a recall of 0.99 and 0.995, of 500,000 videos made from those 60,000, by which lists a query takes:

| lists | a fixed number | all that come near the best | …the mean of the best 8 (what is done here) |
|-------|----------------|-----------------------------|---------------------------------------------|
| 1,024 | 1/15.0, 1/12.2 | 1/17.3, 1/14.6              | 1/19.1, 1/16.0                              |
| 2,048 | 1/17.4, 1/13.0 |                             | 1/22.3, 1/19.6                              |
| 4,096 | 1/28.4, 1/23.0 |                             | 1/32.6, 1/26.8                              |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hcq_cli.codes.codefile import CodeFile
from hcq_cli.scan.blocks import Blocks
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import reconstruct_levels, tables
from hcq_cli.search.ivf import (
    InvertedLists,
    Tuning,
    level_weights,
    list_sizes,
    nearest,
    reconstruct_vectors,
    shortfall,
    weighted_codewords,
)
from hcq_cli.search.segment import IndexSegment

if TYPE_CHECKING:
    from hcq_cli.datasets.captions import Captions
    from hcq_cli.search.text_encoder import TextEncoder

DIMENSIONS = 128
"""P, directions kept."""
FEWEST_VIDEOS = 100_000
"""Below this `auto` makes no lists: everything is scanned in a few milliseconds."""
VIDEOS_A_LIST = 1024
"""What `auto` aims at: twice as many lists make a query look into a fifth less, and a build take twice as long."""
SAMPLE_A_LIST = 64
"""Videos a list learns from."""
DIRECTION_SAMPLE = 16_384
"""Videos the directions are learned from."""
ITERATIONS = 10
HITS = 10
WANTED_RECALL = 0.99
MARGIN = 0.006
"""The gap is chosen for so much more recall than wanted, because it is chosen on a sample of queries, whose hits
often lie in one list: of 5,000,000 videos, chosen for 0.994, other queries had 0.984."""
QUERIES = 1024
"""Most queries used to choose the gap and to measure it, half of them each."""
NOISE_COSINE = 0.6
"""How like its video a query made from a video is; captions of trained models are about as like theirs."""


@dataclass(frozen=True)
class TuningQueries:
    """Queries to choose the gap with.

    Args:
        levels: float32 [Q, L+1, D].
        source: what they are, for `hcq index info`.
    """

    levels: np.ndarray
    source: str


def lists_for(videos: int) -> int:
    """How many lists `auto` makes for a number of videos; 0 for none."""
    if videos < FEWEST_VIDEOS:
        return 0
    # More lists than 4·√N cost a query more to choose among than they save it in the scan.
    return int(2 ** np.round(np.log2(min(videos / VIDEOS_A_LIST, 4 * np.sqrt(videos)))))


def sample(files: Sequence[CodeFile], lists: int) -> np.ndarray:
    """Codes uint8 [n, S] of some videos of code files, evenly drawn: as many as that number of lists learns from."""
    counts = np.array([len(file) for file in files])
    firsts = np.cumsum(counts) - counts
    wanted = min(int(counts.sum()), max(SAMPLE_A_LIST * lists, DIRECTION_SAMPLE))
    # Unshuffled, which is faster; sorted, because a file is read forwards.
    rows = np.random.default_rng(0).choice(int(counts.sum()), wanted, replace=False, shuffle=False)
    rows.sort()
    of_file = [
        rows[(rows >= first) & (rows < first + count)] - first for first, count in zip(firsts, counts, strict=True)
    ]
    return np.concatenate([file.codes[here] for file, here in zip(files, of_file, strict=True)])


def learn(codes: np.ndarray, codebooks: np.ndarray, scale: np.ndarray, lists: int) -> InvertedLists:
    """Learn the lists of a collection from a sample of it.

    Args:
        codes: uint8 [n, S], the sample; at least one.
        codebooks: float32 [S, K, d].
        scale: float32 [S].
        lists: how many to make; fewer where the sample is smaller.
    """
    random, weights = np.random.default_rng(0), level_weights(scale)
    some = codes[random.choice(len(codes), min(len(codes), DIRECTION_SAMPLE), replace=False)]
    directions = main_directions(some, codebooks, weights, random)
    blank = InvertedLists(directions, np.empty((0, 0), np.float32), weights)
    vectors = blank.vectors(codes, codebooks)
    return replace(blank, centroids=kmeans(vectors, min(lists, len(vectors)), random))


def main_directions(
    codes: np.ndarray, codebooks: np.ndarray, weights: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """The directions float32 [S·d, P] that carry most of the vectors of codes uint8 [n, S].

    The main eigenvectors of the vectors' second moments. They are not centred: scores are inner products, not
    distances from a mean. Orthogonal iteration (Golub and Van Loan, Matrix Computations, chapter 8) finds the few
    that are wanted without decomposing the whole matrix.
    """
    words, firsts = weighted_codewords(codebooks, weights)
    width = codebooks.shape[0] * codebooks.shape[2]
    moments = np.zeros((width, width), np.float32)
    for start in range(0, len(codes), 1024):
        vectors = reconstruct_vectors(codes[start : start + 1024], words, firsts)
        moments += vectors.T @ vectors
    found = random.normal(size=(width, min(DIMENSIONS, width))).astype(np.float32)
    for _ in range(8):
        # Made orthonormal each time, else all columns would turn towards the first eigenvector.
        found = np.linalg.qr(moments @ found)[0]
    return np.ascontiguousarray(found, np.float32)


def kmeans(vectors: np.ndarray, lists: int, random: np.random.Generator) -> np.ndarray:
    """Lloyd's k-means: centroids float32 [lists, P] of vectors float32 [n, P]; an empty cell starts anew."""
    centroids = vectors[random.choice(len(vectors), lists, replace=False)]
    for _ in range(ITERATIONS):
        cells = nearest(vectors, centroids)
        # Sorted by cell, so that one `reduceat` adds up all cells at once.
        by_cell = np.argsort(cells, kind="stable")
        sizes = np.bincount(cells, minlength=lists)
        filled = np.flatnonzero(sizes)
        starts = (np.cumsum(sizes) - sizes)[filled]
        # Cells without a vector start anew from one drawn at random; all others become the mean of theirs.
        centroids = vectors[random.choice(len(vectors), lists)]
        centroids[filled] = np.add.reduceat(vectors[by_cell], starts, axis=0) / sizes[filled, None]
    return centroids


def noisy_videos(codes: np.ndarray, codebooks: np.ndarray, levels: int) -> TuningQueries:
    """Queries where no captions are at hand: videos as their codes see them, each level with noise added.

    Args:
        codes: uint8 [n, S].
        codebooks: float32 [S, K, d].
        levels: L+1.
    """
    clean = reconstruct_levels(codes, codebooks, levels)
    noise = np.random.default_rng(1).normal(size=clean.shape).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=2, keepdims=True)
    # Two random directions in hundreds of dimensions are nearly orthogonal, so the cosine comes out as wanted.
    mixed = NOISE_COSINE * clean + np.sqrt(1 - NOISE_COSINE**2) * noise
    return TuningQueries(mixed / np.linalg.norm(mixed, axis=2, keepdims=True), "noisy videos")


def caption_queries(captions: Captions, encoder: TextEncoder) -> TuningQueries | None:
    """Captions as queries: of test and validation videos if there are enough, else of any; None if there are none.

    Args:
        captions: of the collection.
        encoder: of the model that made the codes.
    """
    # The model has learned the captions of its training videos: those are easier to find than a user's queries.
    unseen = [text for video in captions.videos if video.split in ("test", "val") for text in video.captions]
    texts = unseen if len(unseen) >= QUERIES // 4 else [text for v in captions.videos for text in v.captions]
    texts = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(texts) < 2:
        return None
    chosen = np.random.default_rng(0).permutation(len(texts))[:QUERIES].tolist()
    encoder.prepare()
    return TuningQueries(encoder.encode([texts[at] for at in chosen]), "captions")


def tune(
    ivf: InvertedLists,
    living: Sequence[IndexSegment],
    queries: TuningQueries,
    codebooks: np.ndarray,
    scale: np.ndarray,
    *,
    threads: int = 1,
) -> InvertedLists:
    """Choose the gap on one half of the queries, measure its recall on the other, against the exhaustive answer.

    Args:
        ivf: not tuned yet.
        living: segments whose codes lie by these lists.
        queries: at least two.
        codebooks: float32 [S, K, d].
        scale: float32 [S].
        threads: cores to scan with.
    """
    levels = queries.levels[:QUERIES]
    sources = [Blocks(one.blocks.codes, one.videos, one.dead, one.blocks.order) for one in living]
    best = scan(sources, tables(levels, codebooks, scale), HITS, threads=threads)
    gaps = shortfall(ivf.expected(levels))
    own_lists = _lists_of(living, best.rows)
    # The gap with which each hit of an even query is found: the 0.996 quantile is the gap that finds that share.
    needed = np.take_along_axis(gaps, own_lists, axis=1)[0::2].ravel()
    wanted = min(1.0, WANTED_RECALL + MARGIN)
    gap = max(0.0, float(np.sort(needed)[int(np.ceil(wanted * len(needed))) - 1])) if len(needed) else 0.0
    sizes = list_sizes([one.list_starts for one in living if one.list_starts is not None], ivf.lists)
    videos = int(sizes.sum())
    # With the gap alone, so that `choose` can be asked; what it chooses is then measured.
    tuning = Tuning(
        nprobe=1,
        recall=1.0,
        hits=HITS,
        queries=len(levels),
        source=queries.source,
        scanned=1.0,
        videos=videos,
        gap=gap,
    )
    tuned = replace(ivf, tuning=tuning)
    chosen = tuned.choose(levels, sizes, HITS)
    found = [np.isin(own, lists) for own, lists in zip(own_lists[1::2], chosen[1::2], strict=True)]
    measured = replace(
        tuning,
        nprobe=round(float(np.mean([len(lists) for lists in chosen]))),
        recall=float(np.concatenate(found).mean()) if found and found[0].size else 1.0,
        scanned=float(np.mean([sizes[lists].sum() for lists in chosen])) / max(videos, 1),
    )
    return replace(tuned, tuning=measured)


def _lists_of(segments: Sequence[IndexSegment], rows: np.ndarray) -> np.ndarray:
    """The lists int64 of rows int64 (of any shape) that count through all segments."""
    found, first = np.zeros_like(rows), 0
    for segment in segments:
        here = (rows >= first) & (rows < first + segment.videos)
        found[here] = segment.lists_of(rows[here] - first)
        first += segment.videos
    return found
