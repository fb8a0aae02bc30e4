"""YuNet and SFace as OpenCV runs them, with made-up weights that take whatever is bright for a face."""

from __future__ import annotations

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
