"""A graph as a list of steps that NumPy takes: the one text of a cold query, without onnxruntime.

onnxruntime is 28 MB in memory before it has read a weight, and then holds the whole text encoder; here a weight is
read from the mapped file when a step wants it, and its pages are given back after that. What a query holds does so
not depend on how large its text encoder is. Many texts are encoded by onnxruntime, which is faster then.

The steps are written beside the graph, as JSON, when that is exported (`steps_of`), and only where NumPy has a word
for each of its operators, as for the text encoders of BERT's kind. Operators: onnx.ai/onnx/operators, and those that
onnxruntime's optimiser makes of several (com.microsoft).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.headers import Count

PIECE_BYTES = 1 << 20
"""Of a weight that is multiplied: a larger one is never in memory as a whole."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Weight:
    """Where a constant lies.

    Args:
        dtype: of its numbers, as NumPy writes it.
        shape: of the array.
        offset: of its first byte in the file; None where `numbers` are given.
        numbers: of a small one, flat.
    """

    dtype: str
    shape: tuple[Count, ...]
    offset: Count | None = None
    numbers: list[Any] | None = None


@dataclass(frozen=True)
class Step:
    """One operator: it gives one value.

    Args:
        operator: one of `OPERATORS`.
        inputs: names of values; empty for an optional one that is left out.
        output: name of what it gives.
        options: the operator's attributes.
    """

    operator: str
    inputs: list[str]
    output: str
    options: dict[str, Any]


@dataclass(frozen=True)
class GraphSteps:
    """A graph that NumPy runs.

    Args:
        inputs: names of what it is given.
        weights: its constants, by name.
        steps: in the order in which they are taken.
    """

    inputs: list[str]
    weights: dict[str, Weight]
    steps: list[Step]

    def to_json(self) -> bytes:
        """As bytes, which `headers.decode` reads."""
        return json.dumps(asdict(self)).encode()

    def run(self, given: Mapping[str, Array], file: Array, release: Callable[[int, int], None]) -> Array:
        """What the last step gives.

        Args:
            given: of each of the `inputs`.
            file: uint8, the mapped file that weights lie in.
            release: told offset and bytes of a weight that was used.
        """
        values: dict[str, Array] = {name: given[name] for name in self.inputs}
        last_use = {name: at for at, step in enumerate(self.steps) for name in step.inputs}
        for at, step in enumerate(self.steps):
            arrays = [values[name] if name in values else self._constant(name, file) for name in step.inputs]
            values[step.output] = self._take(step, arrays, release)
            for name in step.inputs:
                if last_use[name] == at:  # a batch's intermediate values would be far more than its weights
                    values.pop(name, None)
        return values[self.steps[-1].output]

    def _constant(self, name: str, file: Array) -> Any:
        """A constant, mapped where it is large; None where the name says that it is left out."""
        if not name:
            return None
        weight = self.weights[name]
        if weight.offset is None:
            return np.array(weight.numbers, weight.dtype).reshape(weight.shape)
        end = weight.offset + math.prod(weight.shape) * np.dtype(weight.dtype).itemsize
        # By a view, which refuses bytes as references to objects, where an array made over them takes a forged one.
        return file[weight.offset : end].view(weight.dtype).reshape(weight.shape)

    def _take(self, step: Step, arrays: list[Array], release: Callable[[int, int], None]) -> Array:
        """One step, after which the pages of its weights are given back."""
        weight = self.weights.get(step.inputs[-1])
        if step.operator == "MatMul" and weight and arrays[1].nbytes > PIECE_BYTES and arrays[1].ndim == 2:
            return self._multiplied(arrays[0], arrays[1], weight.offset or 0, release)
        result = np.asarray(OPERATORS[step.operator](*arrays, **step.options))
        for weight, array in zip(map(self.weights.get, step.inputs), arrays, strict=True):
            if weight is not None and weight.offset is not None:
                release(weight.offset, array.nbytes)
        return result

    @staticmethod
    def _multiplied(x: Array, weight: Array, offset: int, release: Callable[[int, int], None]) -> Array:
        """x W as the sum over pieces of W's rows: the rotation alone is 16 MB."""
        rows = max(PIECE_BYTES // weight[0].nbytes, 1)
        total = np.zeros((*x.shape[:-1], weight.shape[1]), np.result_type(x, weight))
        for first in range(0, len(weight), rows):
            part = weight[first : first + rows]
            total += x[..., first : first + rows] @ part
            release(offset + first * weight[0].nbytes, part.nbytes)
        return total


def steps_of(graph: Any) -> GraphSteps | None:
    """The steps of an optimised `onnx.ModelProto` whose large tensors lie outside; None where NumPy lacks a word."""
    nodes = [node for node in graph.graph.node if node.op_type != "Constant"]
    if any(node.op_type not in OPERATORS or len(node.output) != 1 for node in nodes):
        return None
    from onnx import helper

    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = helper.get_node_attr_value(node, "value")
    inputs = [given.name for given in graph.graph.input]
    # A number for each name: those of a traced graph are the whole path to a module, and as long as the rest.
    short = {name: name for name in ["", *inputs]}
    for name in [*constants, *(node.output[0] for node in nodes)]:
        short.setdefault(name, str(len(short)))
    steps = [Step(n.op_type, [short[name] for name in n.input], short[n.output[0]], _options(n)) for n in nodes]
    return GraphSteps(inputs, {short[name]: _weight(tensor) for name, tensor in constants.items()}, steps)


def _weight(tensor: Any) -> Weight:
    from onnx import helper, numpy_helper

    dtype, shape = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)), tuple(tensor.dims)
    outside = {entry.key: entry.value for entry in tensor.external_data}
    if outside:
        return Weight(dtype.str, shape, offset=int(outside["offset"]))
    return Weight(dtype.str, shape, numbers=numpy_helper.to_array(tensor).ravel().tolist())


