"""What a frame looks like, by any ONNX network a person brings: one token a frame, one frame a second."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from experts.base import Clip, Sampling, State
from experts.neural.expert import Gathered, NetworkExpert
from experts.neural.network import Network
from experts.neural.onnx_network import OnnxNetwork, onnx_identity
from experts.neural.pixels import USUAL_SIDE
from experts.neural.sidecar import read_sidecar

FRAMES_PER_SECOND = 1.0


class OnnxAppearance(NetworkExpert):
    """Expert for still appearance, by an ONNX file; sidecar.py tells how frames are prepared.

    Args:
        source: as a person gave it.
        path: the file.

    Raises:
        WeightsError: its sidecar makes no sense.
    """

    name = "appearance"

    def __init__(self, source: str, path: Path) -> None:
        self.source, self._path = source, path
        size = read_sidecar(path).size or (0, 0)
        self.sampling = Sampling(FRAMES_PER_SECOND, max_side=max(USUAL_SIDE, 2 * max(size)))
        self.about = f"sees frames as {path.name} does"

    @cached_property
    def _on_processor(self) -> OnnxNetwork:
        return OnnxNetwork(self._path)

    def measure_width(self) -> int:
        """Width of a vector: what the network gives for a black frame."""
        network = self._on_processor
        return int(network.run(network.prepare([np.zeros((32, 32, 3), np.uint8)])).shape[1])

    def identify_weights(self) -> str:
        """Digest of the file and its sidecar."""
        return onnx_identity(self._path)

    @property
    def licence(self) -> str:
        """What is known of a file that somebody brings: nothing."""
        return "that of your file"

    @property
    def cost(self) -> str:
        """How large it is and how often it runs, as `hcq experts` shows it."""
        return f"{self._path.stat().st_size / 1e6:.1f} MB a frame"

    def prepare_gathering(self) -> None:
        """Open the file: its input says how large pictures are."""
        _ = self.dim

    def load_network(self, device: str) -> Network:
        """The file as a network on `device`. Raises WeightsError."""
        return OnnxNetwork(self._path, device)

    def gather(self, clip: Clip) -> Gathered | State:
        """A row a frame, in the frame's time; NO_STREAM or NO_FRAMES where there is nothing to see."""
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return frames
        return Gathered(self._on_processor.prepare(frames.images), frames.times)
