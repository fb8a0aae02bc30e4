"""Faces, found by a network: one token a face, one frame a second. Faces are biometric data; see hub.py.

- A folder or ids with OpenCV's YuNet (Wu et al., 2023) and SFace (Zhong et al., 2021): YuNet finds a face and five
  points of it, the face is turned upright by them, SFace tells who it looks like: 128 numbers, near for one person.
- `onnx:FILE`: any detector of boxes and scores (sidecar.py). What it finds is described as the classic expert does,
  which tells a bearded man in black from a blond woman in red rather than one person from another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens
from experts.classic.face import MOST_FACES, describe_face
from experts.classic.face import Face as ClassicFace
from experts.neural.onnx_network import OnnxNetwork, onnx_identity
from experts.neural.preprocessing import presentable
from experts.neural.weights import Weights, WeightsError, digest, locate, onnx_file

LEAST_SCORE = 0.9
"""What YuNet is less sure of is no face; its authors' own setting."""
OVERLAP = 0.3
"""Of two boxes that overlap by more (intersection over union) the less sure one goes."""
MOST_CANDIDATES = 5000
SFACE_WIDTH = 128


class NeuralFace:
    """Expert for faces, by networks.

    Args:
        source: a folder, ids joined by `+`, or `onnx:FILE`.

    Raises:
        WeightsError: the weights are not there or cannot be used.
    """

    name = "face"
    version = "1"
    sampling = Sampling(frames_per_second=1.0, max_side=640)

    def __init__(self, source: str) -> None:
        self.source = source
        self._detector = onnx_file(source)
        self._found = [] if self._detector else [locate(part) for part in source.split("+")]
        self._files = [] if self._detector else [_one_of(self._found, kind) for kind in ("yunet", "sface")]
        self.dim = ClassicFace().dim if self._detector else SFACE_WIDTH
        self.about = "finds faces by a network of yours" if self._detector else "finds faces, and whom each is like"
        self._embedder: YunetSface | OnnxFaceDetector | None = None

    @cached_property
    def weights(self) -> str:
        """Commits or digests of the weights."""
        if self._detector:
            return onnx_identity(self._detector)
        if all(found.hub for found in self._found):
            return "+".join(found.identity for found in self._found)
        return f"sha256:{digest(self._files)}"

    @property
    def licence(self) -> str:
        """Of the weights."""
        return "that of your file" if self._detector else " and ".join(found.licence for found in self._found)

    @property
    def cost(self) -> str:
        """How large it is and how often it runs, as `hcq experts` shows it."""
        files = [self._detector] if self._detector else self._files
        return f"{sum(path.stat().st_size for path in files) / 1e6:.1f} MB a frame"

    def prepare(self, device: str) -> None:
        """Open the files; the networks are so small that they run on the processor."""
        cv2.setNumThreads(1)
        self._embedder = OnnxFaceDetector(self._detector) if self._detector else YunetSface(*self._files)

    def extract(self, clip: Clip) -> Tokens:
        """One token for each face found, in the order of the frames, larger faces first."""
        if self._embedder is None:
            self.prepare("cpu")
        assert self._embedder is not None
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        features: list[NDArray[np.float32]] = []
        times: list[float] = []
        for image, time_s in zip(frames.images, frames.times, strict=True):
            seen = self._embedder.embed_faces(presentable(image))
            features += seen
            times += [float(time_s)] * len(seen)
        if not features:
            return Tokens.none(self.dim, State.NOTHING_FOUND)
        return Tokens(np.stack(features).astype(np.float32), np.array(times, np.float32))


def _one_of(found: Sequence[Weights], kind: str) -> Path:
    """The ONNX file of a kind; a quantised one only if there is no other."""
    paths = sorted(path for each in found for path in each.folder.glob(f"*{kind}*.onnx"))
    if not paths:
        folders = ", ".join(str(each.folder) for each in found)
        raise WeightsError(f"{folders}: no *{kind}*.onnx in it", "face takes a folder with YuNet and SFace")
    return min(paths, key=lambda path: ("int8" in path.name, path.name))


