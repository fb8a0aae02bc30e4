"""What captions teach a fitted model: kept where new videos are found by it, refused where they are lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hcq_cli.fitting import adaptation
from hcq_cli.fitting.adaptation import CaptionedVectors, adapt, learn
from hcq_cli.fitting.adapter import TextAdapter


def collection(turned: float, captions: int = 120, videos: int = 160, width: int = 24) -> CaptionedVectors:
    """Videos, and texts that lie where theirs do, but for a map that turns some directions by as much as told."""
    rng = torch.Generator().manual_seed(7)
    seen = F.normalize(torch.randn(videos, width, generator=rng), dim=1)
    mix = torch.linalg.qr(torch.randn(width, width, generator=rng)).Q
    texts = (1 - turned) * seen + turned * seen @ mix + 0.05 * torch.randn(videos, width, generator=rng)
    texts = F.normalize(texts, dim=1)
    asked = F.normalize(torch.randn(64, width, generator=rng), dim=1)
    return CaptionedVectors(texts[:captions], torch.arange(captions), seen, torch.arange(videos), asked)


def test_the_map_is_the_plain_product() -> None:
    adapter, texts = TextAdapter(6, 2), torch.randn(3, 6)
    adapter.down.copy_(torch.randn(2, 6))
    adapter.up.copy_(torch.randn(2, 6))
    plain = texts.numpy() @ (np.eye(6) + adapter.down.numpy().T @ adapter.up.numpy())
    assert np.abs(adapter(texts).numpy() - plain).max() < 1e-5


def test_what_helps_new_videos_is_kept_and_does_so() -> None:
    whole = collection(turned=0.8)
    learned, new = whole.of(np.arange(120) < 80), whole.of(np.arange(120) >= 80)
    found = adapt(learned)
    assert found.adapter is not None and found.after.R1 > found.before.R1 + 10
    before, after = ((texts @ new.videos.T).argmax(1) == new.owner for texts in (new.texts, found.adapter(new.texts)))
    assert after.float().mean() > before.float().mean() + 0.1


def test_what_loses_videos_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "PENALTIES", (1e-3,))
    good = collection(turned=0.0)
    wrong = replace(good, owner=good.owner.roll(7))
    found = adapt(wrong, validation=good)
    assert found.adapter is None and found.after.R1 < found.before.R1
    assert not found.to_dict()["kept"] and "validate" in found.validated


def test_too_few_tell_nothing() -> None:
    few = adapt(collection(0.5, captions=adaptation.LEAST_VIDEOS - 1))
    assert few.adapter is None and few.before is None and "fewer than 10" in few.validated


def test_copies_of_one_video_are_no_reason_to_move() -> None:
    whole = collection(turned=0.0, captions=2)
    whole.videos[1] = whole.videos[0]
    alike = replace(whole, groups=torch.zeros(len(whole.videos), dtype=torch.long))
    assert learn(alike, 0.1).up.abs().max() < 1e-6  # there is nothing to tell them from
    assert learn(whole, 0.1).up.abs().max() > 1e-2


def test_more_captions_than_a_batch_and_more_directions_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "BATCH", 32)
    monkeypatch.setattr(adaptation, "RANK", 12)
    whole = collection(turned=0.8)
    adapter = learn(whole, 0.01)
    assert adapter.down.shape == (12, 24)
    right = [(texts @ whole.videos.T).argmax(1) == whole.owner for texts in (whole.texts, adapter(whole.texts))]
    assert right[1].float().mean() > right[0].float().mean()
