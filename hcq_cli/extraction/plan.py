"""What the store knows of an input: finished, known to be broken, the twin of another file, or a job for a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experts.base import Expert
from hcq_cli import files
from hcq_cli.extraction.executor import Job
from hcq_cli.features.building import Row
from hcq_cli.features.columns import key_of
from hcq_cli.features.store import FeatureWriter, VideoFacts, identity
from hcq_cli.features.twins import results_of, twin_row
from hcq_cli.media.inputs import Input, longer_ids

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


@dataclass(frozen=True)
class Twin:
    """A file with the bytes of another one that is in the store or is extracted in this run: nothing is decoded.

    Args:
        job: what would have had to be done.
    """

    job: Job


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
        self._every = frozenset(self._identities)
        self._begun: dict[int, frozenset[str]] = {}
        self._errors: dict[int, str] = {}
        self._twins: list[Job] = []
        self._lock = threading.RLock()

    def judge(self, item: Input) -> Job | Finished | Broken | Twin:
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

    def _compare(self, item: Input, content_hash: str, size: int, mtime_ns: int) -> Job | Finished | Twin:
        id, facts = self._own_id(item, content_hash)
        missing = self._writer.todo(id, item.path, content_hash, self._identities, self._retry_failed)
        if not missing:
            if facts is not None and (facts.path, facts.size, facts.mtime_ns) != (item.path, size, mtime_ns):
                self._writer.set_path(id, item.path)
            return Finished(id)
        self._writer.remember_hash(item.path, size, mtime_ns, content_hash)
        wanted = {name: value for name, value in self._identities.items() if name in missing}
        job = Job(id, item.path, content_hash, size, mtime_ns, list(wanted), wanted)
        if self._found_elsewhere(job):
            self._twins.append(job)
            return Twin(job)
        begun = missing | self._begun.get(key_of(content_hash), frozenset())
        # One set for all: there may be a million contents.
        self._begun[key_of(content_hash)] = self._every if begun == self._every else frozenset(begun)
        return job

    def _found_elsewhere(self, job: Job) -> bool:
        """Whether all of `job` is found in another file with the same bytes: in the store, or begun in this run."""
        begun = self._begun.get(key_of(job.content_hash), frozenset())
        known = results_of(self._writer.store.catalog, job.content_hash, job.identities, not self._retry_failed)
        return set(job.experts) <= begun | set(known)

    def settle(self) -> Iterator[tuple[Job, str | None]]:
        """Give the twins what was found in the files that have their bytes; call when all else is done and folded.

        Returns:
            each of them, with the reason if it gets nothing.
        """
        catalog = self._writer.store.catalog
        rows, told = list[Row](), list[tuple[Job, str | None]]()
        for job in self._twins:
            results = results_of(catalog, job.content_hash, job.identities)
            if results:
                facts = VideoFacts(job.id, job.path, job.content_hash, job.size, job.mtime_ns, 0.0, "", [])
                rows.append(twin_row(catalog, facts, results))
            reason = self._errors.get(key_of(job.content_hash)) or "another file with the same bytes gave nothing"
            told.append((job, None if results else reason))
        self._twins = []
        if rows:
            self._writer.add_rows(rows)
        for job, error in told:
            if error is None:
                self.mended(job)
            elif key_of(job.content_hash) in self._errors:
                self.failed(job, error)
            yield job, error

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
            self._errors[key_of(job.content_hash)] = error
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
