"""Small facts about files that are in no shard: JSON lines, appended, the last line about a path counts.

`failures.jsonl` names the files that gave nothing, so that they are not tried again until they change.
`hashes.jsonl` remembers content hashes of files that are not finished yet. Losing a line costs only time.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcq_cli import files

FAILURES = "failures.jsonl"
HASHES = "hashes.jsonl"


@dataclass(frozen=True)
class FailureRecord:
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

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> FailureRecord:
        """A line of `failures.jsonl`, which holds the fields by their names; missing ones are empty."""
        path, error, when, content_hash = (str(record.get(k, "")) for k in ("path", "error", "when", "content_hash"))
        size, mtime_ns = (int(record.get(k) or 0) for k in ("size", "mtime_ns"))
        return cls(path, error, when, content_hash, size=size, mtime_ns=mtime_ns)


def read_failures(folder: Path) -> list[FailureRecord]:
    """The files of a store that could not be extracted, oldest first."""
    return [FailureRecord.from_json(record) for record in PathLog(Path(folder) / FAILURES).records.values()]


class PathLog:
    """The last record about each path, kept in a file of JSON lines.

    Args:
        path: the file; need not exist. Lines that cannot be read (a torn last one) are passed over.

    Raises:
        NotRegularError: it is a link, a pipe, a device…
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: dict[str, dict[str, Any]] = {}
        data = b""
        with suppress(FileNotFoundError):
            data = files.read_regular(path)
        lines = [_parse(line) for line in data.splitlines()]
        for record in lines:
            if record is not None:
                self.records.pop(record["path"], None)  # so that the order is that of the last lines
                if not record.get("gone"):
                    self.records[record["path"]] = record
        torn = bool(data) and not data.endswith(b"\n")
        # The next write clears overridden and torn lines away by replacing the file; else it appends.
        self._rewrite_next = torn or len(lines) != len(self.records)

    def put(self, record: dict[str, Any]) -> None:
        """Add a record; it must have a "path"."""
        self.records[record["path"]] = record
        self._append(record)

    def drop(self, path: str) -> None:
        """Forget a path."""
        if self.records.pop(path, None) is not None:
            self._append({"path": path, "gone": True})

    def _append(self, record: dict[str, Any]) -> None:
        if self._rewrite_next:
            self.rewrite()
            return
        line = (json.dumps(record, ensure_ascii=True) + "\n").encode()
        handle = files.open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._rewrite_next = True  # until the whole line is there: a full disk may take half of it
        try:
            self._rewrite_next = os.write(handle, line) != len(line)
        finally:
            os.close(handle)

    def rewrite(self) -> None:
        """Write the file anew with only what still counts."""
        lines = (json.dumps(record, ensure_ascii=True) + "\n" for record in self.records.values())
        files.write_text(self._path, "".join(lines))
        self._rewrite_next = False


def _parse(line: bytes) -> dict[str, Any] | None:
    with suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict) and isinstance(record.get("path"), str):
            return record
    return None
