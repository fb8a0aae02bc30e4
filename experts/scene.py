"""Shots: one token each, the mean of how its frames look. Cuts are found by PySceneDetect (its content detector).

A shot that lasts over the end of a piece gives a token in each: an expert sees one piece at a time. How frames
look is told by the classic appearance, or by any network that the appearance expert takes (`scene=SOURCE`).
Letters: H and W height and width of a frame in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Frames, Sampling, State, Tokens
from experts.classic.appearance import Appearance, describe_frame
from experts.neural.weights import WeightsError

FRAMES_PER_SECOND = 10.0
SHORTEST = 5
"""Frames between two cuts: what follows sooner is a flash."""
THRESHOLD = 27.0
"""Mean change of hue, saturation and lightness (0..255) that is a cut; PySceneDetect's own setting."""
DESCRIBED_FRAMES = 4
"""Frames of a shot that are described, evenly spread."""
INSTALL = 'pip install "hcq[scene]"'


class Scene:
    """Expert for shots.

    Args:
        source: a network for the look of frames; the classic appearance if empty.

    Raises:
        WeightsError: the network is not on this machine.
    """

    name = "scene"
    version = "1"

    def __init__(self, source: str = "") -> None:
        self._network: Any = None
        if source:
            from experts.neural.appearance import appearance  # torch, which the classic appearance does without

            self._network = appearance(source)
        side = self._network.sampling.max_side if self._network else Appearance.sampling.max_side
        self.sampling = Sampling(FRAMES_PER_SECOND, side)
        self.paced = True  # the threshold of a cut is one for this rate of frames
        self.licence = self._network.licence if self._network else ""
        self.about = "sees shots: one vector from cut to cut"
        each = self._network.cost if self._network else "about 3 ms of a core a frame"
        self.cost = f"{each}, {DESCRIBED_FRAMES} frames a shot, and finding the cuts"
        self._describe: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None

    @cached_property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self._network.dim) if self._network else Appearance().dim

    @cached_property
    def weights(self) -> str:
        """PySceneDetect's version and the network's commit or digest.

        Raises:
            WeightsError: PySceneDetect is not installed.
        """
        for package in ("scenedetect-headless", "scenedetect"):
            try:
                found = f"scenedetect {version(package)}"
            except PackageNotFoundError:
                continue
            return f"{found}, {self._network.weights}" if self._network else found
        raise WeightsError("PySceneDetect is not installed", INSTALL)

    def prepare(self, device: str) -> None:
        """Load what describes frames.

        Raises:
            WeightsError: PySceneDetect is not installed.
        """
        try:
            import scenedetect  # noqa: F401
        except ImportError:
            raise WeightsError("PySceneDetect is not installed", INSTALL) from None
        if self._network:
            self._network.prepare(device)
            self._describe = self._describe_by_network
        else:
            Appearance().prepare(device)
            self._describe = lambda images: np.stack([describe_frame(image) for image in images])

    def extract(self, clip: Clip) -> Tokens:
        """One token for each shot of the piece."""
        if self._describe is None:
            self.prepare("cpu")
        assert self._describe is not None
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        edges = [0, *find_cuts(frames), len(frames)]
        features, times = [], []
        for first, last in pairwise(edges):
            # Evenly spread, but neither the first nor the last: those show the cut itself, often half faded.
            shown = np.unique(np.linspace(first, last - 1, DESCRIBED_FRAMES + 2)[1:-1].round().astype(int))
            features.append(self._describe(frames.images[shown]).mean(0))
            end_s = float(frames.times[last]) if last < len(frames) else max(clip.end_s, float(frames.times[-1]))
            times.append((float(frames.times[first]) + end_s) / 2)
        return Tokens(np.stack(features).astype(np.float32), np.array(times, np.float32))

    def _describe_by_network(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Frames uint8 [n, H, W, 3] -> float32 [n, dim], by way of a clip of their own."""
        frames = Frames(images, np.zeros(len(images), np.float32))
        clip = Clip(0.0, 1.0, True, False, frames_by_sampling={self._network.sampling: frames})
        features: NDArray[np.float32] = self._network.extract(clip).features
        return features


def find_cuts(frames: Frames) -> list[int]:
    """The numbers of the frames that begin a new shot, rising, the first frame left out."""
    from scenedetect import ContentDetector, FrameTimecode

    detector = ContentDetector(threshold=THRESHOLD, min_scene_len=SHORTEST)
    found = set()
    for number, image in enumerate(frames.images):
        # Frames that were sampled late or twice count as one a tenth of a second: the detector only needs an order.
        at = FrameTimecode(number, FRAMES_PER_SECOND)
        bgr = np.ascontiguousarray(image[..., ::-1])
        found |= {cut.frame_num for cut in detector.process_frame(at, bgr)}
    return sorted(cut for cut in found if 0 < cut < len(frames))
