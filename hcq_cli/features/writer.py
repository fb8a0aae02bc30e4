"""The one writer of a feature store: says what is still to do, folds finished videos into shards, keeps it tidy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from experts.base import State
from hcq_cli import files
from hcq_cli.errors import UsageError
from hcq_cli.features.building import Row, row_of, storing
from hcq_cli.features.folding import Shards
from hcq_cli.features.incoming import FOLDER, SET_ASIDE, list_incoming
from hcq_cli.features.journal import FAILURES, HASHES, Failure, Journal, failure_of, record_of
from hcq_cli.features.merging import FULL_VIDEOS
from hcq_cli.features.reader import SHARDS, FeatureStore, generations
from hcq_cli.features.records import VideoFacts, VideoFeatures, state_number
from hcq_cli.features.twins import results_of, twin_row
from hcq_cli.features.words import WORDS

BULK_BYTES = 1 << 27
"""Tokens that `add_shard` holds in memory before it writes a shard."""
_OWN = {FOLDER, SHARDS, SET_ASIDE, FAILURES, HASHES, WORDS, "writer.lock"}


@dataclass(frozen=True)
class Folded:
    """What a fold did.

    Args:
        videos: how many incoming files went into shards.
        shards: how many shards the store has now.
        warnings: what was set aside or left as it was, for people.
    """

    videos: int
    shards: int
    warnings: list[str] = field(default_factory=list)


def _refuse_foreign(folder: Path) -> None:
    if not folder.is_dir() or generations(folder).numbers():
        return
    strange = [name for name in os.listdir(folder) if name not in _OWN and not name.startswith(".")]
    if strange:
        raise UsageError(f"{folder}: holds {strange[0]!r} and is no feature store", "give -o a new or empty folder")


class FeatureWriter:
    """Holds the writer lock of a store while the `with` block runs. Answers reflect the store as of the start of
    the block or the last `fold`.

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
        self._shards = Shards(self.folder)
        self._moved: dict[str, tuple[str, int, int]] = {}

    def __enter__(self) -> Self:
        _refuse_foreign(self.folder)
        with ExitStack() as stack:
            try:
                with storing(self.folder, 0):
                    stack.enter_context(files.writer_lock(self.folder, wait_s=self._wait_s))
                    for name in ("", FOLDER, SHARDS):
                        (self.folder / name).mkdir(exist_ok=True)
                        files.remove_leftovers(self.folder / name)
            except (FileExistsError, NotADirectoryError) as error:
                raise UsageError(f"{self.folder}: is a file, not a folder", "give -o a folder") from error
            self._shards.set_aside_damaged(list_incoming(self.folder))
            self._failures = Journal(self.folder / FAILURES)
            self._hashes = Journal(self.folder / HASHES)
            self.refresh()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._write_moved()

    @property
    def warnings(self) -> list[str]:
        """What was set aside or had to be left as it is since the last `fold`, for people."""
        return list(self._shards.warnings)

    def refresh(self) -> None:
        """Look at the store again, with what has come in since."""
        self.store = FeatureStore.snapshot(self.folder)

    # What is still to do

    def todo(
        self, id: str, path: str, content_hash: str, identities: Mapping[str, str], retry_failed: bool = False
    ) -> set[str]:
        """The experts that have no valid result for a video yet.

        Args:
            id: the video's id.
            path: where it lies now; a mere move leaves nothing to do (see `set_path`).
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
            failed = latest.state[row] == state_number(State.FAILED)
            if latest.slot[row] < 0 or latest.kinds[latest.kind[row]].identity != wanted or (failed and retry_failed):
                missing.add(expert)
        return missing

    def facts(self, id: str) -> VideoFacts | None:
        """What the store knows of the file of a video; None if it has no such video."""
        catalog = self.store.catalog
        row = catalog.row(id)
        return None if row is None else catalog.facts(row)

    def experts_of_content(self, content_hash: str, identities: Mapping[str, str], failed_too: bool) -> set[str]:
        """The experts that have results for a content, under whatever id.

        Args:
            content_hash: of the file.
            identities: the experts in question, with the identity that each shall have.
            failed_too: whether it is a result, too, that the expert broke.
        """
        return set(results_of(self.store.catalog, content_hash, identities, failed_too))

    def known_hash(self, path: str, size: int, mtime_ns: int) -> str | None:
        """The content hash of a file that has not changed since it was last read; None if it must be read."""
        for row in self.store.catalog.rows_at_path(path):
            facts = self.store.catalog.facts(row)
            if (facts.size, facts.mtime_ns) == (size, mtime_ns):
                return facts.content_hash
        for journal in (self._hashes, self._failures):
            record = journal.records.get(path, {})
            if (record.get("size"), record.get("mtime_ns")) == (size, mtime_ns):
                return record.get("content_hash") or None
        return None

    def remember_hash(self, path: str, size: int, mtime_ns: int, content_hash: str) -> None:
        """Remember a content hash, so that a run that is killed need not read the file again."""
        if self.known_hash(path, size, mtime_ns) != content_hash:
            with storing(self.folder / HASHES, 0):
                self._hashes.put({"path": path, "size": size, "mtime_ns": mtime_ns, "content_hash": content_hash})

    def set_path(self, id: str, path: str) -> None:
        """Note that a finished video now lies at `path`; kept with the next fold or at the end of the block."""
        found = Path(path).stat()
        self._moved[id] = (path, found.st_size, found.st_mtime_ns)
        if len(self._moved) >= FULL_VIDEOS:
            self._write_moved()

    # Files that gave nothing

    def record_failure(self, path: str, error: str, content_hash: str = "", size: int = 0, mtime_ns: int = 0) -> None:
        """Note that a file could not be extracted."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        with storing(self.folder / FAILURES, 0):
            self._failures.put(record_of(Failure(path, error, when, content_hash, size, mtime_ns)))

    def failed(self, path: str, size: int, mtime_ns: int) -> Failure | None:
        """How this very file failed last time; None if it did not, or has changed since."""
        record = self._failures.records.get(path)
        same = record is not None and (record.get("size"), record.get("mtime_ns")) == (size, mtime_ns)
        return failure_of(record) if record is not None and same else None

    def clear(self, path: str) -> None:
        """Forget that a file failed."""
        with storing(self.folder / FAILURES, 0):
            self._failures.drop(path)

    # Shards

    def fold(self) -> Folded:
        """Put everything in `incoming/` into shards, merge small ones, drop what is overridden.

        A kill at any instant loses nothing: files of `incoming/` go only after a generation names their shard.

        Raises:
            HcqError: the disk is full.
        """
        folded = self._shards.fold_incoming()
        self._write_moved()
        self._shards.tidy()
        self.refresh()
        self._forget_hashes()
        return Folded(folded, len(self._shards.entries()), self._take_warnings())

    def add_shard(self, videos: Iterable[VideoFeatures]) -> int:
        """Write a stream of videos straight into shards, in bounded memory; for importers.

        Returns:
            how many were written.
        """
        self.fold()
        written = self._shards.append((row_of(video) for video in videos), BULK_BYTES)
        self._shards.tidy()
        self.refresh()
        return written

    def copy_results(self, videos: Sequence[tuple[VideoFacts, Mapping[str, str]]]) -> list[bool]:
        """Give files what other files with the same bytes have in the store.

        Args:
            videos: each file, with the experts wanted and the identity that each shall have.

        Returns:
            for each file whether there was anything for it.
        """
        catalog, rows, found = self.store.catalog, list[Row](), list[bool]()
        for facts, identities in videos:
            results = results_of(catalog, facts.content_hash, identities)
            found.append(bool(results))
            if results:
                rows.append(twin_row(catalog, facts, results))
        if rows:
            self._shards.append(rows)
            self._shards.tidy()
            self.refresh()
        return found

    def _write_moved(self) -> None:
        if not self._moved:
            return
        self._shards.fold_incoming()  # shards are older than incoming files, a move is newer
        self.refresh()
        catalog, rows = self.store.catalog, []
        for id, (path, size, mtime_ns) in self._moved.items():
            row = catalog.row(id)
            if row is not None:
                rows.append(Row(replace(catalog.facts(row), path=path, size=size, mtime_ns=mtime_ns), ()))
        self._shards.append(rows)
        self._moved = {}

    def _forget_hashes(self) -> None:
        """Drop remembered hashes that the store's own columns know by now."""
        records = self._hashes.records
        catalog = self.store.catalog
        for path in [path for path in records if any(True for _ in catalog.rows_at_path(path))]:
            del records[path]
        with storing(self.folder / HASHES, 0):
            self._hashes.rewrite()

    def _take_warnings(self) -> list[str]:
        taken, self._shards.warnings = self._shards.warnings, []
        return taken
