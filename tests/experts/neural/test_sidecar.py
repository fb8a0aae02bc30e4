"""What FILE.json beside an ONNX network may say."""

from __future__ import annotations

import os

import numpy as np
import pytest

from experts.neural.sidecar import Sidecar, fitted, read_sidecar
from experts.neural.weights import WeightsError


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


def test_a_sidecar_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "net.json")
    with pytest.raises(WeightsError, match=r"net\.json: is no file"):
        read_sidecar(tmp_path / "net.onnx")
