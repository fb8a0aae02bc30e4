"""Ids that a person may have meant by one that is not there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import PurePath

from hcq_cli.codes.moments import video_of
from hcq_cli.codes.strings import Strings

MOST = 3
"""Ids worth naming."""
COMPARED = 20_000
"""Ids compared letter by letter: a fraction of a second. The file's name is looked for in all of them."""
LEAST_LIKENESS = 0.6


def near_ids(ids: Iterable[Strings], wanted: str) -> list[str]:
    """At most `MOST` videos or captions of `ids` that are nearly `wanted`, the nearest first.

    The name of the file is looked for in all ids, in small or capital letters, whatever folder it lies in;
    where that finds nothing, the first `COMPARED` are compared for slips of the pen.
    """
    parts = list(ids)
    name = PurePath(video_of(wanted)).name.encode("utf-8", "surrogateescape")
    pattern = re.compile(re.escape(name), re.IGNORECASE)
    found = [row for part in parts if name for row in _with(part, pattern)]
    if not found:
        some = islice((row for part in parts for row in part), COMPARED)
        found = difflib.get_close_matches(wanted, dict.fromkeys(map(video_of, some)), MOST, LEAST_LIKENESS)
    return sorted(dict.fromkeys(map(video_of, found)), key=lambda row: -_likeness(row, wanted))[:MOST]


def _with(ids: Strings, pattern: re.Pattern[bytes]) -> list[str]:
    """The first few of `ids` that hold the pattern."""
    found: dict[str, None] = {}
    for match in pattern.finditer(ids.blob.data):
        row = int(ids.offsets.searchsorted(match.start(), "right")) - 1
        if 0 <= row < len(ids) and pattern.search(ids.raw(row)):
            found[video_of(ids[row])] = None
        if len(found) == 10 * MOST:
            break
    return list(found)


def _likeness(row: str, wanted: str) -> float:
    return difflib.SequenceMatcher(None, row, wanted).ratio()
