"""JSON documents with one value that makes no sense: what a header with a right checksum may hold."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, -(2**63), 10**30, 10**400),
    *(0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "../x", "/etc/passwd", "\0", "\ud800", "9" * 400),
    *([], {}, [[]], [None], [0, 0, 0, 0], [-1], [2**62, 2**62], ["x"] * 9, {"": None}, {"x": {"y": [1]}}),
    *("<f8", "|O", "|V0", "<U999999999", "int64", "0" * 64, "a/b/c/d/e"),
]


def hostile(document: Any, count: int, chooser: random.Random) -> Iterator[Any]:
    """`count` copies of a document, in each of which one value is another, is missing, or is there twice."""
    places = list(_places(document))
    for _ in range(count):
        changed = copy.deepcopy(document)
        if not places:
            yield chooser.choice(VALUES)
            continue
        path = chooser.choice(places)
        owner = changed
        for step in path[:-1]:
            owner = owner[step]
        what = chooser.random()
        if what < 0.1:
            del owner[path[-1]]
        elif what < 0.2 and isinstance(owner, list):
            owner.append(owner[path[-1]])
        elif what < 0.3 and type(owner[path[-1]]) is int:
            owner[path[-1]] += chooser.choice([-1, 1, 8, -8, 4096, 2**20])
        elif what < 0.4 and isinstance(owner, dict):
            owner[f"{path[-1]}{chooser.choice(['x', '/', '/features', ''])}"] = owner.pop(path[-1])
        else:
            owner[path[-1]] = copy.deepcopy(chooser.choice(VALUES))
        yield changed


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inside = document.items() if isinstance(document, dict) else enumerate(document if type(document) is list else [])
    for key, value in inside:
        yield from _places(value, (*path, key))
