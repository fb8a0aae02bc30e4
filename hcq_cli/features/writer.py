"""Who writes to a feature store: the one with the lock, which puts finished videos into shards and keeps it tidy, and
any number without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hcq_cli import files
from hcq_cli.errors import LockedError
from hcq_cli.features.compaction import FULL_VIDEOS, WritableShards
from hcq_cli.features.failures import FAILURES, HASHES, PathLog
from hcq_cli.features.folder import INCOMING, LOGS, SHARDS, list_incoming, make_folders
from hcq_cli.features.records import DECODED_FACTS, ExpertResult, VideoFacts, VideoFeatures, VideoRecord
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.transcripts import TRANSCRIPTS, take_in_transcripts
from hcq_cli.files import storable_ns
from hcq_cli.writer_lock import writer_lock

BULK_BYTES = 1 << 27
"""Tokens that `add_videos` holds in memory before it writes a shard."""


class KnownVideos:
    """What a store knows of each file: whether it is finished, and what is still to do.

    Both writers answer so; the answers reflect the snapshot that `refresh` took last.

    Attributes:
        folder: the store.
        store: the snapshot.
        failures: files that gave nothing.
        hashes: content hashes of files that are not finished, so that a run that is killed need not read them again.
    """

    folder: Path
    store: FeatureStore
    failures: PathLog
    hashes: PathLog

    def refresh(self) -> None:
        """Look at the store again, with what has come in since."""
        self.store = FeatureStore.snapshot(self.folder)
        self._finished: tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]] | None = None

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
        row = self.store.row(id)
        if row is None or self.store.facts(row).content_hash != content_hash:
            return set(identities)
        return {
            expert
            for expert, wanted in identities.items()
            if not self.store.newest_results(expert).has(row, wanted, failed_too=not retry_failed)
        }

    def is_finished(self, facts: VideoFacts, identities: Mapping[str, str], *, retry_failed: bool = False) -> bool:
        """Whether a file is as the store knows it, under the same id and nowhere else, and lacks nothing.

        What the store's facts and `todo` say together, in a tenth of the time: most files of most runs are so.

        Args:
            facts: id, path, size and modification time of the file as it is now.
            identities, retry_failed: as for `todo`; the same in every call between two of `refresh`.
        """
        store = self.store
        rows = list(store.rows_with("path", facts.path))
        if len(rows) != 1 or store[rows[0]] != facts.id:
            return False
        if self._finished is None:
            done = store.finished(identities, failed_too=not retry_failed)
            sizes, times = (store.column(f"videos/{name}")[store.newest] for name in ("size", "mtime_ns"))
            self._finished = done, sizes, times
        done, sizes, times = self._finished
        return bool(done[rows[0]] and sizes[rows[0]] == facts.size and times[rows[0]] == facts.mtime_ns)

    def known_hash(self, facts: VideoFacts) -> str | None:
        """The content hash of a file that has not changed since it was last read; None if it must be read."""
        for known in map(self.store.facts, self.store.rows_with("path", facts.path)):
            if (known.size, known.mtime_ns) == (facts.size, facts.mtime_ns):
                return known.content_hash
        noted = self.hashes.about(facts) or self.failures.about(facts)
        return noted.content_hash or None if noted else None


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


class FeatureWriter(KnownVideos):
    """Holds the writer lock of a store while the `with` block runs. Answers reflect the store as of the start of
    the block or the last `compact`.

    What others have left without the lock, features and notes of failures, is taken in.

    Args:
        folder: the store; made if missing.

    Raises:
        LockedError: another process is writing there.
        DamagedError: the store is damaged, or of a newer hcq.
        UsageError: the folder holds something else.
        HcqError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._shards = WritableShards(self.folder)
        self._moved: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            make_folders(self.folder)
            with files.disk_errors(self.folder):
                stack.enter_context(writer_lock(self.folder))
                for name in ("", SHARDS, INCOMING):
                    files.remove_leftovers(self.folder / name)
            files.need_regular(self.folder / TRANSCRIPTS)
            self._shards.set_aside_damaged(list_incoming(self.folder))
            self.failures = PathLog(self.folder / FAILURES)
            self.hashes = PathLog(self.folder / HASHES)
            for log in (self.failures, self.hashes):
                log.tidy(self.folder / LOGS)
            self.refresh()
            self._stack = stack.pop_all()  # all went well: the lock is kept until __exit__
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None and self._moved:
                self._write_moved()

    def set_path(self, id: str, path: str) -> None:
        """Note that a finished video now lies at `path`; kept with the next compaction or at the end of the block."""
        found = Path(path).stat()
        self._moved[id] = {"path": path, "size": found.st_size, "mtime_ns": storable_ns(found.st_mtime_ns)}
        if len(self._moved) >= FULL_VIDEOS:
            self._write_moved()

    # Shards

    def compact(self) -> CompactionResult:
        """Put everything in `incoming/` into shards, merge small ones, drop what is overridden.

        A kill at any instant loses nothing: files of `incoming/` go only after a generation names their shard.

        Raises:
            HcqError: the disk is full.
        """
        videos = self._shards.take_in_incoming()
        if (self.folder / LOGS).is_dir():  # of runs without the lock
            take_in_transcripts(self.folder, self.folder / LOGS)
        if self._moved:
            self._write_moved()
        self._shards.compact()
        self.refresh()
        # Of files that the store's own columns know by now.
        known = [path for path in self.hashes.records if any(True for _ in self.store.rows_with("path", path))]
        if known:
            for path in known:
                del self.hashes.records[path]
            self.hashes.rewrite()
        warnings, self._shards.warnings = self._shards.warnings, []
        return CompactionResult(videos, len(self._shards.entries()), warnings)

    def add_videos(self, videos: Iterable[VideoFeatures]) -> int:
        """Write a stream of videos straight into shards, in bounded memory; for importers.

        Returns:
            how many were written.
        """
        self.compact()  # else incoming files would override these, which are newer: shards count as older
        return self._append((VideoRecord.of(video) for video in videos), BULK_BYTES)

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

    def held(self, content_hash: str, without: Set[str]) -> dict[str, str]:
        """The experts, but those of `without`, that have results for a content, each with the identity of them."""
        others = {name: self.store.newest_results(name) for name in self.store.expert_names if name not in without}
        return {
            name: found.kinds[found.kind[row]].identity
            for row in self.store.rows_with("content", content_hash)
            for name, found in others.items()
            if found.kind[row] >= 0
        }

    def copy_results(self, videos: Sequence[tuple[VideoFacts, Mapping[str, str]]]) -> list[bool]:
        """Give files what other files with the same bytes have in the store; nothing is decoded.

        Args:
            videos: each file, with the experts wanted and the identity that each shall have.

        Returns:
            for each file whether there was anything for it.
        """
        store, rows, found = self.store, list[VideoRecord](), list[bool]()
        for facts, identities in videos:
            results = store.results_of_content(facts.content_hash, identities)
            found.append(bool(results))
            if not results:
                continue
            source = store.facts(next(iter(results.values())))
            decoded = {name: getattr(source, name) for name in DECODED_FACTS}
            known = replace(facts, **decoded)
            copied: dict[str, ExpertResult] = {}
            for expert, row in sorted(results.items()):
                copied |= store.results({expert: store.newest_results(expert)}, row)
            rows.append(VideoRecord(known, copied))
        if rows:
            self._append(rows)
        return found

    def _append(self, rows: Iterable[VideoRecord], max_bytes: int | None = None) -> int:
        written = self._shards.append(rows, max_bytes)
        self._shards.compact()
        self.refresh()
        return written

    def _write_moved(self) -> None:
        self._shards.take_in_incoming()  # shards count as older than incoming files, and a move is newer
        self.refresh()
        moved = [(self.store.facts_of(id), now) for id, now in self._moved.items()]
        self._shards.append(VideoRecord(replace(facts, **now)) for facts, now in moved if facts is not None)
        self._moved = {}


