"""The one decoder of headers: the JSON in front of a file becomes a dataclass, or hcq's own error.

A checksum says that a header is what somebody wrote, not that it makes sense: a shape of 2^40 rows, text for a number
and a list where an object belongs all come with a right one. So no format reads its JSON by hand. It says what it
expects as a frozen dataclass, and `decode` gives that, or a DamagedError that names the file and the place in it:

    @dataclass(frozen=True)
    class ShardEntry:
        name: FileName
        videos: Count
        sha256: Digest
        note: str = ""          # a field with a default may be missing; fields that are not listed are passed over

    entry = decode(ShardEntry, text, path, "hcq features verify --mend")

Annotations understood: bool, int (of 64 bits), float (finite; whole numbers too), str, Any, Literal, `X | None`,
list[X], tuple[X, ...], tuple[X, Y], NamedTuples (written as lists), dict[str, X], dataclasses, and
Annotated[X, check]: `check` takes a value of type X, and returns what stands for it or raises ValueError. What only
fields together can say (a section lies inside the file) is said in `__post_init__`, with a ValueError.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.files import plain_name, read_regular

T = TypeVar("T")
Reader = Callable[[Any], Any]
"""From a part of a document to what stands for it; raises ValueError."""
LARGEST = 2**62
"""Largest count accepted: sums and products of two such are checked against a file's size without overflow."""
_INT64 = 2**63
JSON = "json"
"""In the metadata of a field: its name in the JSON, where that is another one: field(metadata={JSON: "bytes"})."""
_SHOWN = 60
"""Characters of a wrong value that a message repeats."""
PLAIN = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
"""JSON's own kinds, as a person calls them."""


