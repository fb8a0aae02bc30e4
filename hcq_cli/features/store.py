"""The feature store: a read-only snapshot that opens at once and hands out random batches, every byte checked.

    folder/
      manifest-00000007.json   names the shards, oldest first, with their lengths and SHA-256 (folder.py)
      shards/*.h5              immutable HDF5 files of up to 4,096 videos, in columns (shard.py)
      incoming/*.h5            videos finished since, one file each, of the same format (folder.py)
      set-aside/               damaged files that were taken out (verification.py)
      failures.jsonl           files that gave nothing (failures.py)
      words.jsonl              what was said and what was written on screen, for people (transcripts.py)
      hashes.jsonl             content hashes of files that are not finished yet (failures.py)
      logs/                    the last two, of runs that share the store (writer.py)
      writer.lock              held by the one writer (writer.py)

Rows are never changed. A newer row of an id overrides an older one (catalog.py says which counts); a row may carry
only some experts, and then the others are taken from older rows of the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.features.catalog import Catalog, LatestResults
from hcq_cli.features.failures import FAILURES, FailureRecord, PathLog
from hcq_cli.features.folder import (
    entries_of,
    generations,
    list_incoming,
    need_folders,
    open_incoming,
    open_shards,
)
from hcq_cli.features.open_files import OpenFiles
from hcq_cli.features.records import STATES, ExpertInfo, ExpertKey, Ragged, VideoRecord, as_bytes, text_key
from hcq_cli.features.shard import Shard
from hcq_cli.features.stored_tokens import StoredRagged, stored_tokens
from hcq_cli.features.transcripts import Transcript, read_transcripts
from hcq_cli.generations import Manifest

_ATTEMPTS = 20


class FeatureStore(Catalog):
    """A snapshot; use `FeatureStore.open`. Rows are numbered 0..N-1 and stay so for the life of the snapshot.

    Args:
        folder: the store.
        manifest: the generation it shows.
        shards: its shards and then its incoming files, oldest first.
        incoming: how many of these are incoming files.
        warnings: what was left out, and why, for people.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, shards: Sequence[Shard], incoming: int, warnings: list[str]
    ) -> None:
        self.folder, self.manifest, self.incoming = folder, manifest, incoming
        super().__init__(shards)
        self._warnings = warnings
        self._current: dict[str, LatestResults] = {}

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """The newest generation of the store at `folder`, and what has been finished since.

        Raises:
            NotFoundError: there is no store.
            DamagedError: it is damaged, foreign, or of a newer hcq.
        """
        store = cls.snapshot(Path(folder))
        if store.manifest.generation == 0 and not store.incoming:
            raise NotFoundError(f"{folder}: no features there", "hcq extract VIDEOS")
        # What every batch needs of small columns is read now: the first batch then comes as quickly as the others.
        for shard in store.shards:
            for key in shard.experts:
                shard.token_columns(key)
        _ = store.experts
        return store

    @classmethod
    def snapshot(cls, folder: Path) -> FeatureStore:
        """Like `open`; empty where there is no store yet."""
        manifests = generations(folder)
        for _ in range(_ATTEMPTS):  # a writer may put incoming files into shards between the two listings: look again
            open_files = OpenFiles()
            need_folders(folder)
            manifest = manifests.read()
            with suppress(FileNotFoundError):
                incoming, damaged = open_incoming(list_incoming(folder), open_files)
                # Incoming files were listed after the manifest was read. If it is the newest still, none of them has
                # gone into a newer shard meanwhile: no video is missing, and none is there twice.
                if manifests.numbers()[-1:] != ([manifest.generation] if manifest.generation else []):
                    continue
                entries = entries_of(manifest, folder)
                shards = open_shards(folder, entries, generation=manifest.generation, open_files=open_files)
                warnings = [f"{error.message}; its video will be extracted again" for _, error in damaged]
                return cls(folder, manifest, [*shards, *incoming], len(incoming), warnings)
        raise HcqError(f"{folder}: changes faster than it can be read", "run it again")

    # Videos

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all rows, in row order; nothing is read until asked for."""
        return self

    def video(self, row: int) -> VideoRecord:
        """Everything known of one video; its features are read when they are asked for."""
        results = self.results({name: self.latest(name) for name in self.experts}, row)
        return VideoRecord(self.facts(row), results)

    def transcripts(self, row: int) -> dict[str, Transcript]:
        """What was said or shown in a video, by expert: its second and its text."""
        return read_transcripts(self.folder, self.facts(row).content_hash)

    def failures(self) -> list[FailureRecord]:
        """The files that gave nothing, and why."""
        return list(PathLog(self.folder / FAILURES).records.values())

    # Experts

    def latest(self, expert: str) -> LatestResults:
        """The results of `expert` that are handed out: those of its current identity.

        Features of different identities (another network, another sampling) must not be mixed. The current one
        is that which most videos have, of equals the one seen last.
        """
        if expert not in self._current:
            every = self.newest_results(expert)
            counts = np.bincount(every.kind[every.kind >= 0], minlength=len(every.kinds))
            if np.count_nonzero(counts) > 1:
                # argmax finds the first of equals; backwards that is the last.
                every = every.only(len(counts) - 1 - int(np.argmax(counts[::-1])))
            self._current[expert] = every
        return self._current[expert]

    @cached_property
    def experts(self) -> dict[str, ExpertInfo]:
        """Every expert of the store, by name."""
        found = {}
        for name in self.expert_names:
            latest = self.latest(name)
            videos = int(np.count_nonzero(latest.state))
            if videos:
                kind = latest.kinds[latest.kind.max()]  # the only one that is left
                everywhere = int(np.count_nonzero(self.newest_results(name).state))
                found[name] = ExpertInfo(name, kind.dim, kind.identity, videos=videos, left_out=everywhere - videos)
        return found

    @property
    def warnings(self) -> list[str]:
        """What is left out, and why, for people."""
        mixed = [
            f"{e.name}: {e.left_out} of {e.left_out + e.videos} videos have features of another version or sampling "
            "and are left out; hcq extract makes them anew"
            for e in self.experts.values()
            if e.left_out
        ]
        return [*self._warnings, *mixed]

    def states(self) -> dict[str, dict[str, int]]:
        """How many videos have each state, by expert and state; states that do not occur are 0."""
        return {name: _count_states(self.latest(name).state) for name in self.experts}

    def states_of(self, ids: Iterable[str], experts: Sequence[str]) -> dict[str, dict[str, int]]:
        """Like `states`, of some videos and experts, whatever the identity of the features is.

        Args:
            ids: those that the store lacks are passed over.
            experts: by name.
        """
        rows = self.rows(ids)
        rows = rows[rows >= 0]
        return {name: _count_states(self.newest_results(name).state[rows]) for name in experts}

    @cached_property
    def digest(self) -> str:
        """What says whether codes were made of these very features, as hex: of which videos, where their files lie,
        of what content and identity; in whatever shards and order they are."""
        state = hashlib.blake2b(digest_size=16)
        rows = np.argsort(self.column("videos/key")[self.newest])
        for name in ("key", "path_key", "content_key"):
            state.update(self.column(f"videos/{name}")[self.newest][rows].astype("<u8").tobytes())
        for name in self.experts:
            latest = self.latest(name)
            kinds = np.array([text_key(f"{name} {kind.dim} {kind.identity}") for kind in latest.kinds], np.uint64)
            held = np.where(latest.kind >= 0, kinds[latest.kind], np.uint64(0))
            state.update(held[rows].astype("<u8").tobytes() + latest.state[rows].tobytes())
        return state.hexdigest()

    # Features

    def read(self, rows: ArrayLike, experts: Sequence[str] | None = None) -> dict[str, Ragged]:
        """The tokens of some videos, every one checked against its checksum.

        Args:
            rows: int [B], any order, repeats allowed.
            experts: which; all by default.

        Returns:
            for each expert the tokens of the B videos; none where a video lacks the expert.

        Raises:
            DamagedError: names the file and the video that are damaged.
            KeyError: the store has no such expert.
        """
        wanted = np.asarray(rows, np.int64).reshape(-1)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"rows {wanted.min()}..{wanted.max()} of {len(self)}")
        names = list(self.experts if experts is None else experts)
        runs = {name: self._runs(name, wanted) for name in names}
        # The system is told of all runs before the first is read: a batch waits for the disk once.
        for run in (run for name in names for run in runs[name]):
            run.shard.prefetch(run.key, run.first, run.last)
        return {name: self._read_expert(name, len(wanted), runs[name]) for name in names}

    def stored(self, rows: NDArray[np.int64], experts: Sequence[str]) -> dict[str, StoredRagged]:
        """As `read`, but for films: their features are checked, and read when rows of them are asked for."""
        found = {}
        for name in experts:
            places: list[tuple[Shard, ExpertKey, int] | None] = [None] * len(rows)
            for at, shard, key, first, last in self._runs(name, rows):
                places[at : at + last - first] = [(shard, key, number) for number in range(first, last)]
            found[name] = stored_tokens(places, self.experts[name].dim)
        return found

    def counts(self, expert: str, rows: ArrayLike) -> NDArray[np.int64]:
        """How many tokens of `expert` each of the rows [B] has, int64 [B]; no features are read."""
        wanted = np.asarray(rows, np.int64).reshape(-1)
        return _counts(len(wanted), self._runs(expert, wanted))

    def _runs(self, name: str, rows: NDArray[np.int64]) -> list[TokenRun]:
        """What can be read in one go of the tokens of `rows` [B]; without videos that lack the expert."""
        key, slots = ExpertKey(name, self.experts[name].dim), self.latest(name).slot[rows]
        # A run ends where the next slot is not the neighbour, or lies in another shard.
        owner = np.searchsorted(self.starts, slots, "right") - 1
        breaks = np.flatnonzero((np.diff(slots) != 1) | (np.diff(owner) != 0)) + 1
        begins = np.append(0, breaks) if len(slots) else breaks
        places = slots[begins] - self.starts[owner[begins]]
        lengths = np.diff(np.append(begins, len(slots)))
        runs = zip(begins.tolist(), owner[begins].tolist(), places.tolist(), lengths.tolist(), strict=True)
        # An owner of -1: the video lacks the expert.
        return [TokenRun(at, self.shards[own], key, first, first + n) for at, own, first, n in runs if own >= 0]

    def _read_expert(self, name: str, videos: int, runs: Sequence[TokenRun]) -> Ragged:
        dim = self.experts[name].dim
        offsets = np.append(0, np.cumsum(_counts(videos, runs)))
        features, times = np.empty((offsets[-1], dim), np.float32), np.empty(offsets[-1], np.float32)
        # Read straight into the batch, through views of its bytes: nothing is copied.
        feature_bytes, time_bytes, starts = as_bytes(features), as_bytes(times), offsets.tolist()
        for at, shard, key, first, last in runs:
            a, b = starts[at], starts[at + last - first]
            shard.read_tokens(key, first, last, feature_bytes[4 * dim * a : 4 * dim * b], time_bytes[4 * a : 4 * b])
        return Ragged(features, times, offsets)


class TokenRun(NamedTuple):
    """Videos of a batch whose tokens lie side by side.

    Args:
        at: where the first of them is in the batch.
        shard, key: where they lie.
        first, last: which videos of the shard they are.
    """

    at: int
    shard: Shard
    key: ExpertKey
    first: int
    last: int


def _counts(videos: int, runs: Sequence[TokenRun]) -> NDArray[np.int64]:
    """[videos] The tokens of each, by the runs that hold them."""
    counted = np.zeros(videos, np.int64)
    for at, shard, key, first, last in runs:
        offsets = shard.token_columns(key).offsets
        counted[at : at + last - first] = offsets[first + 1 : last + 1] - offsets[first:last]
    return counted


def _count_states(numbers: NDArray[np.uint8]) -> dict[str, int]:
    counts = np.bincount(numbers, minlength=len(STATES) + 1)
    return {str(state): int(counts[number]) for number, state in enumerate(STATES, 1)}
