"""Batches equal a plain loop, and the draw of a step depends on seed, epoch and step alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hcq_cli.datasets.batches import BatchSampler, collate, in_order, kept_tokens, padded_to, with_experts
from hcq_cli.errors import HcqError, UsageError


@dataclass
class Ragged:
    features: NDArray[np.float32]
    times: NDArray[np.float32]
    offsets: NDArray[np.int64]


def ragged(counts: list[int], dim: int = 3, first: int = 0) -> Ragged:
    """Tokens whose every number says which token it is."""
    total = sum(counts)
    rows = np.arange(first, first + total, dtype=np.float32)
    features = rows[:, None] * 10 + np.arange(dim, dtype=np.float32)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Ragged(features, rows / 2 + 1, offsets)


def plain(tokens: Ragged, max_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The evenly spaced batch, video by video and token by token."""
    counts = np.diff(tokens.offsets)
    width = max(1, *(min(n, max_tokens) for n in counts))
    features = np.zeros((len(counts), width, tokens.features.shape[1]), np.float32)
    times, mask = np.zeros((len(counts), width), np.float32), np.zeros((len(counts), width), bool)
    for b, n in enumerate(counts):
        kept = min(n, max_tokens)
        for j in range(kept):
            row = tokens.offsets[b] + int((j + 0.5) * n / kept)
            features[b, j], times[b, j], mask[b, j] = tokens.features[row], tokens.times[row], True
    return features, times, mask


@given(st.lists(st.integers(0, 12), min_size=1, max_size=9), st.integers(1, 8))
def test_evenly_spaced_equals_a_plain_loop(counts: list[int], max_tokens: int) -> None:
    tokens = ragged(counts)
    batch = collate({"appearance": tokens}, max_tokens)
    features, times, mask = plain(tokens, max_tokens)
    assert np.array_equal(batch.features["appearance"], features)
    assert np.array_equal(batch.times["appearance"], times)
    assert np.array_equal(batch.mask["appearance"], mask)
    assert len(batch) == len(counts)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=9), st.integers(1, 8), st.integers(0, 2**31))
def test_random_subset_keeps_order_and_belongs_to_its_video(counts: list[int], max_tokens: int, seed: int) -> None:
    tokens = ragged(counts)
    batch = collate({"motion": tokens}, max_tokens, np.random.default_rng(seed))
    mask = batch.mask["motion"]
    assert mask.sum(1).tolist() == [min(n, max_tokens) for n in counts]
    for b, n in enumerate(counts):
        rows = batch.features["motion"][b, mask[b], 0] / 10
        assert np.all(np.diff(rows) > 0)
        assert np.all((rows >= tokens.offsets[b]) & (rows < tokens.offsets[b + 1]))
        if n <= max_tokens:
            assert len(rows) == n
    assert not batch.features["motion"][~mask].any()


def test_random_subsets_are_equally_likely() -> None:
    offsets = np.array([0, 4, 5], np.int64)
    rng = np.random.default_rng(0)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(3000):
        rows, _ = kept_tokens(offsets, 2, rng)
        assert rows[-1] == 4
        seen[tuple(rows[:2])] = seen.get(tuple(rows[:2]), 0) + 1
    assert len(seen) == 6
    assert min(seen.values()) > 400


def test_offsets_need_not_start_at_zero() -> None:
    whole = ragged([2, 5, 3])
    part = Ragged(whole.features, whole.times, whole.offsets[1:])
    rows, _ = kept_tokens(part.offsets, 4, np.random.default_rng(1))
    assert rows.min() >= 2 and rows.max() < 10 and len(rows) == 7


def test_an_expert_missing_everywhere_is_masked_everywhere() -> None:
    batch = collate({"face": ragged([0, 0], dim=4), "audio": ragged([1, 0])})
    assert batch.features["face"].shape == (2, 1, 4)
    assert not batch.mask["face"].any()
    assert batch.mask["audio"].tolist() == [[True], [False]]


