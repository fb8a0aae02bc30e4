"""Tiny ONNX classifiers whose answers are known: of pictures by their colour, of sound by its loudness."""

from __future__ import annotations

from pathlib import Path

import numpy as np

COLOURS = ["red, crimson", "green", "blue"]
LEVELS = ["quiet", "loud"]


def colour_classifier(folder: Path, *, eight_bits: bool = True, batch: int | str = 1) -> Path:
    """Takes [batch, 8, 8, 3] pixels; of each class the share that its colour has: three classes, `COLOURS`."""
    from onnx import TensorProto, helper

    kind = TensorProto.UINT8 if eight_bits else TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceSum", ["means", "axis"], ["sum"], keepdims=1),
        helper.make_node("Max", ["sum", "least"], ["divisor"]),
        helper.make_node("Div", ["means", "divisor"], ["shares"]),
        helper.make_node("Mul", ["shares", "unit"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["classes"], to=kind),
    ]
    numbers = {
        "axis": np.array([1], np.int64),
        "least": np.array([1e-6], np.float32),
        "unit": np.array([255 if eight_bits else 1], np.float32),
    }
    return _save(folder / "colours.onnx", nodes, numbers, ("pixels", kind, [batch, 8, 8, 3]), (kind, [batch, 3]))


def loudness_classifier(folder: Path, samples: int = 1600) -> Path:
    """Takes [1, samples] of sound; two classes, `LEVELS`: 1 less its mean loudness, and its mean loudness."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Abs", ["sound"], ["loud"]),
        helper.make_node("ReduceMean", ["loud"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["one", "mean"], ["rest"]),
        helper.make_node("Concat", ["rest", "mean"], ["scores"], axis=1),
    ]
    kind = TensorProto.FLOAT
    numbers = {"one": np.array([1], np.float32)}
    return _save(folder / "loudness.onnx", nodes, numbers, ("sound", kind, [1, samples]), (kind, [1, 2]))


def _save(path: Path, nodes: list, numbers: dict, given: tuple, gives: tuple) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    initial = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    inputs = [helper.make_tensor_value_info(*given)]
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], *gives)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initial)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
