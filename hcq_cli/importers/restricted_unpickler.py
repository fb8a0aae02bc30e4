"""A restricted unpickler for PyTorch's `.pth` files: tensors and containers are read, all else becomes inert.

No class or function that a file names is looked up or called; torch is not even imported. Meant for a child process
with a memory limit and a deadline (`child`), since a file can still be made to waste both.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import DamagedError

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""Kinds of tensor storage, and how their bytes are read."""

MOST_NODES, DEEPEST = 200_000, 50
"""Bounds of what `plain` walks through: a pickle can nest shared parts so that walking them takes for ever."""


class Inert:
    """Stands in for an object of any class: it keeps what the pickle gives it, and does nothing."""

    origin = ""
    state: Any = None

    def __new__(cls, *arguments: Any, **named: Any) -> Inert:
        """Take anything."""
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *arguments: Any, **named: Any) -> Inert:
        """Nothing but another stand-in."""
        return Inert(*arguments)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Nothing."""

    def append(self, value: Any) -> None:
        """Nothing."""

    def extend(self, values: Any) -> None:
        """Nothing."""

    def add(self, value: Any) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Storage:
    """The bytes a tensor lies in.

    Args:
        kind: a key of `STORAGES`.
        key: its name in the file.
        count: elements, as the pickle says.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class PickledTensor:
    """A tensor that has not been read yet.

    Args:
        storage: where its numbers lie.
        offset, size, stride: its view of them, in elements.
    """

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def of(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Its numbers, copied out of its storage's.

        Raises:
            DamagedError: it reaches beyond them, or repeats them.
        """
        # `as_strided` checks nothing and reads any memory that it is pointed at, and offset, size and stride come
        # from the file: so the farthest element is worked out first, with Python's integers, which do not overflow.
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True) if n > 0)
        elements = int(np.prod(self.size, dtype=object)) if self.size else 1
        if min((self.offset, *self.size, *self.stride)) < 0 or (elements and last >= len(stored)):
            raise DamagedError(f"a tensor of shape {list(self.size)} reaches beyond its storage")
        if elements > len(stored):
            raise DamagedError(f"a tensor of shape {list(self.size)} is larger than its storage")
        steps = [step * stored.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(stored[self.offset :], self.size, steps).copy()


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    """What stands in for torch._utils._rebuild_tensor_v2."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Storage) or not all(isinstance(n, int) for n in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor is not made of a storage and numbers")
    return PickledTensor(storage, offset, tuple(size), tuple(stride))


def _parameter(data: Any, *rest: Any) -> Any:
    """What stands in for torch._utils._rebuild_parameter."""
    return data


KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


