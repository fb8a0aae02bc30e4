"""The one writer of a feature store: says what is still to do, puts finished videos into shards, keeps it tidy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hcq_cli import files
from hcq_cli.collection import FOLDER as COLLECTION
from hcq_cli.errors import UsageError
from hcq_cli.features.compaction import FULL_VIDEOS, WritableShards
from hcq_cli.features.failures import FAILURES, HASHES, FailureRecord, PathLog
from hcq_cli.features.incoming import list_incoming
from hcq_cli.features.manifest import INCOMING, SET_ASIDE, SHARDS, generations, need_folders
from hcq_cli.features.records import VideoFacts, VideoFeatures
from hcq_cli.features.shard_writer import ExpertResult, ShardRow
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.transcripts import TRANSCRIPTS

BULK_BYTES = 1 << 27
"""Tokens that `add_videos` holds in memory before it writes a shard."""
_OWN = {INCOMING, SHARDS, SET_ASIDE, FAILURES, HASHES, TRANSCRIPTS, COLLECTION, "writer.lock"}


@dataclass(frozen=True)
class CompactionResult:
    """What a compaction did.

    Args:
        videos: how many incoming files went into shards.
        shards: how many shards the store has now.
        warnings: what was set aside or left as it was, for people.
    """

    videos: int
    shards: int
    warnings: list[str] = field(default_factory=list)


class FeatureWriter:
    """Holds the writer lock of a store while the `with` block runs. Answers reflect the store as of the start of
    the block or the last `compact`.

    Args:
        folder: the store; made if missing.
        wait_s: how long to wait for another writer, seconds.

    Raises:
        LockedError: another process is writing there.
        DamagedError: the store is damaged, or of a newer hcq.
        UsageError: the folder holds something else.
        HcqError: the folder cannot be written.
    """

    def __init__(self, folder: Path, wait_s: float = 0.0) -> None:
        self.folder, self._wait_s = Path(folder), wait_s
        self._shards = WritableShards(self.folder)
        self._moved: dict[str, tuple[str, int, int]] = {}

    def __enter__(self) -> Self:
        if self.folder.is_dir() and not generations(self.folder).numbers():
            # A mistyped -o must not spread a store among somebody's files.
            strange = [name for name in os.listdir(self.folder) if name not in _OWN and not name.startswith(".")]
            if strange:
                message = f"{self.folder}: holds {strange[0]!r} and is no feature store"
                raise UsageError(message, "give -o a new or empty folder")
        with ExitStack() as stack:
            try:
                with files.disk_errors(self.folder):
                    stack.enter_context(files.writer_lock(self.folder, wait_s=self._wait_s))
                    need_folders(self.folder)
                    for name in ("", INCOMING, SHARDS):
                        (self.folder / name).mkdir(exist_ok=True)
                        files.remove_leftovers(self.folder / name)
            except (FileExistsError, NotADirectoryError) as error:
                raise UsageError(f"{self.folder}: is a file, not a folder", "give -o a folder") from error
            files.need_regular(self.folder / TRANSCRIPTS)
            self._shards.set_aside_damaged(list_incoming(self.folder))
            self._failures = PathLog(self.folder / FAILURES)
            self._hashes = PathLog(self.folder / HASHES)
            self.refresh()
            self._stack = stack.pop_all()  # all went well: the lock is kept until __exit__
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._write_moved()

    @property
    def warnings(self) -> list[str]:
        """What was set aside or had to be left as it is since the last `compact`, for people."""
        return list(self._shards.warnings)

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
        rows = list(catalog.rows_at_path(facts.path))
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
        return [catalog.facts(row) for row in catalog.rows_at_path(path)]

    def known_hash(self, path: str, size: int, mtime_ns: int) -> str | None:
        """The content hash of a file that has not changed since it was last read; None if it must be read."""
        for facts in self.facts_at(path):
            if (facts.size, facts.mtime_ns) == (size, mtime_ns):
                return facts.content_hash
        return self.remembered_hash(path, size, mtime_ns)

    def remembered_hash(self, path: str, size: int, mtime_ns: int) -> str | None:
        """The same of a file that is not in the store: it is not finished, or it failed."""
        for log in (self._hashes, self._failures):
            record = log.records.get(path)
            if record is not None and (record.size, record.mtime_ns) == (size, mtime_ns):
                return record.content_hash or None
        return None

    def remember_hash(self, path: str, size: int, mtime_ns: int, content_hash: str) -> None:
        """Remember a content hash, so that a run that is killed need not read the file again."""
        if self.known_hash(path, size, mtime_ns) != content_hash:
            self._hashes.put(FailureRecord(path, content_hash=content_hash, size=size, mtime_ns=mtime_ns))

    def set_path(self, id: str, path: str) -> None:
        """Note that a finished video now lies at `path`; kept with the next compaction or at the end of the block."""
        found = Path(path).stat()
        self._moved[id] = (path, found.st_size, found.st_mtime_ns)
        if len(self._moved) >= FULL_VIDEOS:
            self._write_moved()

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

    # Shards

    def compact(self) -> CompactionResult:
        """Put everything in `incoming/` into shards, merge small ones, drop what is overridden.

        A kill at any instant loses nothing: files of `incoming/` go only after a generation names their shard.

        Raises:
            HcqError: the disk is full.
        """
        videos = self._shards.take_in_incoming()
        self._write_moved()
        self._shards.compact()
        self.refresh()
        self._forget_hashes()
        warnings, self._shards.warnings = self._shards.warnings, []
        return CompactionResult(videos, len(self._shards.entries()), warnings)

    def add_videos(self, videos: Iterable[VideoFeatures]) -> int:
        """Write a stream of videos straight into shards, in bounded memory; for importers.

        Returns:
            how many were written.
        """
        self.compact()  # else incoming files would override these, which are newer: shards count as older
        return self._append((ShardRow.of(video) for video in videos), BULK_BYTES)

    def remove(self, ids: Iterable[str]) -> int:
        """Take videos out of the store, with all that experts found in them; ids that it lacks are passed over.

        A kill at any instant leaves all of them or none.

        Returns:
            how many there were.

        Raises:
            DamagedError: a shard that holds one is damaged.
            HcqError: the disk is full.
        """
        if not (ids := list(ids)):
            return 0
        self.compact()  # an incoming file of theirs would bring them back
        there = {id for id in ids if self.store.row(id) is not None}
        if there:
            self._shards.drop(there)
            self._shards.compact()
            self.refresh()
        return len(there)

    def copy_results(self, videos: Sequence[tuple[VideoFacts, Mapping[str, str]]]) -> list[bool]:
        """Give files what other files with the same bytes have in the store; nothing is decoded.

        Args:
            videos: each file, with the experts wanted and the identity that each shall have.

        Returns:
            for each file whether there was anything for it.
        """
        catalog, rows, found = self.store.catalog, list[ShardRow](), list[bool]()
        for facts, identities in videos:
            results = catalog.results_of_content(facts.content_hash, identities)
            found.append(bool(results))
            if not results:
                continue
            source = catalog.facts(next(iter(results.values())))
            known = replace(facts, duration_s=source.duration_s, decoder=source.decoder, warnings=source.warnings)
            places = [catalog.locate(expert, catalog.latest(expert), row) for expert, row in sorted(results.items())]
            copied = tuple(ExpertResult.in_shard(shard, key, at) for shard, key, at in places)
            rows.append(ShardRow(known, copied))
        if rows:
            self._append(rows)
        return found

    def _append(self, rows: Iterable[ShardRow], max_bytes: int | None = None) -> int:
        written = self._shards.append(rows, max_bytes)
        self._shards.compact()
        self.refresh()
        return written

    def _write_moved(self) -> None:
        if not self._moved:
            return
        self._shards.take_in_incoming()  # shards count as older than incoming files, and a move is newer
        self.refresh()
        catalog, rows = self.store.catalog, []
        for id, (path, size, mtime_ns) in self._moved.items():
            row = catalog.row(id)
            if row is not None:
                rows.append(ShardRow(replace(catalog.facts(row), path=path, size=size, mtime_ns=mtime_ns), ()))
        self._shards.append(rows)
        self._moved = {}

    def _forget_hashes(self) -> None:
        """Drop remembered hashes that the store's own columns know by now."""
        records = self._hashes.records
        catalog = self.store.catalog
        for path in [path for path in records if any(True for _ in catalog.rows_at_path(path))]:
            del records[path]
        self._hashes.rewrite()
