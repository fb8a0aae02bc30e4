"""A graph that NumPy takes in steps gives what onnxruntime gives, operator by operator and as a text encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import CAPTIONS, model

from hcq_cli.codes.container import ContainerWriter
from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.headers import decode
from hcq_cli.model import graph_steps
from hcq_cli.model.config import QuantizerConfig
from hcq_cli.model.export import export_text_encoder
from hcq_cli.model.exported_text_encoder import FORMAT, ExportedTextEncoder
from hcq_cli.model.graph_steps import OPERATORS, GraphSteps, steps_of

DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(2, 3, 4)).astype(np.float32)
Y = DRAWN.normal(size=(2, 4, 5)).astype(np.float32)
ROWS = np.array([[2, 0], [1, -1]], np.int64)
TRUE = X > 0
ONNX, MICROSOFT = "", "com.microsoft"


def of(*numbers: int) -> np.ndarray:
    """Whole numbers as shapes and axes are given."""
    return np.array(numbers, np.int64)


CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Add", [X, X[0]], {}),
    ("And", [TRUE, ~TRUE[:1]], {}),
    ("ArgMax", [X], dict(axis=1, keepdims=0)),
    ("Cast", [ROWS], dict(to=TensorProto.FLOAT)),
    ("Clip", [X, np.float32(-0.5), np.float32(0.5)], {}),
    ("Clip", [X, np.float32(0)], {}),
    ("Concat", [X, X], dict(axis=-1)),
    ("Div", [X, X[0] + 3], {}),
    ("Div", [of(7, 9), of(2, 3)], {}),
    ("Einsum", [X, Y], dict(equation="bij,bjk->bik")),
    ("Equal", [ROWS, ROWS.T], {}),
    ("Erf", [X], {}),
    ("Exp", [X], {}),
    ("Expand", [X[:, :1], of(2, 3, 4)], {}),
    ("Flatten", [X], dict(axis=2)),
    ("Gather", [X, ROWS], dict(axis=1)),
    ("GatherElements", [X[0], np.tile(ROWS, 2)], dict(axis=0)),
    ("Gemm", [X[0], Y[0], Y[0, 0]], dict(alpha=0.5, beta=2.0)),
    ("Gemm", [X[0], X[1]], dict(transB=1)),
    ("Greater", [X, X[:1]], {}),
    ("GreaterOrEqual", [X, X[:1]], {}),
    ("Identity", [X], {}),
    ("IsNaN", [np.array([1, np.nan], np.float32)], {}),
    ("LayerNormalization", [X, X[0, 0], X[0, 1]], dict(axis=-1, epsilon=1e-3)),
    ("Less", [X, X[:1]], {}),
    ("MatMul", [X, Y], {}),
    ("MatMul", [X, Y[0]], {}),
    ("Max", [X, X[:1], X[1:]], {}),
    ("Mul", [X, X[:1]], {}),
    ("Neg", [X], {}),
    ("Not", [TRUE], {}),
    ("Or", [TRUE, ~TRUE[:1]], {}),
    ("Pad", [X, of(0, 1, 0, 0, 0, 2)], {}),
    ("Pad", [X, of(0, 1, 0, 0, 0, 2), np.float32(7)], {}),
    ("Pow", [abs(X), np.float32(3)], {}),
    ("Range", [np.int64(1), np.int64(9), np.int64(3)], {}),
    ("ReduceL2", [X], dict(axes=[-1])),
    ("ReduceMax", [X], dict(axes=[1], keepdims=0)),
    ("ReduceMean", [X], dict(axes=[1, 2])),
    ("ReduceSum", [X, of(1)], dict(keepdims=0)),
    ("ReduceSum", [X], dict(noop_with_empty_axes=1)),
    ("Reshape", [X, of(0, -1)], {}),
    ("Shape", [X], {}),
    ("Shape", [X], dict(start=1, end=2)),
    ("Sigmoid", [X], {}),
    ("Slice", [X, of(-1, 1), of(-9, 3), of(1, 2), of(-1, 1)], {}),
    ("Slice", [X, of(1), of(99)], {}),
    ("Softmax", [X], dict(axis=1)),
    ("Sqrt", [abs(X)], {}),
    ("Squeeze", [X[:, :1], of(1)], {}),
    ("Sub", [X, X[:1]], {}),
    ("Tanh", [X], {}),
    ("Transpose", [X], dict(perm=[2, 0, 1])),
    ("Unsqueeze", [X, of(0, -1)], {}),
    ("Where", [TRUE, X, X[:1]], {}),
    ("BiasGelu", [X, X[0, 0]], {}),
    ("Gelu", [X], {}),
    ("QuickGelu", [X], dict(alpha=1.702)),
    ("FusedMatMul", [X, X], dict(transB=1, alpha=0.25)),
]


def one_node(operator: str, inputs: list[np.ndarray], options: dict[str, Any]) -> onnx.ModelProto:
    """A graph of one operator whose inputs are named in their order."""
    domain = MICROSOFT if operator in ("BiasGelu", "Gelu", "QuickGelu", "FusedMatMul") else ONNX
    names = [f"i{at}" for at in range(len(inputs))]
    node = helper.make_node(operator, names, ["o"], domain=domain, **options)
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(x).dtype), np.shape(x))
        for name, x in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph([node], "one", given, [onnx.ValueInfoProto(name="o")])
    opsets = [helper.make_opsetid(ONNX, 17), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("operator", "inputs", "options"), CASES, ids=lambda part: part if isinstance(part, str) else ""
)
def test_an_operator_does_what_onnxruntime_does(operator: str, inputs: list[Any], options: dict[str, Any]) -> None:
    graph = one_node(operator, inputs, options)
    given = {f"i{at}": np.asarray(x) for at, x in enumerate(inputs)}
    wanted = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, given)[0]
    steps = steps_of(graph)
    assert steps is not None
    read = decode(GraphSteps, steps.to_json(), Path("x"), "")
    found = read.run(given, np.zeros(0, np.uint8), lambda offset, nbytes: None)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    assert np.allclose(found, wanted, atol=2e-6, rtol=1e-5)


def test_every_operator_is_tried() -> None:
    assert {operator for operator, _, _ in CASES} == set(OPERATORS)


def test_what_numpy_has_no_word_for_is_left_to_onnxruntime() -> None:
    assert steps_of(one_node("Sin", [X], {})) is None


def exported(folder: Path, **kwargs: Any) -> Path:
    """The text encoder of a small model."""
    export_text_encoder(model(**kwargs), folder / "tower.hcq")
    return folder / "tower.hcq"


def test_a_text_encoder_by_steps_is_the_one_by_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = exported(tmp_path, quantizer=QuantizerConfig(codewords=8, rotation="all"))
    assert "steps" in ExportedTextEncoder(path).file.sections
    many = ExportedTextEncoder(path, lasting=True).encode(CAPTIONS)
    for piece in (graph_steps.PIECE_BYTES, 100):  # a large weight is multiplied by its rows
        monkeypatch.setattr(graph_steps, "PIECE_BYTES", piece)
        assert np.abs(ExportedTextEncoder(path).encode(CAPTIONS) - many).max() < 2e-6


def test_a_query_loads_no_onnxruntime_and_keeps_no_weights(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from hcq_cli.model.exported_text_encoder import ExportedTextEncoder; "
        f"e = ExportedTextEncoder(Path({str(exported(tmp_path))!r})); e.encode(['a dog']); "
        "print(sorted({'onnxruntime', 'torch', 'onnx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("wrong", ["not json", "{}", '{"inputs": ["ids"], "weights": {}, "steps": []}'])
def test_steps_that_make_no_sense_are_an_error_of_ours(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(HcqError, match=r"tower2\.hcq"):
        rewritten(exported(tmp_path), wrong.encode()).encode(["a dog"])


def test_hostile_steps_are_an_error_of_ours(tmp_path: Path) -> None:
    """Numbers and names of real steps are replaced: either they do no harm, or hcq says what is wrong."""
    path = exported(tmp_path)
    whole = json.loads(ExportedTextEncoder(path).file.section("steps"))
    drawn = np.random.default_rng(1)
    for _ in range(60):
        document = json.loads(json.dumps(whole))
        step = document["steps"][drawn.integers(len(document["steps"]))]
        weight = document["weights"][str(drawn.choice(list(document["weights"])))]
        drawn.choice(
            [
                lambda: step.update(operator="__import__"),
                lambda: step.update(inputs=step["inputs"][1:]),
                lambda: step.update(inputs=["nobody", *step["inputs"]]),
                lambda: step.update(options={"axis": 99, "to": "<O"}),
                lambda: weight.update(shape=[1 << 60]),
                lambda: weight.update(offset=1 << 60),
                lambda: weight.update(dtype="O"),
                lambda: weight.update(numbers=[None], offset=None),
            ]
        )()
        encoder = rewritten(path, json.dumps(document).encode())
        try:
            assert encoder.encode(["a dog"]).shape[0] == 1
        except HcqError as error:
            assert "tower" in error.message


def rewritten(path: Path, steps: bytes) -> ExportedTextEncoder:
    """The file with other steps and right checksums."""
    file = ExportedTextEncoder(path).file
    other = path.with_name("tower2.hcq")
    with ContainerWriter(other, FORMAT, file.meta) as writer:
        writer.section("weights", "|u1", in_place=True).write(file.map("weights", "|u1"))
        for name in file.sections.keys() - {"weights"}:
            body = steps if name == "steps" else file.section(name)
            writer.add(name, np.frombuffer(body, np.uint8), "|u1")
    return ExportedTextEncoder(other)


def test_constants_of_every_kind_come_back() -> None:
    graph = one_node("Add", [X, X], {})
    del graph.graph.input[1]
    graph.graph.initializer.append(numpy_helper.from_array(X * np.float32(1 / 3), "i1"))
    steps = steps_of(graph)
    assert steps is not None
    found = decode(GraphSteps, steps.to_json(), Path("x"), "").run({"i0": X}, np.zeros(0, np.uint8), lambda *_: None)
    assert np.array_equal(found, X + X * np.float32(1 / 3))
    with pytest.raises(DamagedError, match="x: "):
        decode(GraphSteps, b'{"inputs": 3}', Path("x"), "")