def _options(node: Any) -> dict[str, Any]:
    """Attributes of a node, as JSON can hold them: kinds of numbers by NumPy's names."""
    from onnx import helper

    options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if "to" in options:
        options["to"] = np.dtype(helper.tensor_dtype_to_np_dtype(options["to"])).str
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in options.items()}


def _erf(x: Array) -> Array:
    """Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: off by 1.5e-7 at most."""
    size = np.abs(x)
    t = np.reciprocal(1 + np.float32(0.3275911) * size)
    series = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series *= t
        series += coefficient
    series *= t
    series *= np.exp(np.negative(np.square(size, out=size), out=size), out=size)
    return np.copysign(np.subtract(1, series, out=series), x, out=series)


def _gelu(x: Array, bias: Array | float = 0.0) -> Array:
    x = x + bias
    return 0.5 * x * (1 + _erf(x * np.float32(math.sqrt(0.5))))


def _softmax(x: Array, axis: int = -1) -> Array:
    shares = np.exp(x - x.max(axis, keepdims=True))
    return shares / shares.sum(axis, keepdims=True)


def _layer_norm(
    x: Array, scale: Array, bias: Array | None = None, axis: int = -1, epsilon: float = 1e-5, **_: Any
) -> Array:
    axes = tuple(range(axis % x.ndim, x.ndim))
    x = x - x.mean(axes, keepdims=True)
    normal = x / np.sqrt(np.square(x).mean(axes, keepdims=True) + np.float32(epsilon)) * scale
    return normal if bias is None else normal + bias


def _matmul(a: Array, b: Array) -> Array:
    if b.ndim != 2 or a.ndim < 3:
        return a @ b
    return (a.reshape(-1, a.shape[-1]) @ b).reshape(*a.shape[:-1], b.shape[1])  # NumPy would multiply text by text


def _product(
    a: Array, b: Array, c: Array | None = None, *, alpha: float = 1.0, beta: float = 1.0, **turned: int
) -> Array:
    """Gemm and FusedMatMul. Raises ValueError where batches, too, are to be transposed."""
    if turned.get("transBatchA") or turned.get("transBatchB"):
        raise ValueError("batches are not transposed")
    left = np.swapaxes(a, -1, -2) if turned.get("transA") else a
    right = np.swapaxes(b, -1, -2) if turned.get("transB") else b
    product = alpha * (left @ right)
    return product if c is None else product + beta * c


