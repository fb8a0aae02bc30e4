"""Classifiers brought as ONNX: eight bits, one row at a time, colours last, windows of sound; and their names."""

from __future__ import annotations

import numpy as np
import pytest

from experts.base import Clip, Frames, Waveform
from experts.contract import check_expert
from experts.neural.classes import class_names, expert_of
from experts.neural.preprocessing import squares
from experts.neural.weights import WeightsError
from experts.registry import load
from tests.support.tiny_classifiers import COLOURS, colour_classifier, loudness_classifier


def frames(expert, *colours) -> Clip:
    images = np.stack([np.full((20, 30, 3), colour, np.uint8) for colour in colours])
    times = np.arange(len(colours), dtype=np.float32)
    return Clip(0.0, float(len(colours)), True, False, {expert.sampling: Frames(images, times)})


@pytest.mark.parametrize("eight_bits", [True, False])
def test_objects_are_the_classes_of_each_frame(tmp_path, eight_bits):
    source = f"objects=onnx:{colour_classifier(tmp_path, eight_bits=eight_bits)}"
    expert = load([source])[0]
    check_expert(expert)
    found = expert.extract(frames(expert, (200, 0, 0), (0, 60, 60))).features
    assert found == pytest.approx(np.array([[1, 0, 0], [0, 0.5, 0.5]]), abs=1 / 255)


def test_what_stands_at_the_ends_of_a_frame_is_seen_too(tmp_path):
    path = colour_classifier(tmp_path)
    wide = np.zeros((1, 20, 50, 3), np.uint8)
    wide[:, :, :14, 0], wide[:, :, 36:, 2] = 200, 200
    for images in (wide, wide.transpose(0, 2, 1, 3)):
        expert = load([f"objects=onnx:{path}"])[0]
        clip = Clip(0.0, 1.0, True, False, {expert.sampling: Frames(images, np.zeros(1, np.float32))})
        assert expert.extract(clip).features == pytest.approx(np.array([[1, 0, 1]]), abs=1 / 255)
        # Another expert of the same network, and a network that takes stretched frames, get one picture a frame.
        assert load([f"appearance=onnx:{path}"])[0].looked_at(images)[1] == 1
    path.with_suffix(".json").write_text('{"fit": "stretch"}')
    whole = load([f"objects=onnx:{path}"])[0].extract(clip).features
    assert whole == pytest.approx(np.array([[0.5, 0, 0.5]]), abs=1 / 255)


@pytest.mark.parametrize(("shape", "count"), [((20, 23), 1), ((20, 24), 2), ((50, 20), 3), ((1, 900), 8)])
def test_squares_cover_frames_from_end_to_end(shape, count):
    images = np.arange(2 * shape[0] * shape[1] * 3).reshape(2, *shape, 3).astype(np.uint8)
    cut, views = squares(images)
    short, long = min(shape), max(shape)
    assert views == count and cut.shape == (2 * count, short, short, 3)
    if count > 1:
        assert (cut[0] == images[0, :short, :short]).all() and (cut[-1] == images[1, -short:, -short:]).all()
    middle, _ = squares(images, 0.5)
    assert middle.shape[1] == max(1, round(short / 2)) and long >= short


def test_sounds_are_the_classes_of_each_window(tmp_path):
    expert = load([f"sounds=onnx:{loudness_classifier(tmp_path)}"])[0]
    check_expert(expert)
    # Windows of 1,600 samples at 16,000 a second: 0.1 s each, of the second half of the sound alone.
    sound = np.concatenate([np.zeros(1600), 0.5 * np.sign(np.sin(np.arange(1600)))]).astype(np.float32)
    tokens = expert.extract(Clip(0.0, 0.2, False, True, {}, {16_000: Waveform(sound, 16_000, 0.0)}))
    assert tokens.times == pytest.approx([0.15])
    assert tokens.features == pytest.approx(np.array([[0.5, 0.5]]), abs=1e-3)
    assert load([f"audio=onnx:{loudness_classifier(tmp_path)}"])[0].dim == 2


def test_the_graph_says_whether_it_sees_or_hears(tmp_path):
    assert expert_of(colour_classifier(tmp_path)) == "objects"
    assert expert_of(loudness_classifier(tmp_path)) == "sounds"
    with pytest.raises(WeightsError, match=r"takes pixels \[1, 8, 8, 3\], not one batch of windows of sound"):
        load([f"sounds=onnx:{colour_classifier(tmp_path)}"])[0].prepare("cpu")


def test_names_stand_in_a_file_beside_the_network(tmp_path):
    path = colour_classifier(tmp_path)
    with pytest.raises(WeightsError, match=r"no names.*colours\.labels\.txt") as caught:
        class_names(path, 3)
    assert "3 classes" in caught.value.hint
    (tmp_path / "other_labels.txt").write_text("one\ntwo\n")
    (tmp_path / "colour_labels.txt").write_text("\n".join(["background", *COLOURS]))
    wanted = [["red", "crimson"], ["green"], ["blue"]]
    assert class_names(path, 3) == wanted
    (tmp_path / "more_labels.txt").write_text("a\nb\nc")
    with pytest.raises(WeightsError, match=r"colour_labels\.txt, more_labels\.txt would all fit"):
        class_names(path, 3)
    path.with_suffix(".json").write_text('{"labels": "colour_labels.txt"}')
    assert class_names(path, 3) == wanted


def test_labels_of_another_network_are_refused(tmp_path):
    path = colour_classifier(tmp_path)
    path.with_suffix(".txt").write_text("red\ngreen\n")
    with pytest.raises(WeightsError, match=r"colours\.txt: names 2 classes, colours\.onnx has 3"):
        class_names(path, 3)
    path.with_suffix(".json").write_text('{"labels": "../labels.txt"}')
    with pytest.raises(WeightsError, match="not a file beside it"):
        class_names(path, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"hz": 0}', "'hz' is 0"),
        ('{"window_s": 1e9}', "'window_s'"),
        ('{"activation": "max"}', "not one of softmax"),
    ],
)
def test_a_sidecar_of_sound_that_makes_no_sense_is_refused(tmp_path, text, said):
    path = loudness_classifier(tmp_path)
    path.with_suffix(".json").write_text(text)
    with pytest.raises(WeightsError, match=said):
        load([f"sounds=onnx:{path}"])


@pytest.mark.parametrize("name", ["objects", "sounds"])
def test_a_classifier_must_be_named(name):
    with pytest.raises(WeightsError, match=f"{name} takes a classifier as onnx:FILE"):
        load([name])
