"""The generations of a folder: the one protocol that the feature store and the index are built on.

    folder/
      manifest-00000007.json   the newest generation: what the folder holds, with its own checksum
      manifest-00000006.json   the one before, for readers that still hold it
      …                        immutable data files that a manifest names
      writer.lock              held by the one writer

Data files are written first, then a new generation names them. A reader takes the newest generation and never sees
half of anything; a kill at any instant leaves the last generation whole.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcq_cli.errors import DamagedError
from hcq_cli.files import digest_json, json_text, read_regular, write_text
from hcq_cli.writer_lock import another_writer

MANIFEST_PATTERN = re.compile(r"manifest-(\d{8,})\.json")
"""Eight digits, and as many as it takes after the 99,999,999th."""
KEPT_GENERATIONS = 3
"""Generations kept for readers that opened the folder before the last write."""
LARGEST_MANIFEST = 1 << 26
"""Bytes; a few hundred thousand files can be named in so many, and reading them takes no memory to speak of."""


@dataclass(frozen=True)
class Manifest:
    """One generation of a folder.

    Args:
        generation: its number; 0 for a folder that has none yet.
        body: what the folder holds, as the owner of the format wrote it.
        stamp: as `Generations.stamp` gives it; None where it was not read from a file.
    """

    generation: int
    body: dict[str, Any]
    stamp: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Generations:
    """The manifests of a folder.

    Args:
        folder: the folder they lie in.
        format_name: for example "hcq-features"; a folder of another format is refused.
        version: newest format version this program reads and the one it writes.
        rebuild: the command that makes the folder anew; ends up in the hint of errors.
    """

    folder: Path
    format_name: str
    version: int
    rebuild: str

    def numbers(self) -> list[int]:
        """The generations that are there, oldest first."""
        if not self.folder.is_dir():
            return []
        found = (MANIFEST_PATTERN.fullmatch(name) for name in os.listdir(self.folder))
        return sorted(int(match[1]) for match in found if match)

    def stamp(self) -> tuple[int, int, int] | None:
        """What tells the newest generation from any other, also from one of its number in a folder made anew.

        Cheaper than reading it; None where there is none.
        """
        for number in reversed(self.numbers()):
            with suppress(FileNotFoundError):
                found = self.path(number).stat()
                return number, found.st_ino, found.st_mtime_ns
        return None

    def path(self, generation: int) -> Path:
        """Where the manifest of a generation lies."""
        return self.folder / f"manifest-{generation:08d}.json"

    def read(self, generation: int | None = None) -> Manifest:
        """The newest generation, or the one asked for; generation 0 with an empty body where there is none.

        Raises:
            DamagedError: the manifest is damaged, foreign, or of a newer version.
        """
        for _ in range(8):  # a writer may drop the oldest generation between listing and opening
            numbers = self.numbers()
            if not numbers:
                return Manifest(0, {})
            number = numbers[-1] if generation is None else generation
            with suppress(FileNotFoundError):
                found = self.path(number).lstat()  # before it is read: what takes its place meanwhile is then newer
                return Manifest(number, self._parse(self.path(number)), (number, found.st_ino, found.st_mtime_ns))
        raise DamagedError(f"{self.folder}: its manifests vanish while being read", self.rebuild)

    def _parse(self, path: Path) -> dict[str, Any]:
        try:
            if path.lstat().st_size > LARGEST_MANIFEST:
                raise ValueError("it is far too large")
            text = read_regular(path).decode("utf-8")
            if not text.endswith("}\n"):
                raise ValueError("truncated")
            document = json.loads(text)
            body, checksum = document["body"], document["checksum"]
            name, version = document["format"], document["version"]
            right = checksum == digest_json({"format": name, "version": version, "body": body})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(f"{path}: not a readable manifest ({error})", self.rebuild) from error
        if name != self.format_name:
            raise DamagedError(f"{path}: is of format {name!r}, not {self.format_name!r}", self.rebuild)
        if not isinstance(version, int) or version > self.version:
            raise DamagedError(
                f"{path}: format version {version}, this hcq reads up to {self.version}", "upgrade hcq"
            )
        if not isinstance(body, dict) or not right:
            raise DamagedError(f"{path}: checksum does not match, the file is damaged", self.rebuild)
        return body

    def signed(self, body: dict[str, Any]) -> str:
        """A manifest as it is written, with its checksum."""
        document = {"format": self.format_name, "version": self.version, "body": body}
        return json_text({**document, "checksum": digest_json(document)})

    def publish(self, body: dict[str, Any], *, after: int | None = None) -> Manifest:
        """Write the next generation; call with the writer lock held and all files it names in place.

        A generation is created exclusively: on a file system whose locks exclude nobody, one of two writers fails
        here, and neither loses what the other was told is done.

        Args:
            body: what the folder holds now.
            after: the generation that it was made from; default: the newest.

        Raises:
            LockedError: another writer has published a generation since.
        """
        numbers = self.numbers()
        newest = numbers[-1] if numbers else 0
        generation = (newest if after is None else after) + 1
        try:
            if newest >= generation:
                raise FileExistsError
            # A generation is visible from the moment its manifest has its name, and not a moment earlier.
            write_text(self.path(generation), self.signed(body), exclusive=True)
        except FileExistsError:
            raise another_writer(self.folder) from None
        # While it was written others may have published so many that the one of its number was dropped again: its
        # name was free, but what it says was never the newest.
        if self.numbers()[-1:] > [generation]:
            self.path(generation).unlink(missing_ok=True)
            raise another_writer(self.folder)
        for old in numbers[: -(KEPT_GENERATIONS - 1)]:
            with suppress(OSError):  # gone already; or the disk fails, but what was to be done is done
                self.path(old).unlink()
        return Manifest(generation, body)
