"""Small facts about files that are in no shard: JSON lines, appended, the last line about a path counts.

`failures.jsonl` names the files that gave nothing, so that they are not tried again until they change.
`hashes.jsonl` remembers content hashes of files that are not finished yet. Losing a line costs only time.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hcq_cli import files
from hcq_cli.errors import DamagedError
from hcq_cli.features.records import VideoFacts
from hcq_cli.headers import decode

FAILURES, HASHES = "failures.jsonl", "hashes.jsonl"


@dataclass(frozen=True)
class FailureRecord:
    """A file that could not be extracted, or (without an error) that was only read for its hash.

    Args:
        path: the file, absolute.
        error: what was wrong, for people.
        when: ISO 8601, UTC.
        content_hash: SHA-256 as hex; empty if it could not be read.
        size: bytes when it was tried.
        mtime_ns: modification time when it was tried, nanoseconds.
    """

    path: str
    error: str = ""
    when: str = ""
    content_hash: str = ""
    size: int = 0
    mtime_ns: int = 0


class PathLog:
    """The last record about each path, kept in a file of JSON lines.

    Args:
        path: the file; need not exist. Lines that make no sense (a torn last one) are passed over.
        base: another log, whose lines come before those of this one, and which is left as it is; with it this file is
            appended to alone, as one of several logs that are put together later.

    Attributes:
        path: of the file.
        records: by path, oldest first.

    Raises:
        NotRegularError: it is a link, a pipe, a device…
    """

    def __init__(self, path: Path, base: Path | None = None) -> None:
        self.path, self._has_base = path, base is not None
        self.records: dict[str, FailureRecord] = {}
        if base is not None:
            self._read(base)
        self._untidy = self._read(path)

    def _read(self, path: Path) -> bool:
        """Take in the lines of a file; gives whether some of them count no longer, or the last one is torn."""
        data, before = b"", len(self.records)
        with suppress(FileNotFoundError):
            data = files.read_regular(path)
        lines = data.splitlines()
        for line in lines:
            with suppress(DamagedError, ValueError, RecursionError):
                document = json.loads(line)
                record = decode(FailureRecord, document, path)
                self.records.pop(record.path, None)  # so that the order is that of the last lines
                if not document.get("gone"):
                    self.records[record.path] = record
        return len(lines) != len(self.records) - before or (bool(data) and not data.endswith(b"\n"))

    def about(self, facts: VideoFacts) -> FailureRecord | None:
        """What is noted about a file; None if that is nothing, or the file has changed since."""
        record = self.records.get(facts.path)
        same = record is not None and (record.size, record.mtime_ns) == (facts.size, facts.mtime_ns)
        return record if same else None

    def tidy(self, logs: Path) -> None:
        """Put what runs without the writer lock have noted in `logs` behind what this one says, and clear away lines
        that count no longer; needs the lock."""
        others = sorted(logs.glob(f"{self.path.stem}-*.jsonl"))
        for other in others:
            self._read(other)
        if others or self._untidy:
            self.rewrite()
        for other in others:
            other.unlink(missing_ok=True)

    def put(self, facts: VideoFacts, error: str = "") -> None:
        """Note that a file could not be extracted, or without an error what is known of it."""
        when = datetime.now(UTC).isoformat(timespec="seconds") if error else ""
        record = FailureRecord(facts.path, error, when, facts.content_hash, size=facts.size, mtime_ns=facts.mtime_ns)
        self.records[facts.path] = record
        self._append(vars(record))

    def drop(self, path: str) -> None:
        """Forget a path."""
        if self.records.pop(path, None) is not None:
            self._append({"path": path, "gone": True})

    def _append(self, record: dict[str, Any]) -> None:
        line = (json.dumps(record, ensure_ascii=True) + "\n").encode()
        if self._has_base:  # a line break before, too: nobody tidies it, and its last line may be torn
            files.append_lines(self.path, b"\n" + line)
        elif not files.append_lines(self.path, line):
            self.rewrite()

    def rewrite(self) -> None:
        """Write the file anew with only what still counts."""
        lines = (json.dumps(vars(record), ensure_ascii=True) + "\n" for record in self.records.values())
        files.write_text(self.path, "".join(lines))
