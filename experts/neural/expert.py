"""What all experts that are networks share: prepare the network's inputs, run it, say when each vector was.

Letters: n rows of inputs, k vectors a row, dim the width of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens
from experts.neural.network import Inputs, Network, Reader, TorchNetwork, read_config
from experts.neural.onnx_network import OnnxNetwork, OnnxSoundNetwork, onnx_identity
from experts.neural.weights import Weights

Graph = TypeVar("Graph", OnnxNetwork, OnnxSoundNetwork)


@dataclass(frozen=True)
class PreparedInputs:
    """What a piece gives the network to look at.

    Args:
        inputs: n rows.
        times: float32 [n], or [n, k] if the network gives k vectors a row; seconds of the video.
        keep: bool like `times`, the vectors that become tokens; None for all.
        views: rows a time, one behind another; of their vectors the largest numbers count. Then n is the number of
            times, and there are n · views rows.
    """

    inputs: Inputs
    times: NDArray[np.float32]
    keep: NDArray[np.bool_] | None = None
    views: int = 1


class NetworkExpert(ABC):
    """An expert whose `extract` is: preprocess, run, tell when. A subclass says how.

    `prepare` loads both halves. Where the network runs in another process (batched over many videos), that process
    calls `load_network`, the decoding ones `load_preprocessor`, and they set `network` to whatever reaches it.

    Attributes:
        dim: width of a vector; found out at the first use, without loading the network where that can be avoided.
        weights: commit or digest of the weights.
        source: what names the weights; see `experts.neural`.
        network: set by `prepare`.
        paced: whether the network was trained on a rate of frames of its own, which --sample-fps must not change.
    """

    name: str
    version = "1"
    about = ""
    sampling: Sampling
    source: str
    paced = False
    network: Network | None = None

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of a vector."""

    @property
    @abstractmethod
    def weights(self) -> str:
        """Commit or digest of the weights."""

    @property
    @abstractmethod
    def licence(self) -> str:
        """Of the weights, in words, as `hcq experts` shows it; where it is not known, where to look."""

    @property
    @abstractmethod
    def cost(self) -> str:
        """How large it is and how often it runs, as `hcq experts` shows it."""

    @abstractmethod
    def load_preprocessor(self) -> None:
        """Load what `preprocess` needs: an image processor, a feature extractor; not the network."""

    @abstractmethod
    def load_network(self, device: str) -> Network:
        """The network on `device`.

        Raises:
            WeightsError: its weights cannot be read.
        """

    @abstractmethod
    def preprocess(self, clip: Clip) -> PreparedInputs | State:
        """The rows of a piece, or why there are none."""

    def prepare(self, device: str) -> None:
        """Load everything; "auto" takes the best device there is."""
        self.load_preprocessor()
        self.network = self.load_network(device)

    def extract(self, clip: Clip) -> Tokens:
        """One token for each vector that is kept: features float32 [n, dim]; or the state that `preprocess` gave."""
        if self.network is None:
            self.prepare("cpu")
        assert self.network is not None
        found = self.preprocess(clip)
        if isinstance(found, State):
            return Tokens.none(self.dim, found)
        vectors = self.network.run(found.inputs)
        times = found.times
        if found.views > 1:
            vectors = vectors.reshape(len(times), found.views, -1).max(1)
        vectors = vectors.reshape(*times.shape, -1)  # [n, dim], or [n, k, dim]
        if found.keep is not None:
            vectors, times = vectors[found.keep], times[found.keep]
        features = np.ascontiguousarray(vectors.reshape(-1, vectors.shape[-1]), np.float32)
        return Tokens(features, times.reshape(-1).astype(np.float32))


class HubExpert(NetworkExpert):
    """An expert whose network transformers loads: what it stands on is told by its weights.

    Args:
        source: as a person gave it.
        found: its weights.
        reader: calls the network and takes the vectors out.
        rows_at_once: rows of a pass on a processor; a GPU takes more.
        runs: how often it runs, as it stands behind its size in `hcq experts`: " a frame".
    """

    def __init__(self, source: str, found: Weights, *, reader: Reader, rows_at_once: int, runs: str) -> None:
        self.source, self._found = source, found
        self._reader, self._rows_at_once, self._runs = reader, rows_at_once, runs

    @abstractmethod
    def width(self, config: Any) -> int:
        """Width of a vector, from the network's configuration as transformers knows it."""

    @cached_property
    def dim(self) -> int:
        """Width of a vector. The network itself is not loaded for it, which takes seconds."""
        return self.width(read_config(self._found))

    @cached_property
    def weights(self) -> str:
        """Commit or digest of the weights."""
        return self._found.identity

    @property
    def licence(self) -> str:
        """That of the weights found, from the lock file or the list of licences."""
        return self._found.licence

    @property
    def cost(self) -> str:
        """How large it is and how often it runs."""
        return f"{self._found.parameters / 1e6:.0f} M parameters{self._runs}"

    def load_network(self, device: str) -> Network:
        """The network of transformers on `device`. Raises WeightsError."""
        return TorchNetwork(self._found, device, self._reader, self._rows_at_once)


class OnnxExpert(NetworkExpert, Generic[Graph]):
    """An expert whose network is an ONNX file that a person brings; sidecar.py tells how its input is prepared.

    Args:
        source: as a person gave it.
        path: the file.

    Attributes:
        graph: what opens the file.
    """

    graph: type[Graph]

    def __init__(self, source: str, path: Path) -> None:
        self.source, self._path = source, path

    @cached_property
    def _on_processor(self) -> Graph:
        """Tells how inputs are prepared, and the width; where the features are made may be another device."""
        return self.graph(self._path)

    @cached_property
    def dim(self) -> int:
        """Width of a vector, as the network gives it."""
        return self._on_processor.width()

    @cached_property
    def weights(self) -> str:
        """Digest of the file and its sidecar."""
        return onnx_identity(self._path)

    @property
    def licence(self) -> str:
        """What is known of a file that somebody brings: nothing."""
        return "that of your file"

    def load_preprocessor(self) -> None:
        """Open the file: its input says how large pictures, or how long windows, are."""
        _ = self.dim

    def load_network(self, device: str) -> Network:
        """The file as a network on `device`. Raises WeightsError."""
        return self.graph(self._path, device)
