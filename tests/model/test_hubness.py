"""A video that is near to every caption stops being the answer to every caption, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import CAPTIONS, batch, model
from torch import Tensor

from hcq_cli.model import checkpoint
from hcq_cli.model.config import QuantizerConfig
from hcq_cli.model.hubness import BANK, TEMPERATURE, Hubness, HubnessCorrection

WEIGHTS = [0.5, 0.3, 0.2]
WIDTH = 16


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


def collection(videos: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Videos and a blurred caption of each, around one common direction; the first video is near to all captions."""
    generator = torch.Generator().manual_seed(seed)
    common = 4 * F.one_hot(torch.zeros(len(WEIGHTS), dtype=torch.int64), WIDTH)
    own = torch.randn(videos, len(WEIGHTS), WIDTH, generator=generator)
    made = unit(own + common)
    texts = unit(0.6 * own + torch.randn(own.shape, generator=generator) + common)
    made[0] = unit(texts.mean(0))
    return made, texts


def scores(queries: Tensor, items: Tensor) -> Tensor:
    return torch.einsum("l,qld,nld->qn", torch.tensor(WEIGHTS), queries, items)


def times_first(table: Tensor) -> int:
    """How often the first item answers another's query."""
    return int((table[1:].argmax(1) == 0).sum())


def R1(table: Tensor) -> float:
    return float((table.argmax(1) == torch.arange(len(table))).float().mean())


def test_a_hub_is_no_longer_the_first_answer() -> None:
    hubness = Hubness(0.7, WEIGHTS, WIDTH)
    hubness.fit(*collection(400, 0), torch.arange(400))
    videos, texts = collection(200, 1)
    before, after = scores(texts, videos), scores(texts, hubness.videos(videos))
    assert times_first(before) > 5 * times_first(after) and times_first(before) > 5
    assert R1(after) > R1(before)


def test_the_score_falls_by_what_the_formula_says() -> None:
    videos, texts = collection(50)
    hubness = Hubness(0.6, WEIGHTS, WIDTH)
    hubness.fit(videos, texts, torch.arange(50))
    new, _ = collection(7, 3)
    bank, weights = texts.half().double().numpy(), np.array(WEIGHTS)
    plain = np.einsum("l,qld,nld->nq", weights, bank, new.double().numpy())
    nearness = TEMPERATURE * np.log(np.exp(plain / TEMPERATURE).mean(1))
    mean = texts.double().numpy().mean(0)
    along = mean / np.einsum("l,ld,ld", weights, mean, mean)
    wanted = new.double().numpy() - 0.6 * (nearness - float(hubness.videos.usual))[:, None, None] * along
    np.testing.assert_allclose(hubness.videos(new).numpy(), wanted, atol=1e-5)
    # To the mean query itself the score falls by exactly λ (nearness - usual).
    fallen = scores(torch.from_numpy(mean).float()[None], new) - scores(
        torch.from_numpy(mean).float()[None], hubness.videos(new)
    )
    np.testing.assert_allclose(fallen[0].numpy(), 0.6 * (nearness - float(hubness.videos.usual)), atol=1e-5)


def test_own_captions_do_not_count_and_all_own_means_nothing() -> None:
    videos, texts = collection(6)
    correction = HubnessCorrection(1.0, WEIGHTS, WIDTH)
    correction.fit(videos, torch.arange(6), texts, torch.arange(6))
    own = torch.eye(6, dtype=torch.bool)
    others = HubnessCorrection(1.0, WEIGHTS, WIDTH)
    others.fit(videos, torch.arange(6), texts[1:], torch.arange(1, 6))
    torch.testing.assert_close(correction.nearness(videos[:1], own[:1]), others.nearness(videos[:1]))
    everything = torch.ones(6, 6, dtype=torch.bool)
    assert correction.nearness(videos, everything).tolist() == [0.0] * 6


def test_one_video_with_one_caption_is_left_finite() -> None:
    videos, texts = collection(1)
    hubness = Hubness(0.7, WEIGHTS, WIDTH)
    corrected = hubness.fit(videos, texts, torch.zeros(1, dtype=torch.int64))
    assert all(bool(x.isfinite().all()) for x in corrected)


def test_unfitted_it_changes_nothing_and_a_large_bank_is_cut() -> None:
    videos, texts = collection(BANK + 300)
    hubness = Hubness(0.7, WEIGHTS, WIDTH)
    assert hubness.videos(videos) is videos
    hubness.fit(videos, texts, torch.arange(len(videos)))
    assert int(hubness.videos.filled) == BANK
    kept = hubness.videos.bank[[0, -1]].float()
    torch.testing.assert_close(kept, texts[[0, -1]].half().float())


@pytest.mark.parametrize("rotation", ["all", "none"])
def test_a_checkpoint_keeps_it_and_texts_and_videos_have_their_own(rotation: str, tmp_path: Path) -> None:
    quantizer = QuantizerConfig(codebooks=4, codewords=16, rotation=rotation, hubness=1.0)
    made = model(quantizer=quantizer)
    assert (made.network.hubness is not None) == (rotation == "all")
    videos, texts = made.encode_videos(batch({"appearance": [3, 1], "audio": [2, 0]})), made.encode_texts(CAPTIONS)
    if made.network.hubness is not None:
        owner = torch.arange(len(texts)) % len(videos)
        made.network.hubness.fit(torch.from_numpy(videos), torch.from_numpy(texts), owner)
    checkpoint.save(tmp_path, made.network, made.caption_encoder)
    found = checkpoint.load(tmp_path)
    for side in ("videos", "texts"):
        np.testing.assert_array_equal(found.quantize(texts, side), made.quantize(texts, side))  # type: ignore[arg-type]
    differ = not np.array_equal(found.quantize(texts, "videos"), found.quantize(texts, "texts"))
    assert differ == (rotation == "all")
    np.testing.assert_array_equal(found.encode_texts(CAPTIONS), texts)
