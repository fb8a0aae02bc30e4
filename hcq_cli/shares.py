"""A share of a collection: what `--shard I/N` gives to one of N runs, which need not know of each other.

Which share a file falls to is decided by its length and its first and last bytes: so copies of a file fall to the
same one, it costs no more than opening the file, and it is the same on every machine and in every order of the files.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hcq_cli.errors import HcqError, UsageError
from hcq_cli.files import open_regular

END_BYTES = 1 << 16
"""How much of each end of a file is looked at."""
_SHARE = re.compile(r"(\d{1,9})/(\d{1,9})")


@dataclass(frozen=True)
class Share:
    """One of N shares, which together are the whole and have nothing in common.

    Args:
        number: from 1.
        of: N.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, on: str | None = None) -> Share:
        """The share that "2/3" names.

        Raises:
            UsageError: it names none, or an engine is to divide the work as well (`--on`).
        """
        if on is not None:
            raise UsageError("--on divides the videos by itself, --shard by hand", "give one of them")
        match = _SHARE.fullmatch(text)
        number, of = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= of:
            raise UsageError(f"--shard {text!r} is no share of a whole", "of three runs: --shard 1/3, 2/3 and 3/3")
        return cls(number, of)

    @property
    def name(self) -> str:
        """As part of a file name."""
        return f"{self.number}-of-{self.of}"

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def has(self, key: int) -> bool:
        """Whether what has this number is in the share."""
        return key % self.of == self.number - 1


def content_key(path: str) -> int:
    """A number from the content of a file, 64 bits; of a file that cannot be read, from its path."""
    digest = hashlib.blake2b(digest_size=8)
    try:
        with os.fdopen(open_regular(path, links=True), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(size.to_bytes(8, "little") + file.read(END_BYTES))
            file.seek(max(size - END_BYTES, 0))
            digest.update(file.read(END_BYTES))
    except (OSError, HcqError):  # whichever share it falls to says what is wrong
        digest = hashlib.blake2b(os.fsencode(Path(path)), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