class RestrictedUnpickler(pickle.Unpickler):
    """Reads tensors (unread) and containers; everything else is `Inert`."""

    def find_class(self, module: str, name: str) -> Any:
        """Never imports anything."""
        # A fresh subclass a name, as REDUCE, NEWOBJ and BUILD want a class: calling it makes nothing but a stand-in.
        known = KNOWN.get((module, name))
        return known if known is not None else type("Inert", (Inert,), {"origin": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        """A tensor's storage (a legacy file also wraps a module's source code, of which only the module is kept)."""
        if not isinstance(pid, tuple) or len(pid) < 2:
            raise pickle.UnpicklingError("a persistent id is no tuple")
        if pid[0] == "module":
            return pid[1]
        if pid[0] != "storage" or len(pid) < 5 or not isinstance(pid[4], int):
            raise pickle.UnpicklingError("a persistent id is no storage")
        kind = getattr(pid[1], "origin", "").rpartition(".")[2]
        return Storage(kind, str(pid[2]), pid[4])


Numbers = Callable[[Storage], NDArray[Any]]


@dataclass
class PickledFile:
    """An opened `.pth` file.

    Args:
        content: what was pickled.
        numbers: reads one storage.
    """

    content: Any
    numbers: Numbers

    def array(self, tensor: PickledTensor) -> NDArray[Any]:
        """A tensor's numbers.

        Raises:
            DamagedError: they are not all there.
        """
        return tensor.of(self.numbers(tensor.storage))


def _decode(storage: Storage, body: bytes) -> NDArray[Any]:
    kind = STORAGES.get(storage.kind)
    if kind is None:
        raise DamagedError(f"tensors of kind {storage.kind!r} are not known")
    array = np.frombuffer(body, "<u2" if kind == "bfloat16" else kind)
    if len(array) < storage.count:
        raise DamagedError("a tensor's numbers are cut off")
    # NumPy has no bfloat16: it is the upper half of a float32, whose lower half is zeros then.
    return (array.astype("<u4") << 16).view("<f4") if kind == "bfloat16" else array


def open_pickled(path: Path) -> PickledFile:
    """Open a `.pth` file, of the zip format (torch ≥ 1.6) or the one before.

    Raises:
        DamagedError: it is neither, or it is damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            return _open_zip(path)
        with path.open("rb") as stream:
            return _open_legacy(stream)
    except DamagedError as error:
        raise DamagedError(f"{path}: {error.message}") from error
    except MemoryError:
        raise
    except Exception as error:  # a hostile pickle can raise nearly anything
        raise DamagedError(f"{path}: not a readable PyTorch checkpoint ({type(error).__name__}: {error})") from error


def _open_zip(path: Path) -> PickledFile:
    archive = zipfile.ZipFile(path)
    entries = {entry.filename: entry for entry in archive.infolist()}
    main = next((name for name in entries if name.endswith("/data.pkl") or name == "data.pkl"), None)
    if main is None:
        raise DamagedError("a zip file, but not a PyTorch checkpoint")
    root = main[: -len("data.pkl")]

    def body(name: str) -> bytes:
        entry = entries.get(root + name)
        if entry is None:
            raise DamagedError(f"has no {name}")
        # A compressed entry of a few kilobytes could unpack to many gigabytes.
        if entry.compress_type != zipfile.ZIP_STORED:
            raise DamagedError(f"{name} is compressed, which PyTorch never does")
        return archive.read(entry)

    if root + "byteorder" in entries and body("byteorder") != b"little":
        raise DamagedError("its numbers are big-endian")
    with archive.open(entries[main]) as stream:
        content = RestrictedUnpickler(stream).load()
    return PickledFile(content, lambda storage: _decode(storage, body(f"data/{storage.key}")))


def _open_legacy(stream: IO[bytes]) -> PickledFile:
    if RestrictedUnpickler(stream).load() != LEGACY_MAGIC or RestrictedUnpickler(stream).load() != LEGACY_PROTOCOL:
        raise DamagedError("not a PyTorch checkpoint")
    system = RestrictedUnpickler(stream).load()
    if isinstance(system, dict) and not system.get("little_endian", True):
        raise DamagedError("its numbers are big-endian")
    storages: dict[str, Storage] = {}

    class Noting(RestrictedUnpickler):
        def persistent_load(self, pid: Any) -> Any:
            found = super().persistent_load(pid)
            if isinstance(found, Storage):
                storages[found.key] = found
            return found

    # The numbers follow the pickle, key by key with their counts; what kind they are only the pickle has said.
    content = Noting(stream).load()
    bodies = {}
    for key in RestrictedUnpickler(stream).load():
        count = int.from_bytes(stream.read(8), "little")
        kind = STORAGES.get(storages[key].kind, "u1")
        bodies[key] = stream.read(count * (2 if kind == "bfloat16" else np.dtype(kind).itemsize))
    return PickledFile(content, lambda storage: _decode(storage, bodies[storage.key]))


def plain(value: Any) -> Any:
    """The part of an unpickled value that JSON can hold; stand-ins become null.

    Raises:
        DamagedError: it is nested too deep, or is too large.
    """
    left = MOST_NODES

    def walk(node: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise DamagedError("its configuration is too large or nested too deep")
        if isinstance(node, dict):
            return {key: walk(item, depth + 1) for key, item in node.items() if isinstance(key, str)}
        if isinstance(node, list | tuple):
            return [walk(item, depth + 1) for item in node]
        return node if isinstance(node, str | int | float | bool) else None

    return walk(value, 0)
