"""Classifiers of transformers: tokens are the logits of the network called directly, classes have names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from transformers import AutoImageProcessor, AutoModelForAudioClassification, AutoModelForImageClassification

from experts.base import Clip, Frames, Waveform
from experts.neural.hub_classes import hub_class_names, probabilities_of_hub
from experts.neural.weights import WeightsError, locate
from experts.registry import load


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    root = tmp_path_factory.mktemp("classifiers")
    return {kind: tiny_networks.save(kind, root) for kind in ("classifier", "sound-classifier")}


def test_a_number_a_class_is_the_network_called_directly(classifiers):
    expert = load([f"objects={classifiers['classifier']}"])[0]
    images = np.random.default_rng(1).integers(0, 255, (3, 40, 60, 3), np.uint8)
    clip = Clip(0.0, 3.0, True, False, {expert.sampling: Frames(images, np.arange(3, dtype=np.float32))})
    model = AutoModelForImageClassification.from_pretrained(classifiers["classifier"]).eval()
    inputs = AutoImageProcessor.from_pretrained(classifiers["classifier"], backend="pil")(
        list(images), return_tensors="pt"
    )
    with torch.inference_mode():
        direct = model(**inputs).logits.numpy()
    assert expert.dim == 3 and np.allclose(expert.extract(clip).features, direct, atol=1e-5)


def test_sound_is_heard_in_windows_of_the_network(classifiers):
    expert = load([f"sounds={classifiers['sound-classifier']}"])[0]
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 16_000 * 3).astype(np.float32)
    tokens = expert.extract(Clip(0.0, 3.0, False, True, sound_by_hz={16_000: Waveform(noise, 16_000, 0.0)}))
    extractor = tiny_networks.KINDS["sound-classifier"]()[1]
    model = AutoModelForAudioClassification.from_pretrained(classifiers["sound-classifier"]).eval()
    with torch.inference_mode():
        direct = model(**extractor([noise], sampling_rate=16_000, return_tensors="pt")).logits.numpy()
    assert tokens.features.shape == (1, 2) and np.allclose(tokens.features, direct, atol=1e-4)


def test_the_configuration_names_the_classes(classifiers, tmp_path):
    found = locate(str(classifiers["classifier"]))
    assert hub_class_names(found) == [["dog", "hound"], ["red ball"], ["pancake"]]
    assert probabilities_of_hub(found) == "softmax"
    assert probabilities_of_hub(locate(str(classifiers["sound-classifier"]))) == "sigmoid"
    folder = Path(shutil.copytree(classifiers["classifier"], tmp_path / "nameless"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {str(at): f"LABEL_{at}" for at in range(3)}, "label2id": {}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="its 3 classes have no names"):
        hub_class_names(locate(str(folder)))


def test_what_is_no_such_classifier_is_named(classifiers, networks):
    with pytest.raises(WeightsError, match=r"no classifier of pictures or of sound \(Dinov2Model\)"):
        load([f"objects={networks('dinov2')}"])
    with pytest.raises(WeightsError, match="is a classifier for sounds, not for objects") as caught:
        load([f"objects={classifiers['sound-classifier']}"])
    assert caught.value.hint == f"--experts sounds={classifiers['sound-classifier']}"
