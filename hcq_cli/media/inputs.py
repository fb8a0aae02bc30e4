"""From folders, files, globs and lists to the videos to extract, each with its id. Nothing is opened here.

The id of a video is its path below the folder it was found in, or its bare name when it was named itself; of two
different files with the same id the later one gets the names of its parent folders in front, as many as it takes.
The same file reached in two ways counts once.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hcq_cli.errors import NotFoundError

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv"}
    | {".3gp", ".ogv"}
)
"""What counts as a video in a folder; a file named itself may have any name."""


@dataclass(frozen=True)
class InputVideo:
    """A file to extract.

    Args:
        id: its id, unless another file has it already.
        path: absolute.
    """

    id: str
    path: str


@dataclass(frozen=True)
class FailedFile:
    """Something named or found that gives no features.

    Args:
        path: as given or found.
        error: why, for people.
        known: whether that is remembered from an earlier run.
    """

    path: str
    error: str
    known: bool = False


@dataclass
class Inputs:
    """What was found.

    Args:
        videos: sorted by id, each file once, each id once.
        unusable: what was named or found and cannot be read.
    """

    videos: list[InputVideo] = field(default_factory=list)
    unusable: list[FailedFile] = field(default_factory=list)


def read_list(data: bytes) -> list[str]:
    """The names in a list: one a line, or separated by NUL bytes if it has any; empty ones are passed over."""
    if b"\0" in data:
        return [os.fsdecode(name) for name in data.split(b"\0") if name]
    return [os.fsdecode(name) for name in data.replace(b"\r\n", b"\n").split(b"\n") if name]


def find_inputs(names: Iterable[str]) -> Inputs:
    """Find the videos that `names` (folders, files, globs) stand for.

    Raises:
        NotFoundError: there is nothing at all.
    """
    names = list(names)
    found, unusable = list[InputVideo](), list[FailedFile]()
    for name in names:
        for item in _search(name):
            if isinstance(item, InputVideo):
                found.append(item)
            else:
                unusable.append(item)
    # A file that exists and cannot be read is a failure of that file; what is not there at all is the caller's error.
    if not found and not any(os.path.lexists(item.path) and not os.path.isdir(item.path) for item in unusable):
        told = "; ".join(f"{item.path}: {item.error}" for item in unusable[:3])
        raise NotFoundError(
            told if names else "the list of videos is empty", "give a folder of videos, a file, or --from LIST"
        )
    return Inputs(_distinct(found), list(dict.fromkeys(unusable)))


def _search(name: str) -> Iterator[InputVideo | FailedFile]:
    # What exists is taken as it is: a name may hold the characters of a pattern.
    if os.path.isdir(name):
        yield from _search_folder(name)
    elif os.path.lexists(name):
        yield _file(name, os.path.basename(name))
    elif glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))
        for match in matches:
            yield from _search(match)
        if not matches:
            yield FailedFile(name, "no file matches")
    else:
        yield FailedFile(name, "no such file or folder")


def _search_folder(folder: str) -> Iterator[InputVideo | FailedFile]:
    """All videos below a folder, links followed; and what could not be listed."""
    any_video = False
    unreadable: list[OSError] = []
    visited: set[str] = set()
    for place, below, files in os.walk(folder, onerror=unreadable.append, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link back to where we were
            below.clear()
            continue
        visited.add(real)
        below.sort()  # os.walk goes on in the order in which this list is left
        for file in sorted(files):
            if Path(file).suffix.lower() in SUFFIXES:
                any_video = True
                path = os.path.join(place, file)
                yield _file(path, Path(os.path.relpath(path, folder)).as_posix())
    for error in unreadable:
        yield FailedFile(str(error.filename), error.strerror or str(error))
    if not any_video and not unreadable:
        yield FailedFile(folder, f"no videos in this folder (a video's name ends in {' '.join(sorted(SUFFIXES))})")


def _file(path: str, id: str) -> InputVideo | FailedFile:
    # Not resolved: a person finds the file again under the name that was given, and a link may be moved elsewhere.
    absolute = os.path.abspath(path)
    try:
        mode = os.stat(absolute).st_mode
    except OSError as error:
        if os.path.islink(absolute):
            return FailedFile(absolute, f"broken symbolic link to {os.readlink(absolute)}")
        return FailedFile(absolute, error.strerror or str(error))
    if not stat.S_ISREG(mode):
        return FailedFile(absolute, "not a regular file")
    if not os.access(absolute, os.R_OK):
        return FailedFile(absolute, "permission denied")
    return InputVideo(id, absolute)


def _distinct(found: Sequence[InputVideo]) -> list[InputVideo]:
    """Each file once (itself rather than a link to it), each id once, sorted by id."""
    by_file: dict[str, InputVideo] = {}
    # Sorting is stable: files before links, and otherwise in the order in which they were found.
    for item in sorted(found, key=lambda item: os.path.islink(item.path)):
        by_file.setdefault(os.path.realpath(item.path), item)
    # Backwards, so that of a path found twice the first place counts.
    order = {item.path: at for at, item in reversed(list(enumerate(found)))}
    named: dict[str, InputVideo] = {}
    for item in sorted(by_file.values(), key=lambda item: order[item.path]):
        id = next(id for id in longer_ids(item) if id not in named)
        named[id] = InputVideo(id, item.path)
    return [named[id] for id in sorted(named)]


def longer_ids(item: InputVideo) -> Iterator[str]:
    """The ids that an input can have, shortest first: its own, then with one more parent folder in front each."""
    yield item.id
    parts = Path(item.path).parts
    own = len(Path(item.id).parts)
    for at in range(len(parts) - own - 1, 0, -1):
        yield Path(*parts[at:]).as_posix()
    number = 1
    while True:  # not even the whole path is free
        number += 1
        yield f"{Path(item.path).as_posix()}#{number}"
