"""Runs an ONNX file that a person brings, with onnxruntime. Letters: n rows, dim the width of a vector."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.neural.network import Inputs, count_rows
from experts.neural.sidecar import read_sidecar, sidecar_path
from experts.neural.weights import RefusedError, WeightsError, digest, first_line

OPEN_SIDE = 224
"""Width and height for a graph that leaves them open and a sidecar that says nothing, pixels."""
ROWS_AT_ONCE = 16


def onnx_identity(path: Path) -> str:
    """Digest of an ONNX file, of the numbers it keeps in files beside it, and of its sidecar."""
    # A graph over 2 GB keeps its numbers in FILE.onnx_data or FILE.data, as exporters have it.
    beside = sorted([*path.parent.glob(path.name + "[._]data"), *path.parent.glob(path.stem + "[._]data")])
    sidecar = sidecar_path(path)
    return f"sha256:{digest([path, *beside, *([sidecar] if sidecar.is_file() else [])])}"


def shown_inputs(inputs: Sequence[Any]) -> str:
    """The inputs of a graph for a message: pixels [batch, 3, 224, 224]; ? is an axis without name or size."""
    return ", ".join(f"{each.name} [{', '.join(str(axis or '?') for axis in each.shape)}]" for each in inputs)


class OnnxGraph:
    """An open ONNX file with one input, and the sidecar beside it; what the input holds is a subclass's.

    Args:
        path: the file.
        device: cpu, or a device for which this onnxruntime has a provider; "auto" takes the best there is.

    Raises:
        WeightsError: it cannot be opened, takes something else, or has no output that its sidecar names.
    """

    rank: int
    """Axes of its input."""
    takes: str
    """What the input holds, in words."""
    numbers: tuple[str, ...]
    """The kinds of numbers that it may take."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.path = path
        self._session = open_session(path, device)
        self.inputs = self._session.get_inputs()
        self.shapes: dict[str, list[Any]] = {each.name: list(each.shape) for each in self._session.get_outputs()}
        self.outputs = list(self.shapes)
        if len(self.inputs) != 1 or len(self.inputs[0].shape) != self.rank:
            raise WeightsError(
                f"{path}: takes {shown_inputs(self.inputs)}, not {self.takes}",
                f"export it so that it takes {self.takes}",
            )
        number = self.inputs[0].type.removeprefix("tensor(").removesuffix(")")
        if number not in self.numbers:
            raise WeightsError(
                f"{path}: takes numbers of the kind {number}, not {' or '.join(self.numbers)}",
                f"export it so that it takes {self.numbers[0]}",
            )
        sidecar = read_sidecar(path)
        for name in (sidecar.output, sidecar.scores, sidecar.boxes):
            if name is not None and name not in self.outputs:
                known = ", ".join(self.outputs)
                raise WeightsError(f"{sidecar_path(path)}: there is no output {name!r}", f"it has {known}")
        self.sidecar = sidecar

    def call(self, inputs: Inputs, names: Sequence[str]) -> list[NDArray[Any]]:
        """Run it on n rows, as many at once as it takes; each output has the n rows along its first axis."""
        fixed = self.inputs[0].shape[0]
        step = fixed if isinstance(fixed, int) and fixed > 0 else ROWS_AT_ONCE
        parts = []
        for at in range(0, count_rows(inputs), step):
            rows = {name: array[at : at + step] for name, array in inputs.items()}
            count = count_rows(rows)
            if isinstance(fixed, int) and count < step:  # the graph takes no fewer: fill up
                rows = {name: np.resize(array, (step, *array.shape[1:])) for name, array in rows.items()}
            parts.append([output[:count] for output in self._session.run(list(names), rows)])
        return [np.concatenate(columns) for columns in zip(*parts, strict=True)]

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Inputs of n rows -> float32 [n, dim], of the output that the sidecar names; of bytes, 255 is 1."""
        (found,) = self.call(inputs, [self.sidecar.output or self.outputs[0]])
        # A network in eight bits gives its probabilities in them, too.
        unit = np.float32(1 / 255) if found.dtype == np.uint8 else np.float32(1)
        return vectors(np.asarray(found, np.float32) * unit)


class OnnxNetwork(OnnxGraph):
    """An ONNX file that takes a batch of pictures.

    Args:
        path, device: as `OnnxGraph`.

    Raises:
        WeightsError: as `OnnxGraph`; or its sidecar names a size that it does not take.
    """

    rank, takes = 4, "one batch of pictures"
    numbers = ("float", "float16", "uint8")

    def __init__(self, path: Path, device: str = "cpu") -> None:
        super().__init__(path, device)
        sidecar, shape = self.sidecar, self.inputs[0].shape
        # Only a picture's colours are 3: a graph that has them last need not say so.
        layout = sidecar.layout or ("NHWC" if shape[3] == 3 and shape[1] != 3 else "NCHW")
        # Width and height: the last two of [n, 3, H, W] in reverse, or the middle ones of [n, H, W, 3].
        sides = shape[:0:-1][:2] if layout == "NCHW" else (shape[2], shape[1])
        fixed = [side if isinstance(side, int) and side > 0 else None for side in sides]
        wanted = sidecar.size or (fixed[0] or OPEN_SIDE, fixed[1] or OPEN_SIDE)
        if any(side not in (None, own) for side, own in zip(fixed, wanted, strict=True)):
            what = f"{sidecar_path(path)}: the size is {list(wanted)}, but the network takes {fixed}"
            raise WeightsError(what, "take the size out of it")
        self.sidecar = replace(sidecar, size=wanted, layout=layout)

    def prepare(self, frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Inputs:
        """RGB frames as the network wants them; one that takes bytes gets the pixels as they are."""
        asked = self.inputs[0]
        prepare = self.sidecar.pixels if asked.type == "tensor(uint8)" else self.sidecar.prepare
        rows = np.stack([prepare(frame) for frame in frames])
        return {asked.name: rows.astype(np.float16) if asked.type == "tensor(float16)" else rows}

    def width(self) -> int:
        """dim: what it gives for a black frame, because a graph may leave its output open."""
        return int(self.run(self.prepare([np.zeros((32, 32, 3), np.uint8)])).shape[1])


class OnnxSoundNetwork(OnnxGraph):
    """An ONNX file that takes windows of mono sound, float32 [n, samples] in -1..1.

    Attributes:
        hz: samples a second, of the sidecar.
        samples: of a window.

    Args:
        path, device: as `OnnxGraph`.

    Raises:
        WeightsError: as `OnnxGraph`.
    """

    rank, takes = 2, "one batch of windows of sound [n, samples]"
    numbers = ("float",)

    def __init__(self, path: Path, device: str = "cpu") -> None:
        super().__init__(path, device)
        fixed = self.inputs[0].shape[1]
        self.hz = self.sidecar.hz
        self.samples = fixed if isinstance(fixed, int) and fixed > 0 else round(self.sidecar.window_s * self.hz)

    def prepare(self, windows: Sequence[NDArray[np.float32]]) -> Inputs:
        """Windows of at most `samples` as rows; shorter ones are filled up with silence."""
        rows = np.zeros((len(windows), self.samples), np.float32)
        for row, window in zip(rows, windows, strict=True):
            row[: len(window)] = window[: self.samples]
        return {self.inputs[0].name: rows}

    def width(self) -> int:
        """dim: what it gives for silence, because a graph may leave its output open."""
        return int(self.run(self.prepare([np.zeros(self.samples, np.float32)])).shape[1])


def vectors(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network gives as one vector a row: maps and tokens are averaged over their places.

    Args:
        found: [n, dim], [n, tokens, dim], [n, dim, 1, 1] or [n, channels, height, width].
    """
    if found.ndim == 4:
        return found.mean((2, 3))
    if found.ndim == 3:
        return found.mean(1)
    return found.reshape(len(found), -1)


