"""Image networks on real clips: the features are what the model gives when called directly."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_networks import APPEARANCE, expert_name
from transformers import AutoImageProcessor, AutoModel

from experts.neural.sidecar import fitted
from experts.registry import load

CLOSE = dict(rtol=0, atol=1e-4)
ANIMALS = {
    "rabbit_eating_watermelon.mp4": "hare",
    "orangutan_in_forest.mp4": "orangutan",
    "brown_bears_resting.mp4": "brown bear",
    "corgis_playing.mp4": "Cardigan",
}


def expert_of(kind, networks):
    expert = load([f"{expert_name(kind)}={networks(kind)}"])[0]
    expert.prepare("cpu")
    return expert


def image_vectors(model, pixels):
    """[n, dim] of an image network, each kind written out."""
    with torch.inference_mode():
        if model.config.model_type in ("clip", "siglip"):
            found = model.get_image_features(pixel_values=pixels)
            return getattr(found, "pooler_output", found).numpy()
        found = model(pixel_values=pixels)
        if model.config.model_type == "vit":
            return found.last_hidden_state[:, 0].numpy()
        return found.pooler_output.flatten(1).numpy()


@pytest.mark.parametrize("kind", APPEARANCE)
@pytest.mark.parametrize("video", ["brown_bears_resting.mp4", "dog_running_on_lawn.mp4"])
def test_appearance_is_the_model_called_directly(kind, video, networks, first_segment, shared):
    expert = expert_of(kind, networks)
    clip = first_segment(shared / "videos" / video, expert.sampling)
    frames = clip.frames(expert.sampling)
    processor, model = AutoImageProcessor.from_pretrained(networks(kind)), AutoModel.from_pretrained(networks(kind))
    tokens = expert.extract(clip)
    for image, vector in zip(frames.images, tokens.features, strict=True):
        pixels = processor(images=image, return_tensors="pt")["pixel_values"]
        assert np.allclose(image_vectors(model, pixels)[0], vector, **CLOSE)
    assert tokens.times.tolist() == frames.times.tolist() == sorted(tokens.times)
    assert tokens.features.shape == (len(frames), expert.dim) and len(frames) in (2, 3)


@pytest.fixture
def squeezenet(shared, tmp_path):
    """SqueezeNet in a folder where a sidecar can lie beside it."""
    return shutil.copy(shared / "weights" / "squeezenet_imagenet.onnx", tmp_path / "squeezenet.onnx")


def by_hand(path, images, output):
    """onnxruntime called directly on the middle of each frame, RGB in 0..1."""
    session = onnxruntime.InferenceSession(str(path))
    rows = []
    for image in images:
        small = fitted(image, (227, 227), "crop")
        batch = np.float32(small.transpose(2, 0, 1)[None]) / 255
        rows.append(session.run([output], {"image": batch})[0][0])
    return np.stack(rows)


def clips_of(shared, names=None):
    rows = list(csv.DictReader((shared / "videos" / "MANIFEST.csv").open()))
    assert len(rows) == 56
    return [row for row in rows if names is None or row["file"] in names]


def squeezenet_is_called_directly(rows, shared, path, first_segment):
    expert = load([f"appearance=onnx:{path}"])[0]
    expert.prepare("cpu")
    assert expert.dim == 512
    labels = (shared / "weights" / "imagenet_labels.txt").read_text().splitlines()[1:]
    seen = {}
    for row in rows:
        clip = first_segment(shared / "videos" / row["file"], expert.sampling)
        frames, tokens = clip.frames(expert.sampling), expert.extract(clip)
        assert np.allclose(tokens.features, by_hand(path, frames.images, "features"), rtol=0, atol=1e-4)
        assert tokens.times.tolist() == frames.times.tolist()
        seen[row["file"]] = labels[by_hand(path, frames.images, "logits").mean(0).argmax()]
    assert all(word in seen[name] for name, word in ANIMALS.items()), seen


def test_squeezenet_on_four_animals(shared, squeezenet, first_segment):
    squeezenet_is_called_directly(clips_of(shared, ANIMALS), shared, squeezenet, first_segment)


@pytest.mark.slow
def test_squeezenet_on_all_clips(shared, squeezenet, first_segment):
    squeezenet_is_called_directly(clips_of(shared), shared, squeezenet, first_segment)
