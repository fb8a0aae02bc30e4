"""The model without captions, against its formula in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.errors import DamagedError
from hcq_cli.fitting.network import (
    BEST_CLASSES,
    EARLIER_TEMPERATURE,
    LEAST_REACH,
    TEMPERATURE,
    Concepts,
    FittedEncoder,
)
from hcq_cli.model import text
from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig, VideoConfig
from hcq_cli.model.video import video_tensors

HIDDEN, CLASSES = 16, 40


def made(width: int = 72, relative: bool = True, **experts: ExpertConfig) -> FittedEncoder:
    torch.manual_seed(0)
    shape = ModelConfig(
        kind="fitted",
        width=width,
        levels=0,
        text=TextConfig(layers=1, heads=2, width=HIDDEN, ffn=32),
        video=VideoConfig(heads=1, layers=0),
        quantizer=QuantizerConfig(codebooks=8, codewords=4, rotation="all"),
        experts=experts or {"objects": ExpertConfig(CLASSES, reads="probabilities", weight=0.7)},
        relative=relative,
    ).check()
    encoder = text.build(shape.text, ["a red dog runs", "birds"])
    network = FittedEncoder(shape, encoder.transformer).eval()
    for part in network.parts().values():
        part.names.copy_(torch.nn.functional.normalize(torch.randn(part.names.shape), dim=1))
        part.rarity.copy_(torch.rand(part.rarity.shape))
        part.balance.fill_(0.5)
        if relative:
            part.unrelated.fill_(0.1)
    return network


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def videos(network: FittedEncoder, features: np.ndarray, counts: list[int]) -> np.ndarray:
    mask = np.arange(features.shape[1]) < np.array(counts)[:, None]
    times = np.zeros(mask.shape, np.float32)
    batch = VideoBatch({"objects": features}, {"objects": times}, {"objects": mask})
    with torch.inference_mode():
        return network.embed_videos(video_tensors(batch, network.config, torch.device("cpu")))[:, 0].numpy()


def test_a_video_is_what_its_classes_mean_and_which_they_are() -> None:
    network = made()
    part = network.parts()["objects"]
    names, rarity = part.names.numpy(), part.rarity.numpy()
    features = np.random.default_rng(0).random((2, 3, CLASSES)).astype(np.float32)
    features[1, 2] = 9.0  # behind the last token: nothing may read it
    found = videos(network, features, [3, 2])
    for row, tokens in zip(found, (features[0], features[1, :2]), strict=True):
        strength = np.sqrt(np.sqrt(tokens.mean(0) * tokens.max(0)) * rarity)
        strength[np.argsort(-strength)[BEST_CLASSES:]] = 0
        assert row[:HIDDEN] == pytest.approx(unit(strength @ names), abs=1e-5)
        assert row[HIDDEN : HIDDEN + CLASSES] == pytest.approx(0.5 * unit(strength), abs=1e-5)
        assert not row[HIDDEN + CLASSES :].any()
    assert not videos(network, features, [0, 0]).any()
    network.centre.fill_(0.25)
    assert videos(network, features, [3, 2]) == pytest.approx(found - 0.25)


def test_a_query_is_its_sentence_and_the_classes_it_is_near_to() -> None:
    network = made()
    part = network.parts()["objects"]
    network.centre.copy_(torch.randn(network.config.width) / 50)
    sentences = torch.nn.functional.normalize(torch.randn(3, HIDDEN), dim=1)
    found = network.query(sentences)[:, 0].numpy()
    likeness = sentences.numpy() @ part.names.numpy().T
    beyond = (likeness - 0.1) / 0.9
    near = 0.7 * unit(beyond * np.exp(beyond / TEMPERATURE)) * beyond.max(1, keepdims=True)
    whole = np.zeros((3, network.config.width), np.float32)
    whole[:, : HIDDEN + CLASSES] = np.concatenate([sentences.numpy(), near / 0.5], 1)
    reach = (likeness + near).max(1) - whole @ network.centre.numpy()
    assert found == pytest.approx(whole / (reach + LEAST_REACH)[:, None], abs=1e-5)
    network.learn_query_scale(sentences)
    assert network.query(sentences)[:, 0].norm(dim=1).mean() == pytest.approx(1, abs=1e-5)
    assert network.query(sentences)[0, 0] == pytest.approx(network.query_scale.item() * found[0], abs=1e-5)


def test_what_shows_just_what_a_query_names_has_the_score_that_it_could_reach() -> None:
    network = made()
    sentence = network.parts()["objects"].names[7:8]  # a query that is the name of a class
    seen = np.zeros((1, 1, CLASSES), np.float32)
    seen[0, 0, 7] = 0.4
    part = network.parts()["objects"]
    near = 0.7 * part.nearest(part.likeness(sentence))[0, 7].item()
    reached = (network.asked(sentence)[0].numpy() @ videos(network, seen, [1]).T).item()
    assert reached == pytest.approx(1 + near, abs=1e-5)


def test_models_of_before_have_queries_of_length_1() -> None:
    network = made(relative=False)
    part = network.parts()["objects"]
    assert "query_scale" not in network.state_dict()
    sentences = torch.nn.functional.normalize(torch.randn(3, HIDDEN), dim=1)
    found = network.query(sentences)[:, 0].numpy()
    likeness = sentences.numpy() @ part.names.numpy().T
    shares = np.exp(likeness / EARLIER_TEMPERATURE) / np.exp(likeness / EARLIER_TEMPERATURE).sum(1, keepdims=True)
    whole = np.concatenate([sentences.numpy(), 0.7 * likeness * shares / 0.5], 1)
    assert found[:, : HIDDEN + CLASSES] == pytest.approx(unit(whole), abs=1e-5)
    assert not found[:, HIDDEN + CLASSES :].any()
    assert network.chance_scores().middle == -0.3 and network.chance_scores().slope == 2


def test_a_sentence_is_the_mean_over_all_its_tokens() -> None:
    network = made()
    ids, mask = torch.tensor([[2, 5, 6, 3, 0]]), torch.tensor([[True, True, True, True, False]])
    with torch.inference_mode():
        states = network.text_encoder.network(input_ids=ids, attention_mask=mask.long()).last_hidden_state[0]
        found = network.embed_sentences(ids, mask, torch.tensor([[True, False, False, True, True]]))
    assert found[0].numpy() == pytest.approx(unit(states[:4].mean(0).numpy()), abs=1e-5)


@pytest.mark.parametrize(
    ("reads", "makes"),
    [
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_logits_become_probabilities(reads: str, makes) -> None:
    logits = np.random.default_rng(1).normal(size=(1, 1, CLASSES)).astype(np.float32)
    part = Concepts(ExpertConfig(CLASSES, reads=reads), HIDDEN)
    seen = part.seen(torch.from_numpy(logits), torch.ones(1, 1, dtype=torch.bool))
    assert seen[0].numpy() == pytest.approx(makes(logits)[0, 0], abs=1e-6)


def test_more_classes_than_axes_share_them_and_keep_inner_products() -> None:
    part, rng = Concepts(ExpertConfig(21_000, reads="probabilities"), 4), np.random.default_rng(2)
    # As queries and videos are: some classes of many. Equal ones must meet, different ones must not on average.
    vectors = np.zeros((40, 21_000), np.float32)
    for row in vectors:
        row[rng.choice(21_000, BEST_CLASSES, replace=False)] = BEST_CLASSES**-0.5
    folded = part.fold(torch.from_numpy(vectors)).numpy()
    assert folded.shape == (40, part.axes) and part.axes < 2100
    assert np.abs(folded @ folded.T - vectors @ vectors.T).mean() < 0.03
    assert Concepts(ExpertConfig(CLASSES, reads="probabilities"), 4).axes == CLASSES


def test_a_shape_that_cannot_be_is_refused() -> None:
    with pytest.raises(DamagedError, match="cannot hold 56 axes"):
        made(width=40)
    with pytest.raises(DamagedError):
        made(objects=ExpertConfig(3))  # says not what its features are
