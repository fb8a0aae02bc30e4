"""YuNet and SFace with made-up weights: whatever is bright is a face, and its vector is a mixture of its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

POINTS = [0.3, 0.35, 0.7, 0.35, 0.5, 0.55, 0.35, 0.75, 0.65, 0.75]
"""Eyes, nose and corners of the mouth in a cell."""


def save(folder: Path) -> Path:
    """Write both networks as OpenCV's model zoo names them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "face_detection_yunet_2023mar.onnx").write_bytes(_detector())
    (folder / "face_recognition_sface_2021dec.onnx").write_bytes(_embedder())
    return folder


def face(seed: int) -> np.ndarray:
    """A bright square whose pattern is a person's."""
    import cv2

    coarse = np.random.default_rng(seed).integers(215, 256, (2, 2, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (32, 32), interpolation=cv2.INTER_NEAREST))


def picture(*seeds: int) -> np.ndarray:
    image = np.zeros((192, 320, 3), np.uint8)
    for at, seed in enumerate(seeds):
        image[64:96, 32 + 96 * at : 64 + 96 * at] = face(seed)
    return image


def write_video(path: Path, seconds: list[tuple[int, ...]]) -> None:
    """A video at a frame a second that shows these faces in each."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264rgb", rate=1, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 192, "rgb24"
        for seeds in seconds:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture(*seeds), "rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def _model(nodes, inputs, outputs, initializers) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    shaped = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs]
    named = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs]
    numbers = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    graph = helper.make_graph(nodes, "net", shaped, named, numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 8
    return model.SerializeToString()


def _detector() -> bytes:
    """For each cell of 8, 16 and 32 pixels: a score of its brightness, a box of its size, five points in it.

    OpenCV takes √(cls · obj) for the score, and boxes and points relative to the cell, in cells.
    """
    from onnx import helper

    nodes, outputs, numbers = [], [], {}
    for stride in (8, 16, 32):
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            out = f"{name}_{stride}"
            kernel = np.zeros((width, 3, stride, stride), np.float32)
            if name in ("cls", "obj") and stride == 32:  # only the coarse cells see faces
                kernel[:] = 1 / (3 * stride * stride * 255)
            bias = np.array(POINTS if name == "kps" else [0.0] * width, np.float32)
            numbers |= {f"w_{out}": kernel, f"b_{out}": bias, f"s_{out}": np.array([1, -1, width], np.int64)}
            nodes += [
                helper.make_node("Conv", ["input", f"w_{out}", f"b_{out}"], [f"c_{out}"], strides=[stride, stride]),
                helper.make_node("Transpose", [f"c_{out}"], [f"t_{out}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"t_{out}", f"s_{out}"], [out]),
            ]
            outputs.append((out, [1, (640 // stride) ** 2, width]))
    return _model(nodes, [("input", [1, 3, 640, 640])], outputs, numbers)


def _embedder() -> bytes:
    """112 × 112 pixels -> 128 numbers, each a random mixture of the pixels of a grid."""
    from onnx import helper

    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(128, 3, 28, 28)).astype(np.float32) / 1000
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["c"], strides=[28, 28]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["fc1"]),
    ]
    return _model(nodes, [("data", [1, 3, 112, 112])], [("fc1", [1, 128])], {"w": kernel})
