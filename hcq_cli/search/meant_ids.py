"""What a person may mean by an id that is not there: a video by a short name or by its path; else what is near."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePath

from hcq_cli.codes.ids import video_of
from hcq_cli.packed_strings import PackedStrings

MOST_SUGGESTIONS = 3
"""Ids worth naming."""
MOST_CANDIDATES = 10 * MOST_SUGGESTIONS
"""Ids with the file's name to choose them from."""
MOST_OFFERED = 50
"""Ids that completion offers."""
MOST_COMPARED = 20_000
"""Ids compared letter by letter: a fraction of a second. The file's name is looked for in all of them."""
LEAST_LIKENESS = 0.6


def ids_called(ids: Iterable[PackedStrings], name: str) -> list[str]:
    """The videos of `ids` that may be called `name` for short, without folder, without ending, or both; at most
    `MOST_SUGGESTIONS` and one more, so that it is seen that there are too many."""
    wanted = video_of(name).encode("utf-8", "surrogateescape").removeprefix(b"./")
    needle, found = re.compile(re.escape(wanted)), dict[str, None]()
    whole = re.compile(rb"(?:.*/)?" + re.escape(wanted) + rb"(?:\.[^./]+)?(?:#t=[^/#]*)?", re.DOTALL)
    for part in ids if wanted else ():
        for row, raw in _rows_with(part, needle):
            if whole.fullmatch(raw):
                found[video_of(part[row])] = None
                if len(found) > MOST_SUGGESTIONS:
                    return list(found)
    return list(found)


def ids_beginning(ids: Iterable[PackedStrings], begun: str) -> list[str]:
    """At most `MOST_OFFERED` videos of `ids` whose ids begin so, without segments."""
    found = dict[str, None]()
    for part in ids:
        for row in part.rows_beginning(begun.encode("utf-8", "surrogateescape")).tolist():
            found[video_of(part[row])] = None
            if len(found) == MOST_OFFERED:
                return list(found)
    return list(found)


def similar_ids(ids: Iterable[PackedStrings], wanted: str) -> list[str]:
    """At most `MOST_SUGGESTIONS` videos or captions of `ids` that are nearly `wanted`, the nearest first.

    The name of the file is looked for in all ids, in small or capital letters, whatever folder it lies in; where that
    finds nothing, the first `MOST_COMPARED` are compared for slips of the pen.
    """
    name = PurePath(video_of(wanted)).name.encode("utf-8", "surrogateescape")
    pattern = re.compile(re.escape(name), re.IGNORECASE)
    named: dict[str, None] = {}
    some: dict[str, None] = {}
    for part in ids:
        if name:
            named |= dict.fromkeys(_with_pattern(part, pattern))
        if len(named) >= MOST_CANDIDATES:
            break
        some |= dict.fromkeys(map(video_of, islice(part, MOST_COMPARED - len(some))))
    found = list(named) or difflib.get_close_matches(wanted, some, MOST_SUGGESTIONS, LEAST_LIKENESS)
    found.sort(key=lambda item_id: -difflib.SequenceMatcher(None, item_id, wanted).ratio())
    return found[:MOST_SUGGESTIONS]


def _with_pattern(ids: PackedStrings, pattern: re.Pattern[bytes]) -> list[str]:
    """The first few of `ids` that hold the pattern."""
    found: dict[str, None] = {}
    for row, raw in _rows_with(ids, pattern):
        if pattern.search(raw):
            found[video_of(ids[row])] = None
        if len(found) == MOST_CANDIDATES:
            break
    return list(found)


def _rows_with(ids: PackedStrings, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    """The rows of `ids` that a match of the pattern begins in, each once, with their bytes.

    It may end in the next row, so that the pattern must be looked for again inside the row's own bytes.
    """
    # Through the bytes of all ids at once, as the few that hold the pattern need to be looked at one by one.
    at, offset = 0, ids.offsets.dtype.type
    while match := pattern.search(ids.blob.data, at):
        # As a number of the offsets' own type: for any other NumPy converts all of them, at every single match.
        row, at = int(ids.offsets.searchsorted(offset(match.start()), "right")) - 1, match.end()
        if 0 <= row < len(ids):
            yield row, ids.raw(row)
            # On from the next row, in which this match may have ended, and hidden another that begins there.
            at = max(int(ids.offsets[row + 1]), match.start() + 1)


def ids_meant(ids: Callable[[], Iterable[PackedStrings]], name: str, path_of: Callable[[str], str]) -> list[str]:
    """The videos that a person may mean by `name`, which is no id: a short name (`ids_called`), or the path of a file
    with or without its ending.

    Args:
        ids: gives all ids, as often as it is asked.
        name: as given.
        path_of: where the file of a video lies.
    """
    called = ids_called(ids(), name)
    parts = PurePath(name).parts
    # A path ends in the id: of its ends the longest that is one, if that video lies there.
    for at in range(1, len(parts)) if not called else ():
        ends = ids_called(ids(), "/".join(parts[at:]))
        called = [id for id in ends if lies_at(path_of(id), name)]
        if called:
            break
    return called


def lies_at(path: str, name: str) -> bool:
    """Whether a person may have meant the file at `path` by the path `name`, from here or from any folder above it,
    with or without its ending."""
    whole, short = os.path.normpath(Path(name).absolute()), "/" + name.removeprefix("./")
    return any(there == whole or there.endswith(short) for there in (path, str(PurePath(path).with_suffix(""))))


def several_meant(name: str, called: Sequence[str]) -> str:
    """A sentence that says which videos a short name may mean, as `ids_called` found them."""
    many, more = (len(called), "") if len(called) <= MOST_SUGGESTIONS else ("several", ", …")
    return f"{name!r} may be any of {many} videos: {', '.join(map(repr, called[:MOST_SUGGESTIONS]))}{more}"


def did_you_mean(suggestions: list[str]) -> str:
    """The end of a sentence that says what a person may have meant; nothing where there is nothing to suggest."""
    return f"; near it are {', '.join(map(repr, suggestions))}" if suggestions else ""
