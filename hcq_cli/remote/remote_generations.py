"""The generations of a workspace at an address: what each names, how the next one is published, what is deleted."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hcq_cli.errors import HcqError, LockedError, NotFoundError
from hcq_cli.files import plain_name
from hcq_cli.generations import KEPT_GENERATIONS, MANIFEST_PATTERN, Generations
from hcq_cli.headers import JSON, Count, Digest, FileName, decode
from hcq_cli.remote.address import AGAIN, Address
from hcq_cli.remote.mirror_files import NOTES, SHARED

FORMAT, VERSION = "hcq-workspace", 1
GRACE_S = 7 * 24 * 3600.0
"""What no generation names is deleted when it is so old, seconds: before, its writer may still be at work."""
TRIES = 3
NOT_EXCLUSIVE = (
    "two machines that finish at the same moment would not notice each other there: let one write at a time"
)
RERUN = "run the same command again: it takes what is there, and makes what is missing"


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
class WorkspaceManifest:
    """What a generation says: the files of the workspace by their path below it."""

    files: dict[str, RemoteFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in self.files:
            if any(plain_name(name).startswith(".") for name in path.split("/")):
                raise ValueError(f"{path[:80]!r} is no file of a workspace")


class RemoteGenerations:
    """The generations at an address.

    Args:
        there: the address.
        mirror: the folder that stands for it on this machine.
    """

    def __init__(self, there: Address, mirror: Path) -> None:
        self._there, self._mirror = there, mirror

    def numbers(self) -> list[int]:
        """The generations that are there, oldest first."""
        found = map(MANIFEST_PATTERN.fullmatch, self._there.names())
        return sorted(int(match[1]) for match in found if match)

    def newest(self, *, had_some: bool) -> tuple[int, dict[str, RemoteFile]]:
        """The newest generation and the files that it names; 0 where there never was one.

        Args:
            had_some: whether this mirror has seen files there.

        Raises:
            HcqError: there is none any more, or it cannot be read.
        """
        for _ in range(TRIES):
            if not (numbers := self.numbers()):
                if had_some:  # a drive that is away, or a bucket that was emptied: nothing is lost here by that
                    remedy = f"see that it can be reached; to begin anew there, move {self._mirror} away"
                    raise HcqError(f"{self._there.text}: nothing lies there any more", remedy)
                return 0, {}
            with suppress(FileNotFoundError):  # old ones are deleted
                return numbers[-1], self._read(numbers[-1])
        raise HcqError(f"{self._there.text}: its manifests vanish while being read", AGAIN)

    def _read(self, number: int) -> dict[str, RemoteFile]:
        """The files that a generation names. Raises FileNotFoundError where it has been deleted."""
        copies = Generations(
            self._mirror / NOTES, FORMAT, VERSION, f"delete it at {self._there.text}: the one before counts"
        )
        copy = copies.path(number)
        try:
            if not self._there.get(copy.name, copy):
                raise FileNotFoundError(copy.name)
            return decode(WorkspaceManifest, copies.read(number).body, copy, copies.rebuild).files
        finally:
            copy.unlink(missing_ok=True)

    def publish(self, number: int, entries: Mapping[str, RemoteFile]) -> None:
        """Publish a generation; what its files hold lies there already.

        Raises:
            LockedError: another machine has published one of this number, or later ones.
        """
        created = self._there.create(manifest_name(number), signed(entries))
        # Files are put for hours: others may have published so many that the generation of this number was deleted
        # again. Its name was free then, but what it says was never the newest.
        if not created or self.numbers()[-1:] != [number]:
            raise LockedError(f"{self._there.text}: another machine has published since it was fetched", RERUN)

    def tidy(self) -> None:
        """Delete old generations and, after a time of grace, what none of the others names."""
        numbers = self.numbers()
        for number in numbers[:-KEPT_GENERATIONS]:
            self._there.remove(manifest_name(number))
        kept = {file.object for number in numbers[-KEPT_GENERATIONS:] for file in self._read(number).values()}
        unnamed = [f"files/{name}" for name in self._there.listed("files", whole=False) if name not in kept]
        parts = self._there.listed("parts", whole=False)
        unnamed += [f"parts/{path}" for path in parts if "/." in path or not SHARED.fullmatch(path)]
        for name in unnamed:
            with suppress(NotFoundError):  # it was being put, and is whole now
                if self._there.age_s(name) > GRACE_S:
                    self._there.remove(name)

    def try_to_write(self) -> list[str]:
        """Where nothing lies yet: that it cannot be written is to be known before the work of hours.

        Returns:
            warnings.

        Raises:
            HcqError: it cannot be written.
        """
        name = f".{secrets.token_hex(8)}.probe"
        created = [self._there.create(name, data) for data in (b"1", b"2")]
        self._there.remove(name)
        excludes = self._there.creates_exclusively and not all(created)
        return [] if excludes else [f"{self._there.text}: {NOT_EXCLUSIVE}"]


def manifest_name(number: int) -> str:
    """Of a generation."""
    return Generations(Path(), FORMAT, VERSION, "").path(number).name


def signed(entries: Mapping[str, RemoteFile]) -> bytes:
    """A generation as it is stored, with its checksum."""
    listed = {
        path: {"bytes": f.nbytes, "sha256": f.sha256, "object": f.object} for path, f in sorted(entries.items())
    }
    return Generations(Path(), FORMAT, VERSION, "").signed({"files": listed}).encode()
