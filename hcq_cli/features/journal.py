"""Small facts about files that are in no shard: JSON lines, appended, the last line about a path counts.

`failures.jsonl` names the files that gave nothing, so that they are not tried again until they change.
`hashes.jsonl` remembers content hashes of files that are not finished yet. Losing a line costs only time.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hcq_cli import files

FAILURES = "failures.jsonl"
HASHES = "hashes.jsonl"


@dataclass(frozen=True)
class Failure:
    """A file that could not be extracted.

    Args:
        path: the file, absolute.
        error: what was wrong, for people.
        when: ISO 8601, UTC.
        content_hash: SHA-256 as hex; empty if it could not be read.
        size: bytes when it was tried.
        mtime_ns: modification time when it was tried, nanoseconds.
    """

    path: str
    error: str
    when: str
    content_hash: str
    size: int
    mtime_ns: int


def _parse(line: bytes) -> dict[str, Any] | None:
    with suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict) and isinstance(record.get("path"), str):
            return record
    return None


class Journal:
    """The last record about each path.

    Args:
        path: the file; need not exist. Lines that cannot be read (a torn last one) are passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: dict[str, dict[str, Any]] = {}
        data = path.read_bytes() if path.is_file() else b""
        lines = [_parse(line) for line in data.splitlines()]
        for record in lines:
            if record is not None:
                self.records.pop(record["path"], None)
                if not record.get("gone"):
                    self.records[record["path"]] = record
        torn = bool(data) and not data.endswith(b"\n")
        self._untidy = torn or len(lines) != len(self.records)

    def put(self, record: dict[str, Any]) -> None:
        """Add a record; it must have a "path"."""
        self.records[record["path"]] = record
        self._append(record)

    def drop(self, path: str) -> None:
        """Forget a path."""
        if self.records.pop(path, None) is not None:
            self._append({"path": path, "gone": True})

    def _append(self, record: dict[str, Any]) -> None:
        if self._untidy:
            self.rewrite()
            return
        line = (json.dumps(record, ensure_ascii=True) + "\n").encode()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._untidy = True  # until the whole line is there
        try:
            self._untidy = os.write(handle, line) != len(line)
        finally:
            os.close(handle)

    def rewrite(self) -> None:
        """Write the file anew with only what still counts."""
        lines = (json.dumps(record, ensure_ascii=True) + "\n" for record in self.records.values())
        files.write_text(self._path, "".join(lines))
        self._untidy = False


def read_failures(folder: Path) -> list[Failure]:
    """The files of a store that could not be extracted, oldest first."""
    return [failure_of(record) for record in Journal(Path(folder) / FAILURES).records.values()]


def failure_of(record: dict[str, Any]) -> Failure:
    """A line of `failures.jsonl` as a record; missing fields are empty."""
    path, error, when, content_hash = (str(record.get(k, "")) for k in ("path", "error", "when", "content_hash"))
    size, mtime_ns = (int(record.get(k) or 0) for k in ("size", "mtime_ns"))
    return Failure(path, error, when, content_hash, size, mtime_ns)


def record_of(failure: Failure) -> dict[str, Any]:
    """A failure as a line of `failures.jsonl`."""
    return asdict(failure)
