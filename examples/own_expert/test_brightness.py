"""The contract that every expert keeps, run on one's own. `pytest examples/own_expert`"""

import numpy as np
from hcq_brightness import Brightness

from experts.base import Clip, Frames
from experts.contract import check_expert


def test_it_keeps_the_contract():
    check_expert(Brightness())


def test_light_on_the_left_is_seen_on_the_left():
    expert = Brightness()
    images = np.zeros((1, 40, 40, 3), np.uint8)
    images[:, :, :20] = 255
    frames = Frames(images, np.zeros(1, np.float32))
    tokens = expert.extract(Clip(0, 1, True, False, {expert.sampling: frames}))
    assert tokens.features.reshape(4, 4).tolist() == [[1, 1, 0, 0]] * 4
