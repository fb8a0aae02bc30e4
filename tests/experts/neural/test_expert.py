"""What every expert that is a network does with what its network gives."""

from __future__ import annotations

import numpy as np

from experts.base import Clip, Sampling, State
from experts.neural.expert import NetworkExpert, PreparedInputs


class Doubling:
    """A network that gives two vectors a row: the row itself, and twice the row."""

    def run(self, inputs):
        rows = inputs["rows"]
        return np.stack([rows, 2 * rows], 1).astype(np.float64)


class Counting(NetworkExpert):
    """Two rows a piece; of the second only the first vector counts."""

    name, sampling, dim, weights = "counting", Sampling(1.0), 3, ""
    licence = cost = ""

    def load_preprocessor(self):
        self.loaded = True

    def load_network(self, device):
        return Doubling()

    def preprocess(self, clip):
        if not clip.has_picture:
            return State.NO_STREAM
        rows = np.array([[1.0, 2, 3], [4, 5, 6]], np.float32)
        return PreparedInputs(
            {"rows": rows}, np.array([[0, 1], [2, 3]], np.float64), np.array([[1, 1], [1, 0]], bool)
        )


def test_vectors_that_are_kept_become_tokens_in_their_times():
    expert = Counting()
    tokens = expert.extract(Clip(0.0, 4.0, True, False))
    assert expert.loaded and tokens.features.dtype == tokens.times.dtype == np.float32
    assert tokens.features.tolist() == [[1, 2, 3], [2, 4, 6], [4, 5, 6]] and tokens.times.tolist() == [0, 1, 2]


def test_a_state_in_the_place_of_inputs_is_the_answer():
    assert Counting().extract(Clip(0.0, 4.0, False, False)).state is State.NO_STREAM