def _reduced(how: Callable[..., Array]) -> Callable[..., Array]:
    """An operator over axes, which are an input or an attribute, as the version has it."""

    def reduce(
        x: Array, given: Array | None = None, *, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Array:
        if noop_with_empty_axes and given is None and not axes:
            return x
        axes = axes if given is None else given.tolist()
        return how(x, axis=None if axes is None else tuple(axes), keepdims=bool(keepdims))

    return reduce


def _reshape(x: Array, shape: Array, allowzero: int = 0) -> Array:
    sizes = [x.shape[at] if not size and not allowzero else int(size) for at, size in enumerate(shape)]
    return x.reshape(sizes)


def _slice(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    parts = [slice(None)] * x.ndim
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), int) if steps is None else steps
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        parts[axis] = slice(int(start), None if step < 0 and end < -x.shape[axis] else int(end), int(step))
    return x[tuple(parts)]


def _pad(
    x: Array, pads: Array, value: Array | float | None = None, axes: Array | None = None, mode: str = "constant"
) -> Array:
    spare = [(0, 0)] * x.ndim
    for at, axis in enumerate(range(x.ndim) if axes is None else axes):
        spare[axis] = (int(pads[at]), int(pads[at + len(pads) // 2]))
    value = 0 if value is None else value
    return np.pad(x, spare, constant_values=value) if mode == "constant" else np.pad(x, spare, mode=mode)  # type: ignore[call-overload]


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Add": np.add,
    "And": np.logical_and,
    "ArgMax": lambda x, axis=0, keepdims=1, select_last_index=0: np.argmax(x, axis, keepdims=bool(keepdims)),
    "BiasGelu": _gelu,
    "Cast": lambda x, to: x.astype(to),
    "Clip": lambda x, low=None, high=None: np.clip(x, low, high),
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    # Whole numbers are divided as C does it; those of shapes are never negative.
    "Div": lambda a, b: np.floor_divide(a, b) if a.dtype.kind in "iu" else np.divide(a, b),
    "Einsum": lambda *parts, equation: np.einsum(equation, *parts, optimize=True),
    "Equal": np.equal,
    "Erf": _erf,
    "Exp": np.exp,
    "Expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),
    "Flatten": lambda x, axis=1: x.reshape(math.prod(x.shape[:axis]), -1),
    "FusedMatMul": _product,
    "Gather": lambda x, rows, axis=0: np.take(x, rows, axis),
    "GatherElements": lambda x, rows, axis=0: np.take_along_axis(x, rows, axis),
    "Gelu": _gelu,
    "Gemm": _product,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Identity": lambda x: x,
    "IsNaN": np.isnan,
    "LayerNormalization": _layer_norm,
    "Less": np.less,
    "MatMul": _matmul,
    "Max": lambda *parts: np.maximum.reduce(np.broadcast_arrays(*parts)),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Pad": _pad,
    "Pow": lambda x, power: np.power(x, power, dtype=x.dtype),
    "QuickGelu": lambda x, alpha=1.702: x / (1 + np.exp(-alpha * x)),
    "Range": np.arange,
    "ReduceL2": _reduced(lambda x, **over: np.sqrt(np.square(x).sum(**over))),
    "ReduceMax": _reduced(np.max),
    "ReduceMean": _reduced(np.mean),
    "ReduceSum": _reduced(np.sum),
    "Reshape": _reshape,
    "Shape": lambda x, start=0, end=None: np.array(x.shape[start:end], np.int64),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sqrt": np.sqrt,
    "Squeeze": lambda x, axes=None: np.squeeze(x, None if axes is None else tuple(axes)),
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "Transpose": lambda x, perm=None: np.transpose(x, perm),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
    "Where": np.where,
}