def open_session(path: Path, device: str) -> Any:
    """An onnxruntime session.

    Raises:
        WeightsError: onnxruntime is missing, or cannot open the file.
        RefusedError: it would read numbers from outside its folder.
    """
    try:
        import onnxruntime
    except ImportError:
        raise WeightsError("onnxruntime is not installed", "pip install onnxruntime") from None
    check_external_data(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # As torch does: where extraction runs a process a core, each must keep to its own.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    # Its threads would turn round waiting for one another, on the cores that the processes beside it decode with: a
    # MobileNet then takes twice the processor time, and longer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    available = onnxruntime.get_available_providers()
    wanted = {"cuda": "CUDAExecutionProvider", "auto": "CUDAExecutionProvider"}.get(device.split(":")[0])
    providers = [name for name in (wanted, "CPUExecutionProvider") if name in available]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own, without a common base
        what = f"{path}: onnxruntime cannot open it: {first_line(error)}"
        raise WeightsError(what, "export the network again") from error


def check_external_data(path: Path) -> None:
    """See that a graph names files in its own folder alone.

    It may name any path for the numbers of a tensor ("external data"), and whatever runs it reads there.

    Raises:
        RefusedError: it names another.
    """
    for name in external_files(path):
        if Path(name).is_absolute() or ".." in Path(name).parts or not _beside(path, path.parent / name):
            what = f"{path}: its numbers would be read from {name}, which does not lie in its folder"
            raise RefusedError(what, "export the network again, with its data beside it")


def external_files(path: Path) -> set[str]:
    """The files that a graph names for its numbers; none where it holds them itself, or cannot be read at all."""
    # "location" is a key that every such tensor has: looking for it takes no time, and spares reading the graph.
    with path.open("rb") as file:
        if not path.stat().st_size:
            return set()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(b"location") < 0:
                return set()
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # protobuf's own; whoever opens the file next says what is wrong with it
        return set()
    return {entry.value for tensor in _tensors(model) for entry in tensor.external_data if entry.key == "location"}


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor of a graph: initializers, attributes of nodes, those of graphs inside them, of functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "__len__") and not hasattr(value, "DESCRIPTOR") else [value]:
                yield from _tensors(part)


def _beside(graph: Path, data: Path) -> bool:
    """Whether a file lies in the folder of a graph, or where both are links to, as in the cache of the hub."""
    return data.resolve().is_relative_to(graph.parent.resolve()) or data.resolve().parent == graph.resolve().parent
