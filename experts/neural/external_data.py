"""Where an ONNX file keeps its large numbers: in files beside it, never elsewhere on the machine.

A graph may name any path for the numbers of a tensor ("external data"), and whatever runs it reads there.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experts.neural.weights import RefusedError


def check_external_data(path: Path) -> None:
    """See that a graph names files in its own folder alone.

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
