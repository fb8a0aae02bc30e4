"""What lies in a mirror, and what of it is the same at its address.

Files are read anew only where their length or time has changed since they were the same.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from hcq_cli import files
from hcq_cli.generations import MANIFEST_PATTERN
from hcq_cli.headers import decode
from hcq_cli.writer_lock import writer_lock

NOTES = ".remote"
"""The folder of a mirror for what it has in common with its address."""
OWN_NAMES = ("writer.lock", "video.hcq")
"""Files that each machine has for itself: locks, and the video side, which follows from the model."""
SHARED = re.compile(r"features/(?:incoming|logs)/[^/]+|[^/]+\.parts/[^/]+")
"""Files that many machines write at the same time, each under names of its own."""
NAMING = re.compile(rf"(?:.*/)?(?:{MANIFEST_PATTERN.pattern}|config\.json)")
"""Files that name others: fetched after them, and deleted before."""
WAIT_S = 600.0
"""How long to wait for another process that fetches or puts for the same mirror, seconds."""

Known = tuple[int, int, str]
"""Of a file here: bytes, time of its last change in nanoseconds, SHA-256."""
T = TypeVar("T")


@dataclass
class MirrorNote:
    """What a mirror has in common with its address.

    Args:
        address: of it.
        seen: SHA-256 of the files there, of each part of the workspace when it was last the same here.
        held: the files here that were the same there, as they were then.
        shared: of shared files that are there too, bytes and time here when they were put or fetched.
    """

    address: str
    seen: dict[str, str] = field(default_factory=dict)
    held: dict[str, Known] = field(default_factory=dict)
    shared: dict[str, tuple[int, int]] = field(default_factory=dict)

    def agree(self, part: str, here: Mapping[str, Known], there: Mapping[str, str]) -> None:
        """Note what lies here, as it was when it was read, and there of a part of the workspace."""
        self.held = {path: known for path, known in self.held.items() if part_of(path) != part} | dict(here)
        self.seen = {path: digest for path, digest in self.seen.items() if part_of(path) != part} | dict(there)


class MirrorFiles:
    """The files of a mirror.

    Args:
        address: that it stands for.
        folder: of the mirror.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address, folder

    def parts(self, note: MirrorNote) -> list[str]:
        """The parts of the workspace that are here, or were."""
        here = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted({name for name in here if name[0] != "."} | {part_of(path) for path in note.held})

    def paths(self, part: str) -> list[str]:
        """The files of a part of the workspace, shared ones among them. Raises NotRegularError as `need_own`."""
        found = [part] if (self.folder / part).is_file() else []
        for folder, folders, names in os.walk(self.folder / part):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(folder).relative_to(self.folder)
            for each in (below, *(below / name for name in folders)):
                files.need_folder(self.folder / each)
            found += [(below / name).as_posix() for name in names if name not in OWN_NAMES and name[0] != "."]
        return [path for path in found if self.stamp(path) is not None]

    def need_own(self, path: str) -> None:
        """See that no folder on the way to a file here is a link: files elsewhere would be replaced and deleted.

        Raises:
            NotRegularError: one is.
        """
        for folder in list(Path(path).parents)[:-1]:
            files.need_folder(self.folder / folder)

    def stamp(self, path: str) -> tuple[int, int] | None:
        """Bytes and time of the last change of a file here; None where there is none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            about = (self.folder / path).lstat()
            return (about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else None
        return None

    def known(self, note: MirrorNote, part: str) -> dict[str, Known]:
        """The files of a part of the workspace, but for shared ones; read where they were changed since last time."""
        found: dict[str, Known] = {}
        for path in self.paths(part):
            if not SHARED.fullmatch(path):
                held, stamp = note.held.get(path), self.stamp(path) or (0, 0)
                same = held is not None and held[:2] == stamp
                found[path] = held if held and same else (*stamp, files.digest_file(self.folder / path))
        return found

    @contextmanager
    def alone(self, wait_s: float | None = None) -> Iterator[MirrorNote]:
        """Be the one process that fetches and puts for this mirror; gives its note, which is kept afterwards."""
        path, note = self.folder / NOTES / "state.json", MirrorNote(self.address)
        with writer_lock(path.parent, wait_s=WAIT_S if wait_s is None else wait_s):
            with suppress(FileNotFoundError):
                remedy = f"move {self.folder} away: what was put lies at {self.address}"
                note = decode(MirrorNote, files.read_regular(path), path, remedy)
            try:
                yield note
            finally:
                files.write_json(path, asdict(note))

    @contextmanager
    def nobody_writes(self, part: str) -> Iterator[None]:
        """Hold the lock of a part of the workspace, if it has one. Raises LockedError where somebody writes."""
        with ExitStack() as held:
            if (self.folder / part / "writer.lock").exists():
                held.enter_context(writer_lock(self.folder / part))
            yield


def part_of(path: str) -> str:
    """The part of the workspace that a file belongs to: the first name of its path."""
    return path.partition("/")[0]


def digests(known: Mapping[str, Known]) -> dict[str, str]:
    """What files hold."""
    return {path: digest for path, (_, _, digest) in known.items()}


def owner_of(path: str) -> str:
    """The part of the workspace that takes in a shared file: that of codes.hcq.parts/… is codes.hcq."""
    return part_of(path).removesuffix(".parts")


def of_part(by_path: Mapping[str, T], part: str) -> dict[str, T]:
    """What is known of the files of a part."""
    return {path: known for path, known in by_path.items() if part_of(path) == part}
