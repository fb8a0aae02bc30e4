"""Faces by networks: YuNet and SFace with made-up weights (whatever is bright is a face), and any detector."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
import tiny_faces

from experts.base import Clip, Frames, State
from experts.contract import check_expert
from experts.neural.weights import WeightsError
from experts.registry import load

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_faces.save(tmp_path_factory.mktemp("faces"))


def pictures():
    """Two faces of different size, none, one."""
    rng = np.random.default_rng(1)
    images = np.zeros((3, 192, 320, 3), np.uint8)
    images[0, 32:64, 64:96] = 250
    images[0, 96:128, 224:256] = rng.integers(235, 255, (32, 32, 3))
    images[2, 64:96, 32:64] = 250
    return Frames(images, np.array([0, 1, 2], np.float32))


def test_faces_are_found_and_embedded_as_opencv_does(folder):
    expert = load([f"face={folder}"])[0]
    frames = pictures()
    tokens = expert.extract(Clip(0, 3, True, False, {expert.sampling: frames}))
    assert tokens.times.tolist() == [0, 0, 2] and tokens.features.shape == (3, 128)
    detector = cv2.FaceDetectorYN.create(str(next(folder.glob("*yunet*"))), "", (320, 192), 0.9, 0.3, 5000)
    embedder = cv2.FaceRecognizerSF.create(str(next(folder.glob("*sface*"))), "")
    wanted = []
    for image in frames.images:
        bgr = np.ascontiguousarray(image[..., ::-1])
        for row in detector.detect(bgr)[1] if detector.detect(bgr)[1] is not None else []:
            wanted.append(embedder.feature(embedder.alignCrop(bgr, row)).ravel().copy())
    assert len(wanted) == 3
    distance = np.abs(tokens.features[:, None] - np.stack(wanted)[None]).max(2)
    assert (distance.min(1) < 1e-4).all() and sorted(distance[:2].argmin(1)) == [0, 1]


def test_no_face_is_nothing_found(folder):
    expert = load([f"face={folder}"])[0]
    dark = Frames(np.zeros((2, 90, 160, 3), np.uint8), np.array([0, 1], np.float32))
    assert expert.extract(Clip(0, 2, True, False, {expert.sampling: dark})).state is State.NOTHING_FOUND


def test_face_networks_keep_the_contract(folder):
    check_expert(load([f"face={folder}"])[0])


def test_a_folder_without_one_of_the_two_is_refused(folder, tmp_path):
    (tmp_path / "face_detection_yunet.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match="sface"):
        load([f"face={tmp_path}"])
    (tmp_path / "face_recognition_sface.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match="OpenCV cannot open them"):
        load([f"face={tmp_path}"])[0].prepare("cpu")


def clips_of(shared, names=None):
    rows = list(csv.DictReader((shared / "videos" / "MANIFEST.csv").open()))
    assert len(rows) == 56
    return [row for row in rows if names is None or row["file"] in names]


def share_with_faces(expert, shared, row, first_segment):
    """How many of the frames of a clip have a face in them, 0..1."""
    clip = first_segment(shared / "videos" / row["file"], expert.sampling)
    return len(set(expert.extract(clip).times.tolist())) / len(clip.frames(expert.sampling))


def faces(rows, shared, detector, first_segment):
    """Clips marked as having a face in which one is found in 15 % of the frames, and others."""
    expert = load([f"face=onnx:{detector}"])[0]
    expert.prepare("cpu")
    found = [row for row in rows if share_with_faces(expert, shared, row, first_segment) >= 0.15]
    return sum(row["faces"] == "yes" for row in found), sum(row["faces"] != "yes" for row in found)


def test_a_detector_of_ones_own_finds_faces(shared, detector, first_segment):
    names = ["asl_sign_eat.mkv", "grid_speaker_woman.mpg", "brown_bears_resting.mp4", "dog_running_on_lawn.mp4"]
    assert faces(clips_of(shared, names), shared, detector, first_segment) == (2, 0)


@pytest.mark.slow
def test_a_detector_of_ones_own_on_all_clips(shared, detector, first_segment):
    right, wrong = faces(clips_of(shared), shared, detector, first_segment)
    assert right >= 20 and wrong <= 8


def test_a_detector_without_boxes_is_refused(squeezenet):
    with pytest.raises(WeightsError, match="no outputs"):
        load([f"face=onnx:{squeezenet}"])[0].prepare("cpu")


def test_boxes_are_in_pixels_of_the_frame(shared, detector, first_segment):
    from experts.neural.face import OnnxFaceDetector

    expert = load([f"face=onnx:{detector}"])[0]
    frames = first_segment(shared / "videos" / "grid_speaker_woman.mpg", expert.sampling).frames(expert.sampling)
    left, top, wide, high = OnnxFaceDetector(detector).boxes(frames.images[0])[0]
    height, width = frames.images.shape[1:3]
    assert 0.25 < (left + wide / 2) / width < 0.75 and 0.2 < (top + high / 2) / height < 0.8
    assert 0.1 < wide / width < 0.6
    mirrored = OnnxFaceDetector(detector).boxes(np.ascontiguousarray(frames.images[0][:, ::-1]))[0]
    assert mirrored[:2] == pytest.approx([width - left - wide, top], abs=float(wide) / 4)
    assert len(expert.extract(Clip(0, 3, True, False, {expert.sampling: frames}))) == len(frames)
