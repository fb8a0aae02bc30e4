"""What the feature store knows of an input: finished, known to be broken, or a job for a worker."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experts.base import Expert
from hcq_cli import files
from hcq_cli.features.store import FeatureWriter, VideoFacts, identity
from hcq_cli.media.inputs import Input, longer_ids
from hcq_cli.media.protocol import Job

if TYPE_CHECKING:
    from hcq_cli.features.catalog import Catalog


@dataclass(frozen=True)
class Finished:
    """All experts asked for have looked at this video; `id` is its id in the store."""

    id: str


@dataclass(frozen=True)
class Broken:
    """The file cannot be extracted.

    Args:
        error: why, for people.
        remembered: whether that is known from an earlier run.
    """

    error: str
    remembered: bool = False


class Ledger:
    """Judges inputs; may be asked by several threads.

    Args:
        writer: the store, opened for writing.
        experts: those asked for.
        max_seconds: part of the identity of what is extracted.
        retry_failed: whether to try again what is known to be broken.
    """

    def __init__(
        self, writer: FeatureWriter, experts: Sequence[Expert], max_seconds: float | None, retry_failed: bool
    ) -> None:
        self._writer, self._retry_failed = writer, retry_failed
        self._identities = {expert.name: identity(expert, {"max_seconds": max_seconds}) for expert in experts}
        self._taken: dict[str, str] = {}
        self._lock = threading.RLock()

    def judge(self, item: Input) -> Job | Finished | Broken:
        """What is to be done with an input. Reads the file, for its hash, if it is new or has changed."""
        try:
            found = Path(item.path).stat()
            with self._lock:
                failure = self._writer.failed(item.path, found.st_size, found.st_mtime_ns)
                known = self._writer.known_hash(item.path, found.st_size, found.st_mtime_ns)
            if failure is not None and not self._retry_failed:
                return Broken(failure.error, remembered=True)
            if found.st_size == 0:
                return Broken("the file is empty")
            content_hash = known or files.digest_file(Path(item.path))
        except OSError as error:
            return Broken(error.strerror or str(error))
        with self._lock:
            return self._compare(item, content_hash, found.st_size, found.st_mtime_ns)

    def _compare(self, item: Input, content_hash: str, size: int, mtime_ns: int) -> Job | Finished:
        id, facts = self._own_id(item, content_hash)
        missing = self._writer.todo(id, item.path, content_hash, self._identities, self._retry_failed)
        if not missing:
            if facts is not None and (facts.path, facts.size, facts.mtime_ns) != (item.path, size, mtime_ns):
                self._writer.set_path(id, item.path)
            return Finished(id)
        self._writer.remember_hash(item.path, size, mtime_ns, content_hash)
        wanted = {name: value for name, value in self._identities.items() if name in missing}
        return Job(id, item.path, content_hash, size, mtime_ns, list(wanted), wanted)

    def _own_id(self, item: Input, content_hash: str) -> tuple[str, VideoFacts | None]:
        """The shortest id that no other file has (none of this run, none of the store that still exists), and what
        the store knows of it."""
        for id in longer_ids(item):
            if self._taken.get(id, item.path) != item.path:
                continue
            facts = self._facts(id)
            mine = facts is None or facts.path == item.path or facts.content_hash == content_hash
            if mine or (facts is not None and not Path(facts.path).exists()):
                self._taken[id] = item.path
                return id, facts
        raise AssertionError("longer_ids never ends")

    def _facts(self, id: str) -> VideoFacts | None:
        catalog: Catalog = self._writer.store.catalog
        row = catalog.row(id)
        return None if row is None else catalog.facts(row)

    def failed(self, job: Job, error: str) -> None:
        """Remember that the file of `job` is broken, until it changes."""
        with self._lock:
            self._writer.record_failure(job.path, error, job.content_hash, job.size, job.mtime_ns)

    def mended(self, job: Job) -> None:
        """Forget that the file of `job` was broken."""
        with self._lock:
            if self._writer.failed(job.path, job.size, job.mtime_ns) is not None:
                self._writer.clear(job.path)

    def fold(self) -> list[str]:
        """Put what is finished into shards; gives warnings."""
        with self._lock:
            return self._writer.fold().warnings
