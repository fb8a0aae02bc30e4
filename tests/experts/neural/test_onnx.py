"""Networks a person brings as ONNX, with two real ones: features, sidecars, and what they see on real clips."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import onnxruntime
import pytest

from experts.base import Clip
from experts.contract import check_expert, example_clip
from experts.neural.sidecar import Sidecar, fitted, read_sidecar
from experts.neural.weights import WeightsError
from experts.registry import load

ANIMALS = {
    "rabbit_eating_watermelon.mp4": "hare",
    "orangutan_in_forest.mp4": "orangutan",
    "brown_bears_resting.mp4": "brown bear",
    "corgis_playing.mp4": "Cardigan",
}
"""What the captions say, in the words of ImageNet (which knows two kinds of corgi)."""
RFB = {"scale": 1, "mean": 127, "std": 128, "least_score": 0.9}


@pytest.fixture
def squeezenet(shared, tmp_path):
    """SqueezeNet in a folder where a sidecar can lie beside it."""
    return shutil.copy(shared / "weights" / "squeezenet_imagenet.onnx", tmp_path / "squeezenet.onnx")


@pytest.fixture
def detector(shared, tmp_path):
    path = shutil.copy(shared / "weights" / "ulfg_version-RFB-320.onnx", tmp_path / "rfb.onnx")
    path.with_suffix(".json").write_text(json.dumps(RFB))
    return path


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


def squeezenet_is_called_directly(rows, shared, path, stretch):
    expert = load([f"appearance=onnx:{path}"])[0]
    expert.prepare("cpu")
    assert expert.dim == 512
    labels = (shared / "weights" / "imagenet_labels.txt").read_text().splitlines()[1:]
    seen = {}
    for row in rows:
        clip = stretch(shared / "videos" / row["file"], expert.sampling)
        frames, tokens = clip.frames(expert.sampling), expert.extract(clip)
        assert np.allclose(tokens.features, by_hand(path, frames.images, "features"), rtol=0, atol=1e-4)
        assert tokens.times.tolist() == frames.times.tolist()
        seen[row["file"]] = labels[by_hand(path, frames.images, "logits").mean(0).argmax()]
    assert all(word in seen[name] for name, word in ANIMALS.items()), seen


def test_squeezenet_on_four_animals(shared, squeezenet, stretch):
    squeezenet_is_called_directly(clips_of(shared, ANIMALS), shared, squeezenet, stretch)


@pytest.mark.slow
def test_squeezenet_on_all_clips(shared, squeezenet, stretch):
    squeezenet_is_called_directly(clips_of(shared), shared, squeezenet, stretch)


def share_with_faces(expert, shared, row, stretch):
    """How many of the frames of a clip have a face in them, 0..1."""
    clip = stretch(shared / "videos" / row["file"], expert.sampling)
    return len(set(expert.extract(clip).times.tolist())) / len(clip.frames(expert.sampling))


def faces(rows, shared, detector, stretch):
    """Clips marked as having a face in which one is found in 15 % of the frames, and others."""
    expert = load([f"face=onnx:{detector}"])[0]
    expert.prepare("cpu")
    found = [row for row in rows if share_with_faces(expert, shared, row, stretch) >= 0.15]
    return sum(row["faces"] == "yes" for row in found), sum(row["faces"] != "yes" for row in found)


def test_a_detector_of_ones_own_finds_faces(shared, detector, stretch):
    names = ["asl_sign_eat.mkv", "grid_speaker_woman.mpg", "brown_bears_resting.mp4", "dog_running_on_lawn.mp4"]
    assert faces(clips_of(shared, names), shared, detector, stretch) == (2, 0)


@pytest.mark.slow
def test_a_detector_of_ones_own_on_all_clips(shared, detector, stretch):
    right, wrong = faces(clips_of(shared), shared, detector, stretch)
    assert right >= 20 and wrong <= 8


def test_onnx_experts_keep_the_contract(squeezenet, detector):
    check_expert(load([f"appearance=onnx:{squeezenet}"])[0])
    check_expert(load([f"face=onnx:{detector}"])[0])


def test_the_sidecar_takes_another_output_and_is_part_of_the_identity(shared, squeezenet):
    plain = load([f"appearance=onnx:{squeezenet}"])[0].weights
    squeezenet.with_suffix(".json").write_text('{"output": "logits", "size": 227, "fit": "stretch"}')
    other = load([f"appearance=onnx:{squeezenet}"])[0]
    other.prepare("cpu")
    assert other.extract(example_clip(other.sampling, 1.0)).features.shape == (1, 1000)
    assert other.weights != plain
    squeezenet.with_suffix(".json").unlink()
    moved = shutil.copytree(squeezenet.parent, squeezenet.parent / "elsewhere") / squeezenet.name
    assert load([f"appearance=onnx:{moved}"])[0].weights == plain  # where it lies does not count


def test_a_size_that_the_network_does_not_take_is_refused(squeezenet):
    squeezenet.with_suffix(".json").write_text('{"size": [64, 227]}')
    with pytest.raises(WeightsError, match=r"the size is \[64, 227\], but the network takes \[227, 227\]"):
        load([f"appearance=onnx:{squeezenet}"])[0].prepare("cpu")


def test_colour_order_layout_scale_and_mean_are_applied():
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 100  # red and blue
    told = Sidecar(size=(2, 2), layout="NHWC", colour="BGR", scale=1, mean=(10, 20, 30), std=(2, 2, 4))
    assert told.prepare(image)[0, 0].tolist() == [45, -10, 42.5]
    assert Sidecar(size=(2, 2)).prepare(image)[:, 0, 0] == pytest.approx([200 / 255, 0, 100 / 255])


def test_crop_keeps_the_aspect_and_takes_the_middle():
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 255
    assert fitted(image, (50, 50), "crop").min() == 255
    assert fitted(image, (50, 50), "stretch")[:, :10].max() == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "is no JSON object"),
        ("{", "cannot be read"),
        ('{"colour": "GRB"}', "'colour' is 'GRB', not one of RGB, BGR"),
        ('{"sise": 3}', "'sise' means nothing"),
        ('{"size": [0, 5]}', r"'size' is \[0, 5\]"),
        ('{"mean": [1, 2]}', "2 numbers, not 1 or 3"),
        ('{"std": 0}', "holds a 0"),
        ('{"scale": "big"}', "could not convert"),
    ],
)
def test_a_sidecar_that_makes_no_sense_is_refused_by_name(tmp_path, text, said):
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(WeightsError, match=said) as caught:
        read_sidecar(tmp_path / "net.onnx")
    assert "net.json" in str(caught.value) and "sidecar.py" in caught.value.hint


def test_an_output_that_is_not_there_is_named(squeezenet):
    squeezenet.with_suffix(".json").write_text('{"output": "vectors"}')
    with pytest.raises(WeightsError, match="no output 'vectors'") as caught:
        load([f"appearance=onnx:{squeezenet}"])[0].prepare("cpu")
    assert "features, logits" in caught.value.hint


def test_what_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="onnxruntime cannot open it"):
        load([f"appearance=onnx:{tmp_path / 'net.onnx'}"])[0].prepare("cpu")
    with pytest.raises(WeightsError, match="no such file"):
        load([f"appearance=onnx:{tmp_path / 'other.onnx'}"])


def test_a_detector_without_boxes_is_refused(squeezenet):
    with pytest.raises(WeightsError, match="no outputs"):
        load([f"face=onnx:{squeezenet}"])[0].prepare("cpu")


def test_boxes_are_in_pixels_of_the_frame(shared, detector, stretch):
    from experts.neural.face import OnnxFaceDetector

    expert = load([f"face=onnx:{detector}"])[0]
    frames = stretch(shared / "videos" / "grid_speaker_woman.mpg", expert.sampling).frames(expert.sampling)
    left, top, wide, high = OnnxFaceDetector(detector).boxes(frames.images[0])[0]
    height, width = frames.images.shape[1:3]
    assert 0.25 < (left + wide / 2) / width < 0.75 and 0.2 < (top + high / 2) / height < 0.8
    assert 0.1 < wide / width < 0.6
    mirrored = OnnxFaceDetector(detector).boxes(np.ascontiguousarray(frames.images[0][:, ::-1]))[0]
    assert mirrored[:2] == pytest.approx([width - left - wide, top], abs=float(wide) / 4)
    assert len(expert.extract(Clip(0, 3, True, False, {expert.sampling: frames}))) == len(frames)
