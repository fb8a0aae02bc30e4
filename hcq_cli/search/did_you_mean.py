"""Ids that a person may have meant by one that is not there."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from itertools import islice
from pathlib import PurePath

from hcq_cli.codes.ids import video_of
from hcq_cli.codes.strings import PackedStrings

MOST = 3
"""Ids worth naming."""
ENOUGH = 10 * MOST
"""Ids with the file's name to choose them from."""
COMPARED = 20_000
"""Ids compared letter by letter: a fraction of a second. The file's name is looked for in all of them."""
LEAST_LIKENESS = 0.6


def similar_ids(ids: Iterable[PackedStrings], wanted: str) -> list[str]:
    """At most `MOST` videos or captions of `ids` that are nearly `wanted`, the nearest first.

    The name of the file is looked for in all ids, in small or capital letters, whatever folder it lies in;
    where that finds nothing, the first `COMPARED` are compared for slips of the pen.
    """
    name = PurePath(video_of(wanted)).name.encode("utf-8", "surrogateescape")
    pattern = re.compile(re.escape(name), re.IGNORECASE)
    named: dict[str, None] = {}
    some: dict[str, None] = {}
    for part in ids:
        if name:
            named |= dict.fromkeys(_with(part, pattern))
        if len(named) >= ENOUGH:
            break
        some |= dict.fromkeys(map(video_of, islice(part, COMPARED - len(some))))
    found = list(named) or difflib.get_close_matches(wanted, some, MOST, LEAST_LIKENESS)
    return sorted(found, key=lambda row: -_likeness(row, wanted))[:MOST]


def spellings(wanted: str) -> list[str]:
    """`wanted`, and the same with accents in one with their letters and apart, as file systems differ in it."""
    return list(dict.fromkeys([wanted, unicodedata.normalize("NFC", wanted), unicodedata.normalize("NFD", wanted)]))


def did_you_mean(near: list[str]) -> str:
    """The end of a sentence that says what a person may have meant; nothing where nothing is near."""
    return f"; near it are {', '.join(map(repr, near))}" if near else ""


def _with(ids: PackedStrings, pattern: re.Pattern[bytes]) -> list[str]:
    """The first few of `ids` that hold the pattern."""
    found: dict[str, None] = {}
    for match in pattern.finditer(ids.blob.data):
        row = int(ids.offsets.searchsorted(match.start(), "right")) - 1
        if 0 <= row < len(ids) and pattern.search(ids.raw(row)):
            found[video_of(ids[row])] = None
        if len(found) == ENOUGH:
            break
    return list(found)


def _likeness(row: str, wanted: str) -> float:
    return difflib.SequenceMatcher(None, row, wanted).ratio()
