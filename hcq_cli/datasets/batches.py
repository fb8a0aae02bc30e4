"""Batches: ragged features made rectangular, and which videos and captions meet in a training step.

Letters: B batch, C captions a video, T tokens. Everything is NumPy; nothing loops over tokens or videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import HcqError, UsageError
from hcq_cli.features.stored_tokens import AnyRagged

MAX_TOKENS = 30
"""Tokens an expert keeps of a video, in the settings of HCQ (Wang et al., WWW 2022, arXiv 2202.03384)."""


@dataclass(frozen=True)
class VideoBatch:
    """B videos, padded; T_e is the longest of the batch for expert e, at least 1.

    Args:
        features: expert -> float32 [B, T_e, dim]; zero where masked.
        times: expert -> float32 [B, T_e], seconds; NaN where unknown, zero where masked.
        mask: expert -> bool [B, T_e]; True where there is a token. A row of False is a video without that expert.
    """

    features: dict[str, NDArray[np.float32]]
    times: dict[str, NDArray[np.float32]]
    mask: dict[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        """B, videos; 0 of a batch without any expert."""
        return len(next(iter(self.mask.values()), ()))


def collate(
    ragged: Mapping[str, AnyRagged], max_tokens: int = MAX_TOKENS, rng: np.random.Generator | None = None
) -> VideoBatch:
    """Pad the tokens of B videos to rectangles, keeping at most `max_tokens` of each expert, in order of time.

    Args:
        ragged: expert -> the tokens of the same B videos.
        max_tokens: of a longer video only so many tokens are kept.
        rng: with it, a random subset (training); without, evenly spaced ones (the same ones every time).

    Raises:
        HcqError: a feature is NaN or infinite.
    """
    batch = VideoBatch({}, {}, {})
    for expert, tokens in ragged.items():
        source, mask = kept_tokens(np.asarray(tokens.offsets, np.int64), max_tokens, rng)
        # A mask on the left is filled row by row, in the order in which `source` lists the tokens.
        features = np.zeros((*mask.shape, tokens.features.shape[1]), np.float32)
        times = np.zeros(mask.shape, np.float32)
        features[mask], times[mask] = tokens.features[source], tokens.times[source]
        # Here, and not later: one NaN would be spread over the whole batch by the first product of matrices.
        if not np.isfinite(features).all():
            bad = np.flatnonzero(~np.isfinite(features).all(axis=(1, 2)))
            raise HcqError(
                f"features of expert {expert!r} are NaN or infinite for {len(bad)} of {len(mask)} videos "
                f"(first: number {bad[0]} of the batch)",
                "hcq features verify",
            )
        batch.features[expert], batch.times[expert], batch.mask[expert] = features, times, mask
    return batch


def with_experts(batch: VideoBatch, widths: Mapping[str, int]) -> VideoBatch:
    """A batch with every expert of a model, in its order; what the batch lacks is masked.

    Args:
        batch: of whatever experts.
        widths: of the model's experts.

    Raises:
        HcqError: an expert's features are of another width.
    """
    whole = VideoBatch({}, {}, {})
    for name, dim in widths.items():
        if name not in batch.features:
            whole.features[name] = np.zeros((len(batch), 1, dim), np.float32)
            whole.times[name], whole.mask[name] = (
                np.zeros((len(batch), 1), np.float32),
                np.zeros((len(batch), 1), bool),
            )
            continue
        found = batch.features[name].shape[-1]
        if found != dim:
            raise HcqError(
                f"features of {name} are {found} wide; the model was trained on {dim}",
                "hcq train (on these features), or encode the features it was trained on",
            )
        whole.features[name], whole.times[name] = batch.features[name], batch.times[name]
        whole.mask[name] = batch.mask[name]
    return whole


def padded_to(batch: VideoBatch, tokens: int) -> VideoBatch:
    """A batch with so many slots for the tokens of each expert; those that it did not have hold none, at no time."""
    padded = VideoBatch({}, {}, {})
    for name, mask in batch.mask.items():
        spare = ((0, 0), (0, max(tokens - mask.shape[1], 0)))
        padded.features[name] = np.pad(batch.features[name], (*spare, (0, 0)))
        padded.times[name] = np.pad(batch.times[name], spare, constant_values=np.nan)
        padded.mask[name] = np.pad(mask, spare)
    return padded


def kept_tokens(
    offsets: NDArray[np.int64], max_tokens: int, rng: np.random.Generator | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which tokens stay, and where they go.

    Args:
        offsets: int64 [B+1].
        max_tokens: at most so many a video.
        rng: see `collate`.

    Returns:
        Rows of the kept tokens, int64 [kept], in order; mask bool [B, T], T ≥ 1, whose true cells, read row by row,
        they fill.
    """
    counts = np.diff(offsets)
    kept = np.minimum(counts, max_tokens)
    slots = np.arange(max(1, kept.max(initial=0)))
    mask = slots[None, :] < kept[:, None]
    if rng is not None and (counts > max_tokens).any():
        return _random_subset(offsets, kept, rng), mask
    # Slot j of k shows token ⌊(j + ½) n / k⌋ of n: the middle of the j-th of k equal slices, and j where k = n. In
    # whole numbers, (2j + 1) n // 2k, so that no rounding picks another token on another machine.
    even = (2 * slots + 1)[None, :] * counts[:, None] // np.maximum(2 * kept, 1)[:, None]
    return (offsets[:-1, None] + even)[mask], mask


