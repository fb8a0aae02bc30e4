"""Classifiers of transformers: tokens are the logits of the network called directly, classes have names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from transformers import (
    AutoImageProcessor,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForVideoClassification,
)

from experts.base import Clip, Frames, Waveform
from experts.neural.classes import hub_class_names, probabilities_of_hub
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
    both_ends = [part for image in images for part in (image[:, :40], image[:, 20:])]
    inputs = AutoImageProcessor.from_pretrained(classifiers["classifier"], backend="pil")(
        both_ends, return_tensors="pt"
    )
    with torch.inference_mode():
        direct = model(**inputs).logits.reshape(3, 2, 3).amax(1).numpy()
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


@pytest.mark.parametrize("kind", ["videomae", "timesformer", "vivit"])
def test_actions_are_the_network_called_directly(kind, classifiers, networks):
    folder = networks(f"{kind}-classifier")
    expert, length = load([f"objects={folder}"])[0], 3 if kind == "timesformer" else 4
    images = np.random.default_rng(1).integers(0, 255, (length, 40, 60, 3), np.uint8)
    times = np.arange(length, dtype=np.float32) / expert.sampling.frames_per_second
    end_s = length / expert.sampling.frames_per_second
    tokens = expert.extract(Clip(0.0, end_s, True, False, {expert.sampling: Frames(images, times)}))
    processor, model = tiny_networks.KINDS[f"{kind}-classifier"]()[1], AutoModelForVideoClassification
    pixels = np.stack(processor(list(images), return_tensors="np")["pixel_values"]).reshape(1, length, 3, 32, 32)
    with torch.inference_mode():
        direct = model.from_pretrained(folder).eval()(pixel_values=torch.from_numpy(pixels)).logits.numpy()
    assert tokens.features.shape == (1, 2) and np.allclose(tokens.features, direct, atol=1e-4)
    found = locate(str(folder))
    assert hub_class_names(found) == [["cooking"], ["playing guitar"]] and probabilities_of_hub(found) == "softmax"


@pytest.mark.parametrize(("kind", "classes", "seconds"), [("wave", 3, 25.0), ("wave", 3, 2.0), ("whisper", 2, 12.0)])
def test_networks_of_waves_and_of_speech_classify_sound(kind, classes, seconds, networks):
    folder = networks(f"{kind}-classifier")
    expert = load([f"sounds={folder}"])[0]
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, round(16_000 * seconds)).astype(np.float32)
    clip = Clip(0.0, seconds, False, True, sound_by_hz={16_000: Waveform(noise, 16_000, 0.0)})
    tokens = expert.extract(clip)
    extractor = tiny_networks.KINDS[f"{kind}-classifier"]()[1]
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    # Windows of 10 s lie evenly over the sound, and each is heard whole.
    starts = [0, 7.5, 15] if seconds == 25 else [0]
    windows = [noise[round(16_000 * at) :][: 160_000 if kind == "wave" else None] for at in starts]
    with torch.inference_mode():
        direct = [model(**extractor([w], sampling_rate=16_000, return_tensors="pt")).logits[0] for w in windows]
    assert expert.dim == classes and np.allclose(tokens.features, np.stack(direct), atol=1e-4)


def test_a_classifier_of_texts_is_none_of_sound(networks, tmp_path):
    folder = Path(shutil.copytree(networks("bert"), tmp_path / "texts"))
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["BertForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="is of the kind 'bert'"):
        load([f"sounds={folder}"])


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
    config |= {"id2label": {"1": "dog", "2": "ball", "3": "pancake"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="does not number its 3 classes from 0 on"):
        hub_class_names(locate(str(folder)))


def test_what_is_no_such_classifier_is_named(classifiers, networks):
    with pytest.raises(WeightsError, match=r"no classifier of pictures, clips or sound \(Dinov2Model\)"):
        load([f"objects={networks('dinov2')}"])
    with pytest.raises(WeightsError, match="is a classifier for sounds, not for objects") as caught:
        load([f"objects={classifiers['sound-classifier']}"])
    assert caught.value.hint == f"--experts sounds={classifiers['sound-classifier']}"
