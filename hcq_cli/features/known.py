"""What a feature store knows of each file: whether it is finished, what is still to do, how it failed.

The writers of writer.py answer so, `FeatureWriter` with the writer lock held, `SharedWriter` without.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcq_cli.features.failures import FailureRecord, PathLog
from hcq_cli.features.records import VideoFacts
from hcq_cli.features.store import FeatureStore


class KnownVideos:
    """The answers of a store; they reflect the snapshot that `refresh` took last.

    Attributes:
        folder: the store.
        store: the snapshot.
    """

    folder: Path
    store: FeatureStore
    _failures: PathLog
    _hashes: PathLog

    def refresh(self) -> None:
        """Look at the store again, with what has come in since."""
        self.store = FeatureStore.snapshot(self.folder)
        self._finished: tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]] | None = None

    # What is still to do

    def todo(
        self, id: str, content_hash: str, identities: Mapping[str, str], *, retry_failed: bool = False
    ) -> set[str]:
        """The experts that have no valid result for a video yet, wherever its file lies now (see `set_path`).

        Args:
            id: the video's id.
            content_hash: of the file as it is now.
            identities: the experts wanted, with the identity each shall have.
            retry_failed: count an expert that broke on this video as still to do.
        """
        catalog = self.store.catalog
        row = catalog.row(id)
        if row is None or catalog.facts(row).content_hash != content_hash:
            return set(identities)
        missing = set()
        for expert, wanted in identities.items():
            latest = catalog.latest(expert)
            if latest.identity(row) != wanted or (retry_failed and latest.failed(row)):
                missing.add(expert)
        return missing

    def is_finished(self, facts: VideoFacts, identities: Mapping[str, str], *, retry_failed: bool = False) -> bool:
        """Whether a file is as the store knows it, under the same id and nowhere else, and lacks nothing.

        What `facts_at`, `facts` and `todo` say together, in a tenth of the time: most files of most runs are so.

        Args:
            facts: id, path, size and modification time of the file as it is now.
            identities, retry_failed: as for `todo`; the same in every call between two of `refresh`.
        """
        catalog = self.store.catalog
        if self._finished is None:
            done = catalog.finished(identities, failed_too=not retry_failed)
            sizes, times = (catalog.column(f"videos/{name}")[catalog.newest] for name in ("size", "mtime_ns"))
            self._finished = done, sizes, times
        done, sizes, times = self._finished
        rows = list(catalog.rows_with("path", facts.path))
        if len(rows) != 1 or not done[rows[0]] or catalog.id(rows[0]) != facts.id:
            return False
        return bool(sizes[rows[0]] == facts.size and times[rows[0]] == facts.mtime_ns)

    def facts(self, id: str) -> VideoFacts | None:
        """What the store knows of the file of a video; None if it has no such video."""
        catalog = self.store.catalog
        row = catalog.row(id)
        return None if row is None else catalog.facts(row)

    def facts_at(self, path: str) -> list[VideoFacts]:
        """What the store knows of the file that lay at `path`; more than one where an earlier hcq gave it two ids."""
        catalog = self.store.catalog
        return [catalog.facts(row) for row in catalog.rows_with("path", path)]

    def known_hash(self, path: str, size: int, mtime_ns: int) -> str | None:
        """The content hash of a file that has not changed since it was last read; None if it must be read."""
        for facts in self.facts_at(path):
            if (facts.size, facts.mtime_ns) == (size, mtime_ns):
                return facts.content_hash
        for log in (self._hashes, self._failures):  # it is not finished, or it failed
            record = log.records.get(path)
            if record is not None and (record.size, record.mtime_ns) == (size, mtime_ns):
                return record.content_hash or None
        return None

    def remember_hash(self, path: str, size: int, mtime_ns: int, content_hash: str) -> None:
        """Remember a content hash, so that a run that is killed need not read the file again."""
        if self.known_hash(path, size, mtime_ns) != content_hash:
            self._hashes.put(FailureRecord(path, content_hash=content_hash, size=size, mtime_ns=mtime_ns))

    # Files that gave nothing

    def record_failure(self, path: str, error: str, content_hash: str = "", size: int = 0, mtime_ns: int = 0) -> None:
        """Note that a file could not be extracted."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        self._failures.put(FailureRecord(path, error, when, content_hash, size=size, mtime_ns=mtime_ns))

    def known_failure(self, path: str, size: int, mtime_ns: int) -> FailureRecord | None:
        """How this very file failed last time; None if it did not, or has changed since."""
        record = self._failures.records.get(path)
        return record if record is not None and (record.size, record.mtime_ns) == (size, mtime_ns) else None

    def forget_failure(self, path: str) -> None:
        """Forget that a file failed, if it did."""
        self._failures.drop(path)