def _random_subset(
    offsets: NDArray[np.int64], kept: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """kept[b] rows of each video b, every subset equally likely, in order: int64 [sum of kept]."""
    video = np.repeat(np.arange(len(kept)), np.diff(offsets))
    first, last = offsets[0], offsets[-1]
    # A random key a token, sorted within each video: its first kept[b] tokens in that order are the subset.
    shuffled = np.lexsort((rng.random(last - first), video))
    rank = np.arange(last - first) - (offsets[:-1] - first)[video]
    chosen = np.zeros(last - first, bool)
    chosen[shuffled[rank < kept[video]]] = True
    return np.flatnonzero(chosen) + first


@dataclass(frozen=True)
class BatchPlan:
    """What meets in one training step: B videos and C captions of each.

    Args:
        epoch: which epoch, from 0.
        step: which step of the epoch, from 0.
        videos: int64 [B], positions in the training set, no two alike.
        captions: int64 [B, C], which of its captions each video brings.
        seed: of the sampler.
    """

    epoch: int
    step: int
    videos: NDArray[np.int64]
    captions: NDArray[np.int64]
    seed: int

    def micro_batches(self, count: int) -> list[BatchPlan]:
        """The same step in at most `count` pieces of nearly equal size, for gradients that are added up."""
        pieces = np.array_split(np.arange(len(self.videos)), min(count, len(self.videos)))
        return [replace(self, videos=self.videos[piece], captions=self.captions[piece]) for piece in pieces]

    def rng(self) -> np.random.Generator:
        """Randomness of this step's own (for `collate`): the same whenever the step is run."""
        # The last number keeps apart the three streams of a step: 0 the shuffle, 1 tokens, 2 captions.
        return np.random.default_rng((self.seed, self.epoch, self.step, 1))


class BatchSampler:
    """Which videos and captions meet in each step; a function of seed, epoch and step alone.

    So training resumes at any step with nothing saved. An epoch shuffles the videos and cuts them into batches of
    nearly equal size: none is left out, and no last batch is too small to contrast anything with.

    Args:
        caption_counts: captions of each training video, each ≥ 1.
        batch_size: most videos a step.
        seed: of all randomness.
        captions_per_video: C, captions drawn for each video of a step; all different where it has that many.
        samples_per_epoch: videos an epoch; None for each once (the paper: 32,000).

    Raises:
        UsageError: there is nothing to draw from, or a size is below 1.
    """

    def __init__(
        self,
        caption_counts: Sequence[int] | NDArray[np.int64],
        batch_size: int,
        seed: int,
        captions_per_video: int = 1,
        samples_per_epoch: int | None = None,
    ) -> None:
        self.counts = np.asarray(caption_counts, np.int64)
        if not len(self.counts) or self.counts.min() < 1:
            raise UsageError("no captioned video to train on", "hcq captions check FILE")
        if min(batch_size, captions_per_video, samples_per_epoch or 1) < 1 or seed < 0:
            raise UsageError("batch size, captions a video and samples an epoch must be at least 1, the seed 0")
        self.batch_size, self.seed, self.captions_per_video = batch_size, seed, captions_per_video
        self._batches_a_round = -(-len(self.counts) // batch_size)
        self.steps_per_epoch = self._batches_a_round
        if samples_per_epoch is not None:
            self.steps_per_epoch = -(-samples_per_epoch // batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[BatchPlan]:
        """The steps of one epoch, from step `start` on."""
        # A round goes through all videos once; an epoch of more samples than videos has several, each shuffled anew.
        for first in range(0, self.steps_per_epoch, self._batches_a_round):
            if start >= first + self._batches_a_round:
                continue
            shuffle = np.random.default_rng((self.seed, epoch, first, 0))
            batches = np.array_split(shuffle.permutation(len(self.counts)), self._batches_a_round)
            for step, videos in enumerate(batches[: self.steps_per_epoch - first], first):
                if step >= start:
                    captions = self._captions(epoch, step, videos)
                    yield BatchPlan(epoch, step, videos, captions, self.seed)

    def _captions(self, epoch: int, step: int, videos: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = self.counts[videos]
        rng = np.random.default_rng((self.seed, epoch, step, 2))
        if self.captions_per_video == 1:
            # A random number below 1 times n may round up to n itself.
            return np.minimum((rng.random(len(videos)) * counts).astype(np.int64), counts - 1)[:, None]
        # Several of a video: its captions shuffled by random keys, those it does not have (key ∞) last, and taken
        # from the front; a video with fewer than C begins again.
        slots = np.arange(counts.max())
        keys = np.where(slots[None, :] < counts[:, None], rng.random((len(videos), len(slots))), np.inf)
        order = np.argsort(keys, axis=1)
        wanted = np.arange(self.captions_per_video)[None, :] % counts[:, None]
        return np.take_along_axis(order, wanted, axis=1)


def in_order(total: int, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Positions 0 … total-1 in batches of `batch_size`, for encoding and evaluation."""
    for first in range(0, total, batch_size):
        yield np.arange(first, min(first + batch_size, total), dtype=np.int64)
