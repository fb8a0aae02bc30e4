"""The decoder of headers: what makes sense comes through, and for anything else there is one error that names it."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hostile_json import hostile

from hcq_cli.errors import DamagedError
from hcq_cli.headers import JSON, Count, Digest, FileName, FilePath, between, decode


@dataclass(frozen=True)
class Part:
    name: FileName
    nbytes: Count = field(metadata={JSON: "bytes"})
    share: Annotated[float, between(0, 1)] = 0.5
    kind: Literal["|u1", "<f4"] = "|u1"

    def __post_init__(self) -> None:
        if self.kind == "<f4" and self.nbytes % 4:
            raise ValueError("floats have four bytes each")


@dataclass(frozen=True)
class Header:
    parts: list[Part]
    shape: tuple[Count, ...]
    pair: tuple[str, int | None]
    named: dict[str, bool] = field(default_factory=dict)
    digest: Digest | None = None
    anything: Any = None


GOOD = {
    "parts": [{"name": "a.h5", "bytes": 8, "share": 1, "kind": "<f4"}, {"name": "b", "bytes": 0, "newer": [1]}],
    "shape": [2, 3],
    "pair": ["x", None],
    "named": {"y": True},
    "digest": "0" * 64,
    "anything": {"z": []},
}


def test_what_makes_sense_comes_through() -> None:
    found = decode(Header, json.dumps(GOOD).encode(), "file")
    assert found.parts == [Part("a.h5", 8, 1.0, "<f4"), Part("b", 0)]
    assert (found.shape, found.pair, found.named) == ((2, 3), ("x", None), {"y": True})
    assert type(found.parts[0].share) is float and found.anything == {"z": []}
    assert decode(Header, {"parts": [], "shape": [], "pair": ["", 1]}, "file").digest is None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"parts": 3}, "parts: is 3, not a list"),
        ({"parts": [{"name": "a", "bytes": True}]}, r"parts\[0\].bytes: is True, not a whole number"),
        ({"parts": [{"name": "a", "bytes": -1}]}, r"parts\[0\].bytes: is -1, not from 0"),
        ({"parts": [{"name": "a", "bytes": 2**70}]}, r"parts\[0\].bytes: is 118\d+, not a whole number"),
        ({"parts": [{"name": "a", "bytes": 6, "kind": "<f4"}]}, r"parts\[0\]: floats have four bytes each"),
        ({"parts": [{"name": "../a", "bytes": 6}]}, r"parts\[0\].name: '../a' names no file"),
        ({"parts": [{"name": "a"}]}, r"parts\[0\]: has no 'bytes'"),
        (
            {"parts": [{"name": "a", "bytes": 1, "share": 10**400}]},
            r"parts\[0\].share: is 1000.*, not a finite number",
        ),
        (
            {"parts": [{"name": "a", "bytes": 1, "share": float("nan")}]},
            r"parts\[0\].share: is nan, not a finite number",
        ),
        ({"parts": [{"name": "a", "bytes": 1, "kind": "|O"}]}, r"parts\[0\].kind: is '\|O', not '\|u1' or '<f4'"),
        ({"shape": [1, "2"]}, r"shape\[1\]: is '2', not a whole number"),
        ({"pair": ["x"]}, "pair: is a list, not a list of 2"),
        ({"pair": ["x", "\x1b[2J"]}, re.escape(r"pair[1]: is '\x1b[2J', not a whole number")),
        ({"named": {"\x1b": 1}}, re.escape(r"named['\x1b']: is 1, not true or false")),
        ({"digest": "0" * 63 + "G"}, "digest: is '0000.*, no SHA-256"),
    ],
)
def test_what_does_not_is_named_with_its_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(DamagedError, match=rf"^file: makes no sense \({place}") as refused:
        decode(Header, {**GOOD, **change}, "file", "make it anew")
    assert refused.value.hint == "make it anew" and len(refused.value.message) < 400


@pytest.mark.parametrize("text", [b"", b"\xff", b"{", b"[" * 100_000, b"null", b"[1]", b'"x"', b"9" * 5000, "{]"])
def test_no_json_at_all(text: bytes | str) -> None:
    with pytest.raises(DamagedError, match=r"^file: makes no sense"):
        decode(Header, text, "file")


def test_a_thousand_hostile_headers() -> None:
    refused = 0
    for document in hostile(GOOD, 1000, random.Random(1)):
        try:
            decode(Header, document, "file")
        except DamagedError:
            refused += 1
    assert refused > 500


@dataclass(frozen=True)
class Made:
    checkpoint: FilePath


@pytest.mark.parametrize("text", ["\ud800", "a\0b"])
def test_a_path_is_one_that_a_file_can_have(text: str) -> None:
    assert (
        decode(Made, {"checkpoint": "runs/caf\udce9 🎬"}, Path("f"), "hcq encode").checkpoint == "runs/caf\udce9 🎬"
    )
    with pytest.raises(DamagedError, match="which no file can be called"):
        decode(Made, {"checkpoint": text}, Path("f"), "hcq encode")
