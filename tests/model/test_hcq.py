"""The whole network: padding, neighbours and missing experts have no part in what stands for a video or a caption."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import CAPTIONS, batch, config, model

from hcq_cli.model.video import video_tensors

COUNTS = {"appearance": [4, 2, 1], "audio": [3, 0, 2]}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("padding", [1, 9])
def test_the_amount_of_padding_changes_nothing(padding: int, training: bool) -> None:
    network = model().network.train(training)
    tight, wide = (video_tensors(batch(COUNTS, n), config(), torch.device("cpu")) for n in (0, padding))
    torch.testing.assert_close(network.embed_videos(tight), network.embed_videos(wide), atol=1e-6, rtol=0)


def test_a_caption_is_encoded_the_same_beside_a_longer_one() -> None:
    trained = model()
    alone = np.concatenate([trained.encode_texts([caption]) for caption in CAPTIONS])
    np.testing.assert_allclose(trained.encode_texts(CAPTIONS), alone, atol=1e-6)


def test_a_missing_expert_is_not_averaged_in() -> None:
    """The reference averages the [AGG] outputs of missing experts too."""
    trained = model()
    network = trained.network
    videos = video_tensors(batch({"appearance": [3], "audio": [0]}), config(), torch.device("cpu"))
    encoded = network.video_encoder(videos)
    wanted = torch.nn.functional.normalize(encoded.aggregates[:, 0], dim=-1)
    torch.testing.assert_close(network.embed_videos(videos)[:, 0], wanted, atol=1e-6, rtol=0)
    without = batch({"appearance": [3]})
    np.testing.assert_allclose(
        trained.encode_videos(without), trained.encode_videos(batch({"appearance": [3], "audio": [0]})), atol=1e-6
    )