class SharedWriter(KnownVideos):
    """Answers as `FeatureWriter` does, while others do the same, on this machine or on others that see the folder.

    It takes no lock: what it finishes goes into `incoming/`, and what fails into logs of its own. The next
    `FeatureWriter` puts both where they belong.

        folder/logs/failures-2-of-3.jsonl   files that gave nothing to the second of three runs
        folder/logs/hashes-2-of-3.jsonl     content hashes that it found
        folder/logs/words-2-of-3.jsonl      what was said and shown in its videos

    Args:
        folder: the store; made if missing.
        name: of this run among those that share the store, as a part of file names.

    Raises:
        DamagedError: the store is damaged, or of a newer hcq.
        UsageError: the folder holds something else.
        HcqError: the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = Path(folder)
        make_folders(self.folder)
        (self.folder / LOGS).mkdir(exist_ok=True)
        files.remove_leftovers(self.folder / INCOMING)
        self.failures, self.hashes = (
            PathLog(self.folder / LOGS / f"{Path(log).stem}-{name}.jsonl", base=self.folder / log)
            for log in (FAILURES, HASHES)
        )
        self.refresh()

    def set_path(self, id: str, path: str) -> None:
        """That a finished video lies elsewhere is for the run with the lock to note; nothing is done here."""

    def compact(self) -> CompactionResult:
        """Put what is finished into shards, if nobody holds the lock, who does so."""
        with suppress(LockedError), FeatureWriter(self.folder) as whole:
            return whole.compact()
        return CompactionResult(0, 0)
