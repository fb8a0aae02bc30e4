"""The mirror of a workspace at an address: what is fetched before a verb, and put there after it.

A generation names all files of the workspace. Files are put first, the manifest last, and exclusively: a process
that is killed at any instant leaves the old generation or the new one, and of two writers one is told that the other
was first. Writers are kept apart by part of the workspace (features, model, index…): two that have changed different
ones do not disturb each other. What is shared, finished videos and parts of codes, has names made of content,
checksums of its own, and is put by itself; whoever puts a generation in which it is taken in removes it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

from hcq_cli import files
from hcq_cli.errors import HcqError, LockedError, UsageError
from hcq_cli.files import plain_name
from hcq_cli.generations import KEPT_GENERATIONS, MANIFEST_PATTERN, Generations
from hcq_cli.headers import JSON, Count, Digest, FileName, decode
from hcq_cli.printable import counted, size_text
from hcq_cli.remote.address import AGAIN, Address
from hcq_cli.writer_lock import writer_lock

FORMAT, VERSION = "hcq-workspace", 1
NOTES = ".remote"
"""The folder of a mirror for what it has in common with its address."""
OWN_NAMES = ("writer.lock", "video.hcq")
"""Files that each machine has for itself: locks, and the video side, which follows from the model."""
SHARED = re.compile(r"features/(?:incoming|logs)/[^/]+|[^/]+\.parts/[^/]+")
"""Files that many machines write at the same time, each under names of its own."""
NAMING = re.compile(rf"(?:.*/)?(?:{MANIFEST_PATTERN.pattern}|config\.json)")
"""Files that name others: fetched after them, and deleted before."""
GRACE_S = 7 * 24 * 3600.0
"""What no generation names is deleted when it is so old, seconds: before, its writer may still be at work."""
AT_ONCE = 8
"""Files on their way at the same time."""
TRIES = 3
WAIT_S = 600.0
"""How long to wait for another process that fetches or puts for the same mirror, seconds."""
NOT_EXCLUSIVE = (
    "two machines that finish at the same moment would not notice each other there: let one write at a time"
)

Known = tuple[int, int, str]
"""Of a file here: bytes, time of its last change in nanoseconds, SHA-256."""
T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """A file as a generation lists it.

    Args:
        nbytes: its length.
        sha256: of its content.
        object: the name of what holds it, in `files/`.
    """

    nbytes: Count = field(metadata={JSON: "bytes"})
    sha256: Digest
    object: FileName


@dataclass(frozen=True)
class _Body:
    """What a generation says: the files of the workspace by their path below it."""

    files: dict[str, RemoteFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in self.files:
            if any(plain_name(name).startswith(".") for name in path.split("/")):
                raise ValueError(f"{path[:80]!r} is no file of a workspace")


@dataclass
class _Note:
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
        with self._alone(wait_s) as note:
            for _ in range(TRIES):
                number, theirs = self._newest(note)
                if number == 0 and parts is None:
                    self._try_to_write(moved)
                lost = []
                for part in sorted({part_of(path) for path in (*theirs, *note.held)}):
                    if parts is None or part in parts:
                        with suppress(LockedError), self._nobody_writes(part):  # a writer here has its own in work
                            lost += self._fetch_part(note, part, _of_part(theirs, part), moved)
                if not lost or self._numbers()[-1:] == [number]:
                    break  # else there is a newer one, and what was to be fetched may have been deleted since
            moved.warnings += [f"{self.address}: {path} is damaged there, and left out" for path in lost]
            self._fetch_shared(note, parts, moved)
        return moved

    def _fetch_part(self, note: _Note, part: str, theirs: Mapping[str, RemoteFile], moved: Moved) -> list[str]:
        """Bring a part of the workspace in line with a generation; gives the files that cannot be had."""
        known = self._here(note, part)
        here, held = digests(known), digests(_of_part(note.held, part))
        there = {path: file.sha256 for path, file in theirs.items()}
        # A fetch that was killed leaves some of both: what is the same as either was not changed here. What is only
        # missing was not either: a mirror lies in a cache, which anybody may clear, and not to empty the workspace.
        changed = [path for path, digest in here.items() if digest not in (held.get(path), there.get(path))]
        if changed and there == _of_part(note.seen, part):
            return []
        if changed:
            moved.warnings.append(
                f"{part}: another machine has put a newer one, which takes the place of what is here"
            )
            # What was taken in here was so in vain; what still lies here need not be put again.
            for path in [path for path in note.shared if _owner(path) == part and self._stamp(path) is None]:
                del note.shared[path]
        wanted = {path: file for path, file in theirs.items() if here.get(path) != file.sha256}
        for folder in {(self.folder / path).parent for path in wanted}:
            files.remove_leftovers(folder)  # of a fetch that was killed
        lost = self._get_all(wanted)
        moved.add(sum(wanted[path].nbytes for path in wanted.keys() - set(lost)), len(wanted) - len(lost))
        gone = {*here, *lost} - (theirs.keys() - set(lost))
        for path in sorted(gone, key=lambda path: (not NAMING.fullmatch(path), path)):
            (self.folder / path).unlink(missing_ok=True)
        had = {path: (*(self._stamp(path) or (0, 0)), there[path]) for path in wanted.keys() - set(lost)}
        kept = {path: known[path] for path in known.keys() & there.keys() - wanted.keys()}
        self._agree(note, part, kept | had, there)
        return lost

    def _get_all(self, wanted: Mapping[str, RemoteFile]) -> list[str]:
        """Fetch files, those that name others last; gives those that are damaged or missing there."""

        def get(path: str) -> bool:
            self._need_own(path)
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

    def _fetch_shared(self, note: _Note, parts: Collection[str] | None, moved: Moved) -> None:
        """Fetch what others have finished and nobody has taken in; let go of what was taken in elsewhere."""

        def wanted(path: str) -> bool:
            return SHARED.fullmatch(path) is not None and (parts is None or _owner(path) in parts)

        there = {path: size for path, size in self._there.listed("parts").items() if wanted(path)}
        for path, size in there.items():
            here, known = self._stamp(path), note.shared.get(path)
            new = here is None and known is None  # where it is known and no longer here, it was taken in
            grown = here is not None and here == known and size != here[0]  # a log, there
            self._need_own(path)
            if (new or grown) and self.get(path, self.folder / path):
                note.shared[path] = self._stamp(path) or (0, 0)
                moved.add(size)
            elif here is not None and known is None and size == here[0]:  # a run was killed before it noted that
                note.shared[path] = here
        for path in [path for path in note.shared if wanted(path) and path not in there]:
            if self._stamp(path) == note.shared.pop(path):
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
        with self._alone() as note, ExitStack() as locks:
            self._put_shared(note, moved)
            for part in self._parts(note):
                try:
                    locks.enter_context(self._nobody_writes(part))
                except LockedError:
                    busy.add(part)
                    continue
                here = self._here(note, part)
                if digests(here) != digests(_of_part(note.held, part)):
                    changed[part] = here
            if changed:
                self._publish(note, changed, moved)
            # Last: now a generation holds what was taken in here.
            for path in [path for path in note.shared if _owner(path) not in busy and self._stamp(path) is None]:
                self._there.remove(f"parts/{path}")
                del note.shared[path]
        return moved

    def _publish(self, note: _Note, changed: dict[str, dict[str, Known]], moved: Moved) -> None:
        """Publish parts of the workspace, as they are here."""
        number, named = self._newest(note)
        for part, here in [*changed.items()]:
            there = {path: file.sha256 for path, file in _of_part(named, part).items()}
            if there == digests(here):  # put by a run that was killed before it could note that
                self._agree(note, part, here, there)
                del changed[part]
            elif there != _of_part(note.seen, part):
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
        created = self._there.create(manifest_name(number + 1), signed(entries))
        # Files are put for hours: others may have published so many that the generation of this number was deleted
        # again. Its name was free then, but what it says was never the newest.
        if not created or self._numbers()[-1:] != [number + 1]:
            raise LockedError(f"{self.address}: another machine has published since it was fetched", RERUN)
        for part, here in changed.items():
            self._agree(note, part, here, digests(here))
        with suppress(HcqError, FileNotFoundError):  # it is done; what is left goes with the next generation
            self._tidy()

    def _put_all(self, wanted: Mapping[str, tuple[str, Known]], moved: Moved) -> None:
        """Put what objects shall hold, but for those that a killed run has put already."""
        there = self._there.listed("files") if wanted else {}

        def put(name: str) -> None:
            path, known = wanted[name]
            self._there.put(self.folder / path, f"files/{name}")
            if self._stamp(path) != known[:2]:
                self._there.remove(f"files/{name}")  # it may hold something else than its name says
                raise LockedError(f"{self.folder / path}: was changed while it was being put", RERUN)

        missing = [name for name, (_, known) in wanted.items() if there.get(name) != known[0]]
        with ThreadPoolExecutor(AT_ONCE if self._there.many_at_once else 1) as pool:
            list(pool.map(put, missing))
        moved.add(sum(wanted[name][1][0] for name in missing), len(missing))

    def _tidy(self) -> None:
        """Delete old generations and, after a time of grace, what none of the others names."""
        numbers = self._numbers()
        for number in numbers[:-KEPT_GENERATIONS]:
            self._there.remove(manifest_name(number))
        kept = {file.object for number in numbers[-KEPT_GENERATIONS:] for file in self._read(number).values()}
        unnamed = [f"files/{name}" for name in self._there.listed("files") if name not in kept]
        unnamed += [f"parts/{path}" for path in self._there.listed("parts") if not SHARED.fullmatch(path)]
        for name in unnamed:
            if self._there.age_s(name) > GRACE_S:
                self._there.remove(name)

    # What is shared

    def keep(self) -> None:
        """Put the shared files that are finished: from now on they do not go with this machine."""
        with self._alone() as note:
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
            self._taken[path] = self._stamp(path) or (0, 0)
        else:
            self.forget(path)

    def forget(self, path: str) -> None:
        """Delete a file that was put for other machines."""
        self._there.remove(f"parts/{path}")

    def _put_shared(self, note: _Note, moved: Moved) -> None:
        note.shared |= self._taken
        self._taken = {}
        shared = [path for part in self._parts(note) for path in self._paths(part) if SHARED.fullmatch(path)]
        for path in shared:
            known = self._stamp(path)
            if known is not None and note.shared.get(path) != known:
                self.put(self.folder / path, path)
                note.shared[path] = known
                moved.add(known[0])

    # Here

    def _parts(self, note: _Note) -> list[str]:
        """The parts of the workspace that are here, or were."""
        here = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted({name for name in here if name[0] != "."} | {part_of(path) for path in note.held})

    def _paths(self, part: str) -> list[str]:
        """The files of a part of the workspace, shared ones among them. Raises NotRegularError as `_need_own`."""
        found = [part] if (self.folder / part).is_file() else []
        for folder, folders, names in os.walk(self.folder / part):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(folder).relative_to(self.folder)
            for each in (below, *(below / name for name in folders)):
                files.need_folder(self.folder / each)
            found += [(below / name).as_posix() for name in names if name not in OWN_NAMES and name[0] != "."]
        return [path for path in found if self._stamp(path) is not None]

    def _need_own(self, path: str) -> None:
        """See that no folder on the way to a file here is a link: files elsewhere would be replaced and deleted.

        Raises:
            NotRegularError: one is.
        """
        for folder in list(Path(path).parents)[:-1]:
            files.need_folder(self.folder / folder)

    def _stamp(self, path: str) -> tuple[int, int] | None:
        """Bytes and time of the last change of a file here; None where there is none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            about = (self.folder / path).lstat()
            return (about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else None
        return None

    def _here(self, note: _Note, part: str) -> dict[str, Known]:
        """The files of a part of the workspace, but for shared ones; read where they were changed since last time."""
        found: dict[str, Known] = {}
        for path in self._paths(part):
            if not SHARED.fullmatch(path):
                held, stamp = note.held.get(path), self._stamp(path) or (0, 0)
                same = held is not None and held[:2] == stamp
                found[path] = held if held and same else (*stamp, files.digest_file(self.folder / path))
        return found

    def _agree(self, note: _Note, part: str, here: Mapping[str, Known], there: Mapping[str, str]) -> None:
        """Note what lies here, as it was when it was read, and there of a part of the workspace."""
        others = {path: known for path, known in note.held.items() if part_of(path) != part}
        note.held = others | dict(here)
        note.seen = {path: digest for path, digest in note.seen.items() if part_of(path) != part} | dict(there)

    @contextmanager
    def _alone(self, wait_s: float | None = None) -> Iterator[_Note]:
        """Be the one process that fetches and puts for this mirror; gives its note, which is kept afterwards."""
        path, note = self.folder / NOTES / "state.json", _Note(self.address)
        with writer_lock(path.parent, wait_s=WAIT_S if wait_s is None else wait_s):
            with suppress(FileNotFoundError):
                remedy = f"move {self.folder} away: what was put lies at {self.address}"
                note = decode(_Note, files.read_regular(path), path, remedy)
            try:
                yield note
            finally:
                files.write_json(path, asdict(note))

    @contextmanager
    def _nobody_writes(self, part: str) -> Iterator[None]:
        """Hold the lock of a part of the workspace, if it has one. Raises LockedError where somebody writes."""
        with ExitStack() as held:
            if (self.folder / part / "writer.lock").exists():
                held.enter_context(writer_lock(self.folder / part))
            yield

    # There

    def _numbers(self) -> list[int]:
        found = map(MANIFEST_PATTERN.fullmatch, self._there.names())
        return sorted(int(match[1]) for match in found if match)

    def _newest(self, note: _Note) -> tuple[int, dict[str, RemoteFile]]:
        """The newest generation and the files that it names; 0 where there never was one."""
        for _ in range(TRIES):
            if not (numbers := self._numbers()):
                if note.seen:  # a drive that is away, or a bucket that was emptied: nothing is lost here by that
                    remedy = f"see that it can be reached; to begin anew there, move {self.folder} away"
                    raise HcqError(f"{self.address}: nothing lies there any more", remedy)
                return 0, {}
            with suppress(FileNotFoundError):  # old ones are deleted
                return numbers[-1], self._read(numbers[-1])
        raise HcqError(f"{self.address}: its manifests vanish while being read", AGAIN)

    def _read(self, number: int) -> dict[str, RemoteFile]:
        """The files that a generation names. Raises FileNotFoundError where it has been deleted."""
        copies = Generations(
            self.folder / NOTES, FORMAT, VERSION, f"delete it at {self.address}: the one before counts"
        )
        copy = copies.path(number)
        try:
            if not self._there.get(copy.name, copy):
                raise FileNotFoundError(copy.name)
            return decode(_Body, copies.read(number).body, copy, copies.rebuild).files
        finally:
            copy.unlink(missing_ok=True)

    def _try_to_write(self, moved: Moved) -> None:
        """Where nothing lies yet: that it cannot be written is to be known before the work of hours."""
        name = f".{secrets.token_hex(8)}.probe"
        created = [self._there.create(name, data) for data in (b"1", b"2")]
        self._there.remove(name)
        if all(created) or not self._there.creates_exclusively:
            moved.warnings.append(f"{self.address}: {NOT_EXCLUSIVE}")


RERUN = "run the same command again: it takes what is there, and makes what is missing"


def manifest_name(number: int) -> str:
    """Of a generation."""
    return Generations(Path(), FORMAT, VERSION, "").path(number).name


def signed(entries: Mapping[str, RemoteFile]) -> bytes:
    """A generation as it is stored, with its checksum."""
    listed = {
        path: {"bytes": f.nbytes, "sha256": f.sha256, "object": f.object} for path, f in sorted(entries.items())
    }
    return Generations(Path(), FORMAT, VERSION, "").signed({"files": listed}).encode()


def part_of(path: str) -> str:
    """The part of the workspace that a file belongs to: the first name of its path."""
    return path.partition("/")[0]


def digests(known: Mapping[str, Known]) -> dict[str, str]:
    """What files hold."""
    return {path: digest for path, (_, _, digest) in known.items()}


def _owner(path: str) -> str:
    """The part of the workspace that takes in a shared file: that of codes.hcq.parts/… is codes.hcq."""
    return part_of(path).removesuffix(".parts")


def _of_part(by_path: Mapping[str, T], part: str) -> dict[str, T]:
    """What is known of the files of a part."""
    return {path: known for path, known in by_path.items() if part_of(path) == part}