def between(low: float, high: float) -> Reader:
    """A check for `Annotated`: a number from `low` to `high`, both included."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"is {value}, not from {low} to {high}")
        return value

    return check


def _hex_digest(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"is {_short(text)}, no SHA-256")
    return text


def _file_path(text: str) -> str:
    with suppress(UnicodeEncodeError):
        if b"\0" not in os.fsencode(text):
            return text
    raise ValueError(f"is {_short(text)}, which no file can be called")


Count = Annotated[int, between(0, LARGEST)]
"""A length, a size, an offset, a version."""
FileName = Annotated[str, plain_name]
"""The name of a file in the folder that the header is about, and nowhere else."""
FilePath = Annotated[str, _file_path]
"""Where a file or folder lies, or lay, whether there is one or not."""
Digest = Annotated[str, _hex_digest]
"""SHA-256 as hex."""


@dataclasses.dataclass(frozen=True)
class _Format:
    """What a format says first, whatever its version says after it."""

    format: str
    version: Count


def decode(
    kind: type[T],
    document: Any,
    source: Path | str,
    remedy: str = "",
    *,
    format_name: str | None = None,
    version: int = 0,
) -> T:
    """Read a header.

    Args:
        kind: the dataclass it shall be.
        document: its JSON, as bytes, as text, or parsed already.
        source: the file, for the message.
        remedy: what to do about a damaged one: the hint of the error.
        format_name: what it must have under "format"; None where it names none.
        version: the newest that may stand under "version" then; looked at before anything else.

    Raises:
        DamagedError: it is no JSON, does not make sense, or is of another format or a newer version.
    """
    try:
        parsed = json.loads(document) if isinstance(document, bytes | str) else document
        if format_name is not None:
            found: _Format = _read(_Format, parsed)
            if found.format != format_name:
                raise ValueError(f"is of format {_short(found.format)}, not {format_name!r}")
            if found.version > version:
                reason = f"format version {found.version}, this hcq reads up to {version}"
                raise DamagedError(f"{source}: {reason}", "upgrade hcq")
        return cast(T, _read(kind, parsed))
    # A ValueError is also what json and int raise; brackets nested by the thousand are a RecursionError.
    except (ValueError, RecursionError) as error:
        # A place begins with the point or colon that would part it from what it lies in: here that is nothing.
        reason = " ".join(str(error).split()).lstrip(".: ")[:300]
        raise DamagedError(f"{source}: makes no sense ({reason})", remedy) from error


def decode_file(kind: type[T], path: Path, remedy: str, *, format_name: str, version: int, absent: str) -> T:
    """Read a document that has a file of its own; the arguments are those of `decode`.

    Args:
        absent: what is said where there is no such file; what makes one is the remedy.

    Raises:
        NotFoundError: there is none.
        DamagedError: as `decode`.
    """
    try:
        text = read_regular(path)
    except FileNotFoundError:
        raise NotFoundError(absent, remedy) from None
    return decode(kind, text, path, remedy, format_name=format_name, version=version)


def _short(value: Any) -> str:
    """A value for a message: no whole megabyte of it, and no byte that a terminal would obey."""
    if isinstance(value, str | bool | int | float | None):
        return ascii(value[:_SHOWN] if isinstance(value, str) else value)[: _SHOWN + 2]
    return "a list" if isinstance(value, list) else "an object"


@cache
def _taken_apart(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """What an annotation is of, and of what: looked up once for each, because a store may have a million headers."""
    if isinstance(kind, type) and issubclass(kind, tuple):  # a NamedTuple
        return kind, tuple(get_type_hints(kind, include_extras=True).values())
    return get_origin(kind), get_args(kind)


def _read(kind: Any, value: Any) -> Any:
    """What a part of a document stands for by its annotation; a ValueError begins with the place in that part."""
    origin, arguments = _taken_apart(kind)
    if origin is Annotated:
        found = _read(arguments[0], value)
        try:
            for check in arguments[1:]:
                found = check(found)
        except ValueError as error:
            raise ValueError(f": {error}") from None
        return found
    if origin in (Union, UnionType):  # X | None
        return None if value is None else _read(arguments[0], value)
    if origin is Literal:
        # By type first: a list cannot be looked up, and True is 1 to `in`.
        if type(value) not in map(type, arguments) or value not in arguments:
            raise ValueError(f": is {_short(value)}, not {' or '.join(map(repr, arguments))}")
        return value
    if origin is dict:
        return _items(value, dict, arguments[1])
    if origin is list or (origin is tuple and arguments[-1] is ...):
        found = _items(value, list, arguments[0]).values()
        return list(found) if origin is list else tuple(found)
    if origin is tuple:
        return tuple(_items(value, list, *arguments).values())
    if dataclasses.is_dataclass(kind):
        return _object(kind, value)
    if origin is not None:  # a NamedTuple
        return origin(*_items(value, list, *arguments).values())
    if kind is Any:
        return value
    # JSON's own kinds. Not by isinstance: True and False are int to it.
    if type(value) is int and kind in (int, float) and -_INT64 <= value < _INT64:
        return kind(value)
    if type(value) is not kind or kind is int or (kind is float and not math.isfinite(value)):
        raise ValueError(f": is {_short(value)}, not {PLAIN[kind]}")
    return value


def _items(value: Any, within: type, *kinds: Any) -> dict[Any, Any]:
    """What is in a list or an object, by number or key: all of one annotation, or of several, each of its own."""
    if not issubclass(type(value), within) or (len(kinds) > 1 and len(value) != len(kinds)):
        of = f" of {len(kinds)}" if len(kinds) > 1 else ""
        raise ValueError(f": is {_short(value)}, not {'an object' if within is dict else f'a list{of}'}")
    found: dict[Any, Any] = {}
    for at, each in value.items() if within is dict else enumerate(value):
        try:
            found[at] = _read(kinds[at if len(kinds) > 1 else 0], each)
        except ValueError as error:
            raise ValueError(f"[{_short(at)}]{error}") from None
    return found


@cache
def _fields(kind: Any) -> list[tuple[str, str, bool, Any]]:
    """Of each field of a dataclass its name, that in the JSON, whether it must be there, and its annotation."""
    types, missing = get_type_hints(kind, include_extras=True), dataclasses.MISSING
    return [
        (
            each.name,
            each.metadata.get(JSON, each.name),
            each.default is missing and each.default_factory is missing,
            types[each.name],
        )
        for each in dataclasses.fields(kind)
        if each.init
    ]


def _object(kind: Any, value: Any) -> Any:
    """A dataclass from an object; fields that it does not list are passed over."""
    if type(value) is not dict:
        raise ValueError(f": is {_short(value)}, not an object")
    found = {}
    for name, key, needed, of in _fields(kind):
        if key in value:
            try:
                found[name] = _read(of, value[key])
            except ValueError as error:
                raise ValueError(f".{key}{error}") from None
        elif needed:
            raise ValueError(f": has no {key!r}")
    try:
        return kind(**found)
    except ValueError as error:  # of its __post_init__
        raise ValueError(f": {error}") from None
