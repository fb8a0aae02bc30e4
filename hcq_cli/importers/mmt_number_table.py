"""Reads a table of names and numbers out of a pickle without unpickling it.

MMT keeps the caption that each test video of MSR-VTT 1k-A is queried with in a pickle, `{"video7020": 12, …}`. Its
opcodes are only listed (`pickletools.genops`) and followed on a stack of plain values: nothing is looked up, called
or imported. What names a function becomes a `_Call`, of which only NumPy's scalars are understood, by their bytes.
"""

from __future__ import annotations

import json
import pickletools
from dataclasses import dataclass
from typing import Any

from hcq_cli.errors import DamagedError

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = {"PROTO", "FRAME", "STOP"}
_NAMES = {"GLOBAL", "INST", "PERSID", "EXT1", "EXT2", "EXT4"}


@dataclass(frozen=True)
class _Call:
    """Stands for a name, or for what calling it would have given."""

    name: str
    arguments: Any = ()


def read_number_table(data: bytes) -> dict[str, int]:
    """The table in a pickle or in a JSON object.

    Args:
        data: content of the file.

    Raises:
        DamagedError: it holds something else.
    """
    try:
        table = json.loads(data) if data.lstrip()[:1] == b"{" else _PickleMachine().run(data)
        items = [(_name(key), _number(value)) for key, value in dict(table).items()]
    except DamagedError:
        raise
    except Exception as error:  # an odd pickle breaks the listing in nearly any way
        raise DamagedError(f"is no table of names and numbers ({type(error).__name__})") from error
    return dict(items)


def _name(key: Any) -> str:
    return key.decode("utf-8") if isinstance(key, bytes) else key if isinstance(key, str) else str(int(key))


def _number(value: Any) -> int:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    # np.int64(12) is pickled as scalar(dtype("i8"), its bytes).
    if isinstance(value, _Call) and value.name.endswith("multiarray scalar"):
        kind, raw = value.arguments
        if kind.name != "numpy dtype" or str(kind.arguments[0])[0] not in "iu":
            raise DamagedError("holds numbers that are no whole ones")
        # Python 2 wrote bytes as text, a character a byte: Latin-1 gives them back.
        body = raw if isinstance(raw, bytes) else str(raw).encode("latin-1")
        return int.from_bytes(body, "little", signed=True)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DamagedError(f"holds {type(value).__name__} where a number should be")
    return value


class _PickleMachine:
    """The few opcodes that such a table is made of; what each does to the stack, pickletools' documentation says."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """What the pickle holds."""
        for opcode, argument, _ in pickletools.genops(data):
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        if name in _NOTHING:
            return
        if name == "MARK":
            self.stack.append(_MARK)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self._popped(_TUPLES[name])))
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            self.stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]
        elif isinstance(argument, str | int | bytes) and name not in _NAMES:
            self.stack.append(argument)  # every opcode that pushes the plain value it carries
        else:
            self._compose(name, argument)

    def _compose(self, name: str, argument: Any) -> None:
        if name in ("TUPLE", "LIST", "DICT"):
            values = self._marked()
            made = dict(zip(values[::2], values[1::2], strict=True)) if name == "DICT" else values
            self.stack.append(tuple(values) if name == "TUPLE" else made)
        elif name in ("SETITEM", "SETITEMS"):
            values = self._marked() if name == "SETITEMS" else self._popped(2)
            self.stack[-1].update(zip(values[::2], values[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            self.stack[-1].extend(self._marked() if name == "APPENDS" else self._popped(1))
        elif name == "GLOBAL":
            self.stack.append(_Call(argument))
        elif name == "STACK_GLOBAL":
            self.stack.append(_Call(" ".join(self._popped(2))))
        elif name == "REDUCE":
            function, arguments = self._popped(2)
            # Python 2 strings travel as a call of codecs.encode: their text is all that counts.
            text = function.name == "_codecs encode"
            self.stack.append(arguments[0] if text else _Call(function.name, arguments))
        elif name == "BUILD":
            self.stack.pop()  # the byte order of a dtype: always little-endian on what wrote these files
        else:
            raise DamagedError(f"holds more than names and numbers ({name})")

    def _popped(self, count: int) -> list[Any]:
        values = self.stack[len(self.stack) - count :]
        if len(values) != count:
            raise DamagedError("is cut off")
        del self.stack[len(self.stack) - count :]
        return values

    def _marked(self) -> list[Any]:
        at = max(i for i, value in enumerate(self.stack) if value is _MARK)
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values
