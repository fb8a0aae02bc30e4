"""The mirror of a workspace at an address: what is fetched before a verb, and put there after it.

A generation names all files of the workspace. Files are put first, the manifest last, and exclusively: a process
that is killed at any instant leaves the old generation or the new one, and of two writers one is told that the other
was first. Writers are kept apart by part of the workspace (features, model, index…): two that have changed different
ones do not disturb each other. What is shared, finished videos and parts of codes, has names made of content,
checksums of its own, and is put by itself; whoever puts a generation in which it is taken in removes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from hcq_cli import files
from hcq_cli.errors import HcqError, LockedError, UsageError
from hcq_cli.printable import counted, size_text
from hcq_cli.remote.address import Address
from hcq_cli.remote.mirror_files import (
    NAMING,
    SHARED,
    Known,
    MirrorFiles,
    MirrorNote,
    digests,
    of_part,
    owner_of,
    part_of,
)
from hcq_cli.remote.remote_generations import RERUN, TRIES, RemoteFile, RemoteGenerations

AT_ONCE = 8
"""Files on their way at the same time."""


@dataclass
class Moved:
    """How many files were fetched or put, their bytes, and what a person should know."""

    files: int = 0
    nbytes: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, nbytes: int, count: int = 1) -> None:
        """Count files."""
        self.files, self.nbytes = self.files + count, self.nbytes + nbytes

    def __str__(self) -> str:
        return f"{counted(self.files, 'file')}, {size_text(self.nbytes)}"


class Mirror:
    """The mirror of a workspace; `at` gives the one of an address.

    Args:
        address: where the workspace lies, as fsspec takes it.
        folder: of the mirror.

    Raises:
        UsageError: there is no such kind of address, or what it needs is not installed.
    """

    opened: ClassVar[dict[str, Mirror]] = {}
    """Those that this process works in, by their address."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder, self._there = address, folder, Address(address)
        self._generations, self._here = RemoteGenerations(self._there, folder), MirrorFiles(address, folder)
        self._taken: dict[str, tuple[int, int]] = {}

    @classmethod
    def at(cls, address: str) -> Mirror:
        """The mirror of an address: a folder in `HCQ_CACHE`, or in the user's cache folder."""
        from experts.neural.hub import lock_path

        address = address.rstrip("/")
        beside = lock_path()
        if beside is None:
            raise UsageError("no home folder is known, to keep a mirror of the workspace in", "set HCQ_CACHE")
        name = re.sub(r"[^\w.-]", "-", address.rpartition("/")[2])[:40]
        name += f"-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
        if address not in cls.opened:
            cls.opened[address] = cls(address, beside.parent.absolute() / "mirrors" / name)
        return cls.opened[address]

    # From there

    def fetch(self, parts: Collection[str] | None = None, *, wait_s: float | None = None) -> Moved:
        """Bring what is newer there into the mirror. What was changed here stays, and is put with the next `publish`,
        unless another machine has changed the same part of the workspace: then that is what counts.

        Args:
            parts: of the workspace that are wanted, to be read; None for all of it, to be changed.
            wait_s: for another process that fetches or puts for the same mirror, seconds; None for `WAIT_S`.

        Returns:
            what was fetched. A file that is damaged there is left out here, and told.

        Raises:
            HcqError: the address cannot be reached, or written where nothing lies there yet.
        """
        moved, lost = Moved(), list[str]()
        with self._here.alone(wait_s) as note:
            for _ in range(TRIES):
                number, theirs = self._generations.newest(had_some=bool(note.seen))
                if number == 0 and parts is None:
                    moved.warnings += self._generations.try_to_write()
                lost = []
                for part in sorted({part_of(path) for path in (*theirs, *note.held)}):
                    if parts is None or part in parts:
                        with suppress(LockedError), self._here.nobody_writes(part):  # a writer has its own in work
                            lost += self._fetch_part(note, part, of_part(theirs, part), moved)
                if not lost or self._generations.numbers()[-1:] == [number]:
                    break  # else there is a newer one, and what was to be fetched may have been deleted since
            moved.warnings += [f"{self.address}: {path} is damaged there, and left out" for path in lost]
            self._fetch_shared(note, parts, moved)
        return moved

    def _fetch_part(self, note: MirrorNote, part: str, theirs: Mapping[str, RemoteFile], moved: Moved) -> list[str]:
        """Bring a part of the workspace in line with a generation; gives the files that cannot be had."""
        known = self._here.known(note, part)
        here, held = digests(known), digests(of_part(note.held, part))
        there = {path: file.sha256 for path, file in theirs.items()}
        # A fetch that was killed leaves some of both: what is the same as either was not changed here. What is only
        # missing was not either: a mirror lies in a cache, which anybody may clear, and not to empty the workspace.
        changed = [path for path, digest in here.items() if digest not in (held.get(path), there.get(path))]
        if changed and there == of_part(note.seen, part):
            return []
        if changed:
            moved.warnings.append(
                f"{part}: another machine has put a newer one, which takes the place of what is here"
            )
            # What was taken in here was so in vain; what still lies here need not be put again.
            for path in [path for path in note.shared if owner_of(path) == part and self._here.stamp(path) is None]:
                del note.shared[path]
        wanted = {path: file for path, file in theirs.items() if here.get(path) != file.sha256}
        for folder in {(self.folder / path).parent for path in wanted}:
            files.remove_leftovers(folder)  # of a fetch that was killed
        lost = self._get_all(wanted)
        moved.add(sum(wanted[path].nbytes for path in wanted.keys() - set(lost)), len(wanted) - len(lost))
        gone = {*here, *lost} - (theirs.keys() - set(lost))
        for path in sorted(gone, key=lambda path: (not NAMING.fullmatch(path), path)):
            (self.folder / path).unlink(missing_ok=True)
        had = {path: (*(self._here.stamp(path) or (0, 0)), there[path]) for path in wanted.keys() - set(lost)}
        kept = {path: known[path] for path in known.keys() & there.keys() - wanted.keys()}
        note.agree(part, kept | had, there)
        return lost

    def _get_all(self, wanted: Mapping[str, RemoteFile]) -> list[str]:
        """Fetch files, those that name others last; gives those that are damaged or missing there."""

        def get(path: str) -> bool:
            self._here.need_own(path)
            with suppress(FileNotFoundError), files.atomic_path(self.folder / path) as temporary:
                found = self._there.get(f"files/{wanted[path].object}", temporary)
                if not found or files.digest_file(temporary) != wanted[path].sha256:
                    raise FileNotFoundError
                return True
            return False

        naming = sorted(path for path in wanted if NAMING.fullmatch(path))
        others = sorted(wanted.keys() - set(naming))
        with ThreadPoolExecutor(AT_ONCE if self._there.many_at_once else 1) as pool:
            had = [*zip(others, pool.map(get, others), strict=True)]
        return [path for path, good in [*had, *((path, get(path)) for path in naming)] if not good]

    def _fetch_shared(self, note: MirrorNote, parts: Collection[str] | None, moved: Moved) -> None:
        """Fetch what others have finished and nobody has taken in; let go of what was taken in elsewhere."""

        def wanted(path: str) -> bool:
            return SHARED.fullmatch(path) is not None and (parts is None or owner_of(path) in parts)

        there = {path: size for path, size in self._there.listed("parts").items() if wanted(path)}
        for path, size in there.items():
            here, known = self._here.stamp(path), note.shared.get(path)
            new = here is None and known is None  # where it is known and no longer here, it was taken in
            grown = here is not None and here == known and size != here[0]  # a log, there
            self._here.need_own(path)
            if (new or grown) and self.get(path, self.folder / path):
                note.shared[path] = self._here.stamp(path) or (0, 0)
                moved.add(size)
            elif here is not None and known is None and size == here[0]:  # a run was killed before it noted that
                note.shared[path] = here
        for path in [path for path in note.shared if wanted(path) and path not in there]:
            if self._here.stamp(path) == note.shared.pop(path):
                (self.folder / path).unlink()

    # To there

    def publish(self) -> Moved:
        """Put what was changed in the mirror there, as the next generation. What another process on this machine is
        writing is left to that one.

        Raises:
            LockedError: another machine has changed the same part of the workspace since it was fetched.
            HcqError: the address cannot be reached or written.
        """
        moved, busy, changed = Moved(), set[str](), dict[str, dict[str, Known]]()
        with self._here.alone() as note, ExitStack() as locks:
            self._put_shared(note, moved)
            for part in self._here.parts(note):
                try:
                    locks.enter_context(self._here.nobody_writes(part))
                except LockedError:
                    busy.add(part)
                    continue
                here = self._here.known(note, part)
                if digests(here) != digests(of_part(note.held, part)):
                    changed[part] = here
            if changed:
                self._publish(note, changed, moved)
            # Last: now a generation holds what was taken in here.
            for path in [path for path in note.shared if self._here.stamp(path) is None]:
                if owner_of(path) not in busy:
                    self._there.remove(f"parts/{path}")
                    del note.shared[path]
        return moved

    def _publish(self, note: MirrorNote, changed: dict[str, dict[str, Known]], moved: Moved) -> None:
        """Publish parts of the workspace, as they are here."""
        number, named = self._generations.newest(had_some=bool(note.seen))
        for part, here in [*changed.items()]:
            there = {path: file.sha256 for path, file in of_part(named, part).items()}
            if there == digests(here):  # put by a run that was killed before it could note that
                note.agree(part, here, there)
                del changed[part]
            elif there != of_part(note.seen, part):
                raise LockedError(f"{self.address}: another machine has changed {part} since it was fetched", RERUN)
        if not changed:
            return
        entries = {path: file for path, file in named.items() if part_of(path) not in changed}
        objects = {file.sha256: file.object for file in named.values()}
        put = dict[str, tuple[str, Known]]()
        for path, known in sorted(each for here in changed.values() for each in here.items()):
            if known[2] not in objects:
                # With the number, so that none has the name of one that somebody may be deleting.
                objects[known[2]] = f"{number + 1:08d}-{known[2]}"
                put[objects[known[2]]] = path, known
            entries[path] = RemoteFile(known[0], known[2], objects[known[2]])
        self._put_all(put, moved)
        self._generations.publish(number + 1, entries)
        for part, here in changed.items():
            note.agree(part, here, digests(here))
        with suppress(HcqError, FileNotFoundError):  # it is done; what is left goes with the next generation
            self._generations.tidy()

    def _put_all(self, wanted: Mapping[str, tuple[str, Known]], moved: Moved) -> None:
        """Put what objects shall hold, but for those that a killed run has put already."""
        there = self._there.listed("files") if wanted else {}

        def put(name: str) -> None:
            path, known = wanted[name]
            self._there.put(self.folder / path, f"files/{name}")
            if self._here.stamp(path) != known[:2]:
                self._there.remove(f"files/{name}")  # it may hold something else than its name says
                raise LockedError(f"{self.folder / path}: was changed while it was being put", RERUN)

        missing = [name for name, (_, known) in wanted.items() if there.get(name) != known[0]]
        with ThreadPoolExecutor(AT_ONCE if self._there.many_at_once else 1) as pool:
            list(pool.map(put, missing))
        moved.add(sum(wanted[name][1][0] for name in missing), len(missing))

    # What is shared

    def keep(self) -> None:
        """Put the shared files that are finished: from now on they do not go with this machine."""
        with self._here.alone() as note:
            self._put_shared(note, Moved())

    def put(self, source: Path, path: str) -> None:
        """Put a file that other machines want, by its path in the workspace."""
        self._there.put(source, f"parts/{path}")

    def get(self, path: str, target: Path) -> bool:
        """Fetch a file that another machine has put so; False where there is none."""
        with suppress(FileNotFoundError), files.atomic_path(target) as temporary:
            if not self._there.get(f"parts/{path}", temporary):
                raise FileNotFoundError
            return True
        return False

    def take(self, target: Path) -> None:
        """Fetch a file of the mirror that another machine has put; what is not shared is not left there."""
        path = target.resolve().relative_to(self.folder.resolve()).as_posix()
        if self.get(path, target) and SHARED.fullmatch(path):
            self._taken[path] = self._here.stamp(path) or (0, 0)
        else:
            self.forget(path)

    def forget(self, path: str) -> None:
        """Delete a file that was put for other machines."""
        self._there.remove(f"parts/{path}")

    def _put_shared(self, note: MirrorNote, moved: Moved) -> None:
        note.shared |= self._taken
        self._taken = {}
        paths = [path for part in self._here.parts(note) for path in self._here.paths(part)]
        for path in filter(SHARED.fullmatch, paths):
            known = self._here.stamp(path)
            if known is not None and note.shared.get(path) != known:
                self.put(self.folder / path, path)
                note.shared[path] = known
                moved.add(known[0])
