"""Reads a table of names and numbers out of a pickle, of which nothing is run.

MMT keeps the caption that each test video of MSR-VTT 1k-A is queried with in a pickle, `{"video7020": 12, …}`; some
of the numbers are NumPy's. What names a function or a class is read as a stand-in that does nothing
(`restricted_unpickler.Inert`); of those only NumPy's scalars are understood, by their bytes.
"""

from __future__ import annotations

import io
import json
import pickletools
from typing import Any

from hcq_cli.errors import DamagedError
from hcq_cli.importers.restricted_unpickler import Inert, RestrictedUnpickler


def read_number_table(data: bytes) -> dict[str, int]:
    """The table in a pickle or in a JSON object.

    Args:
        data: content of the file.

    Raises:
        DamagedError: it holds something else.
    """
    try:
        table = json.loads(data) if data.lstrip()[:1] == b"{" else _unpickled(data)
        items = [(_name(key), _number(value)) for key, value in dict(table).items()]
    except DamagedError:
        raise
    except Exception as error:  # an odd pickle breaks its reader in nearly any way
        raise DamagedError(f"is no table of names and numbers ({type(error).__name__})") from error
    return dict(items)


def _unpickled(data: bytes) -> Any:
    # The unpickler keeps what is numbered in an array as long as the largest number, so a file of ten bytes could ask
    # for gigabytes. Honest pickles number from 0 and cannot have more numbers than bytes.
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise DamagedError("is no table of names and numbers (it numbers more values than it has)")
    # Python 2 wrote bytes as text, a character a byte: Latin-1 gives them back.
    return _NumberTableUnpickler(io.BytesIO(data), encoding="latin-1").load()


class _NumberTableUnpickler(RestrictedUnpickler):
    """The restricted unpickler, and the one call that strings and bytes of Python 2 travel as."""

    def find_class(self, module: str, name: str) -> Any:
        """Never imports anything."""
        return _text if (module, name) == ("_codecs", "encode") else super().find_class(module, name)


def _text(text: Any, *encoding: Any) -> Any:
    """What stands in for codecs.encode: the text is all that counts."""
    return text


def _name(key: Any) -> str:
    return key.decode("utf-8") if isinstance(key, bytes) else key if isinstance(key, str) else str(int(key))


def _number(value: Any) -> int:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    # np.int64(12) is pickled as scalar(dtype("i8"), its bytes).
    if isinstance(value, Inert) and value.origin.endswith(".multiarray.scalar"):
        kind, raw = value.arguments
        if kind.origin != "numpy.dtype" or str(kind.arguments[0])[0] not in "iu":
            raise DamagedError("holds numbers that are no whole ones")
        body = raw if isinstance(raw, bytes) else str(raw).encode("latin-1")
        # The byte order is little-endian on every machine that wrote these files.
        return int.from_bytes(body, "little", signed=True)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DamagedError(f"holds {type(value).__name__} where a number should be")
    return value