def test_unknown_times_stay_unknown_and_padding_is_zero() -> None:
    tokens = ragged([2, 1])
    tokens.times[:] = np.nan
    times = collate({"motion": tokens}).times["motion"]
    assert np.isnan(times[0]).all() and np.isnan(times[1, 0])
    assert times[1, 1] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    tokens = ragged([2, 3])
    tokens.features[3, 1] = value
    with pytest.raises(HcqError, match="expert 'audio' are NaN or infinite for 1 of 2"):
        collate({"audio": tokens})


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 17), st.integers(0, 5))
def test_every_video_once_an_epoch_in_batches_of_nearly_equal_size(videos: int, size: int, epoch: int) -> None:
    sampler = BatchSampler([1] * videos, size, seed=7)
    draws = list(sampler.epoch(epoch))
    assert len(draws) == sampler.steps_per_epoch
    assert sorted(np.concatenate([draw.videos for draw in draws])) == list(range(videos))
    sizes = [len(draw.videos) for draw in draws]
    assert max(sizes) <= size and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("samples", [None, 7, 30, 100])
@pytest.mark.parametrize("captions", [1, 3])
def test_resuming_at_a_step_draws_the_same(samples: int | None, captions: int) -> None:
    counts = [1 + at % 4 for at in range(23)]

    def draws(start: int) -> list[tuple]:
        sampler = BatchSampler(counts, 5, 3, captions, samples)
        return [
            (d.epoch, d.step, d.videos.tolist(), d.captions.tolist(), d.rng().random())
            for d in sampler.epoch(2, start)
        ]

    whole = draws(0)
    assert [draw[1] for draw in whole] == list(range(len(whole)))
    for start in range(len(whole) + 1):
        assert draws(start) == whole[start:]
    assert len({draw[4] for draw in whole}) == len(whole)


def test_samples_an_epoch_never_repeat_a_video_in_a_batch() -> None:
    sampler = BatchSampler([1] * 10, 4, seed=0, samples_per_epoch=50)
    draws = list(sampler.epoch(0))
    assert len(draws) == sampler.steps_per_epoch == 13
    assert all(len(set(draw.videos)) == len(draw.videos) for draw in draws)


def test_epochs_and_seeds_differ() -> None:
    orders = [
        np.concatenate([draw.videos for draw in BatchSampler([2] * 50, 10, seed).epoch(epoch)]).tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4


def test_captions_drawn_are_the_videos_own_and_different_where_there_are_enough() -> None:
    counts = np.array([1, 2, 5] * 20)
    for draw in BatchSampler(counts, 8, seed=1, captions_per_video=3).epoch(0):
        assert draw.captions.shape == (len(draw.videos), 3)
        assert np.all(draw.captions < counts[draw.videos][:, None])
        for count, drawn in zip(counts[draw.videos], draw.captions, strict=True):
            assert len(set(drawn)) == min(3, count)


def test_every_caption_gets_its_turn() -> None:
    sampler = BatchSampler([5], 1, seed=0)
    drawn = [next(sampler.epoch(epoch)).captions[0, 0] for epoch in range(200)]
    assert np.bincount(drawn, minlength=5).min() > 20


def test_nothing_to_draw_from() -> None:
    with pytest.raises(UsageError):
        BatchSampler([], 4, seed=0)
    with pytest.raises(UsageError):
        BatchSampler([1, 0], 4, seed=0)


def test_in_order() -> None:
    assert [rows.tolist() for rows in in_order(5, 2)] == [[0, 1], [2, 3], [4]]
    assert list(in_order(0, 2)) == []


def test_experts_that_a_batch_lacks_are_masked() -> None:
    batch = collate({"audio": ragged([2, 0, 3])})
    whole = with_experts(batch, {"motion": 4, "audio": 3})
    assert list(whole.features) == list(whole.times) == list(whole.mask) == ["motion", "audio"]
    assert whole.features["motion"].shape == (3, 1, 4) and not whole.mask["motion"].any()
    assert (whole.features["audio"] == batch.features["audio"]).all()
    with pytest.raises(HcqError, match="audio are 3 wide; the model was trained on 5"):
        with_experts(batch, {"audio": 5})


def test_slots_that_are_added_hold_nothing_at_no_time() -> None:
    batch = collate({"audio": ragged([2, 3])})
    padded = padded_to(batch, 5)
    assert padded.features["audio"].shape == (2, 5, 3) and not padded.mask["audio"][:, 3:].any()
    assert (padded.features["audio"][:, :3] == batch.features["audio"]).all()
    assert np.isnan(padded.times["audio"][:, 3:]).all() and not np.isnan(padded.times["audio"][:, :3]).any()
    assert padded_to(batch, 1).mask["audio"].shape == (2, 3)
