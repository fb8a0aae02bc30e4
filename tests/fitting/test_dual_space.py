"""A dual encoder's part of a fitted model: centred, brought to a spread, and harmless where there is nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hcq_cli.fitting.dual_space import DualSpace, spread_of


@pytest.fixture
def made() -> tuple[torch.Tensor, torch.Tensor]:
    """Videos of which the last has nothing to hear, and texts; all of them crowd around one direction."""
    torch.manual_seed(0)
    crowd = torch.ones(8)
    videos = F.normalize(crowd + 0.3 * torch.randn(20, 8), dim=1)
    videos[-1] = 0
    return videos, F.normalize(crowd + 0.5 * torch.randn(30, 8), dim=1)


def test_scores_are_brought_to_a_spread_and_order_stays(made) -> None:
    videos, texts = made
    space = DualSpace(8)
    space.learn(videos, texts, 0.2, 1 / 400)
    there, scores = videos[:-1], space.texts(texts) @ space.centred(videos).T
    assert spread_of(space.texts(texts), space.centred(videos)[:-1]) == pytest.approx(0.2, rel=1e-4)
    assert torch.equal(scores[:, :-1].argsort(1), (texts @ there.T).argsort(1))
    assert float(space.texts(texts).square().mean()) == pytest.approx(1 / 400, rel=1e-4)
    # A video without anything lies where the average of the others is.
    assert float(scores[:, -1].abs().max()) == 0 and abs(float(scores[:, :-1].mean())) < 1e-5


def test_videos_are_the_mean_of_their_tokens_of_length_one(made) -> None:
    tokens, mask = 5 * torch.rand(2, 3, 8) + 1, torch.tensor([[True, True, False], [False, False, False]])
    found = DualSpace(8).videos(tokens, mask)
    assert torch.allclose(found[0], F.normalize(F.normalize(tokens[0, :2], dim=1).sum(0), dim=0), atol=1e-6)
    assert not found[1].any()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nothing_one_video_and_copies_of_one_give_numbers(count, made) -> None:
    _, texts = made
    space = DualSpace(8)
    videos = torch.zeros(3, 8)
    videos[:count] = F.normalize(torch.ones(8), dim=0)
    space.learn(videos, texts, 0.2, 1 / 8)
    assert torch.isfinite(space.texts(texts)).all() and torch.isfinite(space.centred(videos)).all()