class YunetSface:
    """YuNet and SFace, by OpenCV.

    Args:
        detector: YuNet's file.
        embedder: SFace's file.

    Raises:
        WeightsError: OpenCV cannot open them.
    """

    def __init__(self, detector: Path, embedder: Path) -> None:
        try:
            # The size is a stand-in: it is set anew for every frame.
            self._detector: Any = cv2.FaceDetectorYN.create(
                str(detector),
                "",
                (320, 320),
                score_threshold=LEAST_SCORE,
                nms_threshold=OVERLAP,
                top_k=MOST_CANDIDATES,
            )
            self._embedder: Any = cv2.FaceRecognizerSF.create(str(embedder), "")
        except cv2.error as error:
            what = f"{detector} and {embedder}: OpenCV cannot open them: {error.err}"
            raise WeightsError(what, "fetch or copy them again") from None

    def embed_faces(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """A vector [128] for each face in an RGB frame, the largest first, at most MOST_FACES."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        self._detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, rows = self._detector.detect(bgr)
        if rows is None:
            return []
        # Largest first, by area; stable, so that equal ones keep the detector's order.
        order = np.argsort(-rows[:, 2] * rows[:, 3], kind="stable")[:MOST_FACES]
        crops = [self._embedder.alignCrop(bgr, row) for row in rows[order]]
        # Copied: `feature` gives the same memory each time, and writes the next face over the last.
        return [np.array(self._embedder.feature(crop), np.float32).reshape(-1) for crop in crops]


class OnnxFaceDetector:
    """A detector of one's own; what it finds is described as the classic expert describes it.

    Args:
        path: its ONNX file.

    Raises:
        WeightsError: it cannot be opened, or its outputs are no boxes and scores.
    """

    def __init__(self, path: Path) -> None:
        self._network = OnnxNetwork(path)
        # Whatever the sidecar says: boxes are parts of the whole frame, so it must be seen whole.
        self._network.sidecar = replace(self._network.sidecar, fit="stretch")
        self._scores, self._boxes = self._named_outputs()

    def _named_outputs(self) -> tuple[str, str]:
        told, shapes = self._network.sidecar, self._network.shapes
        scores = told.scores or next((name for name, shape in shapes.items() if shape[-1:] == [2]), None)
        boxes = told.boxes or next((name for name, shape in shapes.items() if shape[-1:] == [4]), None)
        if scores is None or boxes is None:
            what = f"{self._network.path}: no outputs [1, n, 2] and [1, n, 4] among {', '.join(shapes)}"
            raise WeightsError(what, "name them in its sidecar: scores, boxes")
        return scores, boxes

    def embed_faces(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """A vector [dim] for each face in an RGB frame, the largest first, at most MOST_FACES."""
        boxes = self.boxes(image)
        return [describe_face(image, box, len(boxes)) for box in boxes]

    def boxes(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Boxes of faces in an RGB frame: float32 [faces, 4], left, top, width, height in its pixels."""
        inputs = self._network.prepare([image])
        scores, corners = (found[0] for found in self._network.call(inputs, [self._scores, self._boxes]))
        sure = scores[:, -1] >= self._network.sidecar.least_score
        height, width = image.shape[:2]
        corners = np.clip(corners[sure], 0, 1) * np.array([width, height, width, height], np.float32)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).astype(np.float32)
        large = (boxes[:, 2:] >= 2).all(1)  # of a box one pixel wide nothing can be described
        boxes, sureness = boxes[large], scores[sure][large, -1]
        kept = suppress_overlaps(boxes, sureness)
        order = np.lexsort((boxes[kept, 1], boxes[kept, 0], -boxes[kept, 2] * boxes[kept, 3]))
        return boxes[kept][order[:MOST_FACES]]


def suppress_overlaps(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers of the boxes that non-maximum suppression leaves: of two that overlap the less sure one goes.

    Args:
        boxes: [n, 4] left, top, width, height.
        scores: [n].
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    return np.array(cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, OVERLAP), np.int64).reshape(-1)
