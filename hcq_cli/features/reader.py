"""A read-only snapshot of a feature store: opens at once, hands out random batches, believes no unchecked byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcq_cli.errors import DamagedError, HcqError, NotFoundError
from hcq_cli.features.catalog import Catalog, Ids, Latest
from hcq_cli.features.columns import raw
from hcq_cli.features.frame import MEND
from hcq_cli.features.handles import Handles
from hcq_cli.features.incoming import list_incoming, open_incoming
from hcq_cli.features.journal import Failure, read_failures
from hcq_cli.features.records import STATES, ExpertInfo, Ragged, VideoRecord
from hcq_cli.features.shard import Shard
from hcq_cli.features.strip import Part, Stretch
from hcq_cli.features.words import read_words
from hcq_cli.files import Generations, Manifest

FORMAT, VERSION = "hcq-features", 1
SHARDS = "shards"


def generations(folder: Path) -> Generations:
    """The manifests of a feature store."""
    return Generations(folder, FORMAT, VERSION, MEND)


def open_shards(folder: Path, manifest: Manifest, handles: Handles) -> list[Shard]:
    """The shards that a manifest names, oldest first.

    Raises:
        DamagedError: one is missing, damaged, or of a newer version.
        FileNotFoundError: the manifest is no longer the newest and its shard is gone; read it again.
    """
    shards = []
    for entry in manifest.body.get("shards", []):
        path = folder / SHARDS / entry["name"]
        try:
            shard = Shard(path, handles)
        except FileNotFoundError:
            if generations(folder).numbers()[-1:] != [manifest.generation]:
                raise
            raise DamagedError(f"{path}: is missing", MEND) from None
        if shard.nbytes != entry["bytes"] or shard.videos != entry["videos"]:
            raise DamagedError(f"{path}: is not the file that the manifest names", MEND)
        shards.append(shard)
    return shards


class FeatureStore:
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
        self.catalog = Catalog(shards)
        self._warnings = warnings
        self._current: dict[str, tuple[int, Latest]] = {}

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
        store.warm_up()
        return store

    def warm_up(self) -> None:
        """Read the small columns that every batch needs, so that the first batch comes as quickly as the others."""
        for shard in self.catalog.shards:
            for part in shard.parts:
                shard.strip(part)
        _ = self.experts

    @classmethod
    def snapshot(cls, folder: Path) -> FeatureStore:
        """Like `open`; empty where there is no store yet."""
        known = generations(folder)
        for _ in range(20):  # a writer may fold between the two listings: look again
            handles = Handles()
            manifest = known.read()
            with suppress(FileNotFoundError):
                paths = list_incoming(folder)
                incoming, damaged = open_incoming(paths, handles)
                if known.numbers()[-1:] != ([manifest.generation] if manifest.generation else []):
                    continue
                shards = open_shards(folder, manifest, handles)
                warnings = [f"{error.message}; its video will be extracted again" for _, error in damaged]
                return cls(folder, manifest, [*shards, *incoming], len(incoming), warnings)
        raise HcqError(f"{folder}: changes faster than it can be read", "run it again")

    def __len__(self) -> int:
        """How many videos, one a row."""
        return len(self.catalog)

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all rows, in row order; nothing is read until asked for."""
        return Ids(self.catalog)

    def failures(self) -> list[Failure]:
        """The files that gave nothing, and why."""
        return read_failures(self.folder)

    def words(self, row: int) -> dict[str, list[tuple[float, str]]]:
        """What was said or shown in a video, by expert: its second and its text."""
        return read_words(self.folder, self.video(row).content_hash)

    def row(self, id: str) -> int | None:
        """The row of a video; None if it is not in the store."""
        return self.catalog.row(id)

    def latest(self, expert: str) -> Latest:
        """The results of `expert` that are handed out: those of its current identity.

        Features of different identities (another network, another sampling) must not be mixed. The current one
        is that which most videos have, of equals the one seen last.
        """
        return self._resolved(expert)[1]

    def _resolved(self, expert: str) -> tuple[int, Latest]:
        if expert not in self._current:
            every = self.catalog.latest(expert)
            counts = np.bincount(every.kind[every.kind >= 0], minlength=len(every.kinds))
            current = len(counts) - 1 - int(np.argmax(counts[::-1])) if len(counts) else -1
            single = np.count_nonzero(counts) <= 1
            self._current[expert] = (current, every if single else every.only(current))
        return self._current[expert]

    @cached_property
    def experts(self) -> dict[str, ExpertInfo]:
        """Every expert of the store, by name."""
        found = {}
        for name in self.catalog.experts:
            every = self.catalog.latest(name)
            current, latest = self._resolved(name)
            videos, everywhere = np.count_nonzero(latest.state), np.count_nonzero(every.state)
            if everywhere:
                kind = every.kinds[current]
                found[name] = ExpertInfo(name, kind.dim, kind.identity, int(videos), int(everywhere - videos))
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
        rows = np.array([row for row in map(self.row, ids) if row is not None], np.int64)
        return {name: _count_states(self.catalog.latest(name).state[rows]) for name in experts}

    def video(self, row: int) -> VideoRecord:
        """Everything known of one video but its features."""
        states, tokens, identities = {}, {}, {}
        for name in self.experts:
            latest = self.latest(name)
            if latest.state[row]:
                shard, at, part = self.catalog.part(name, latest, row)
                offsets = shard.column(f"{part.prefix}offsets")
                states[name] = STATES[latest.state[row] - 1]
                tokens[name] = int(offsets[at + 1] - offsets[at])
                identities[name] = latest.kinds[latest.kind[row]].identity
        facts = self.catalog.facts(row)
        return VideoRecord(**vars(facts), states=states, tokens=tokens, identities=identities)

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
        stretches = {name: list(self._stretches(name, self.latest(name).slot[wanted])) for name in names}
        for stretch in (stretch for name in names for _, stretch in stretches[name]):
            if stretch.end > stretch.begin:
                stretch.strip.expect(stretch.begin, stretch.end)
        return {name: self._read_expert(name, len(wanted), stretches[name]) for name in names}

    def counts(self, expert: str, rows: ArrayLike) -> NDArray[np.int64]:
        """How many tokens of `expert` each of the rows [B] has; no features are read."""
        wanted = np.asarray(rows, np.int64).reshape(-1)
        return _counts(len(wanted), self._stretches(expert, self.latest(expert).slot[wanted]))

    def _stretches(self, name: str, slots: NDArray[np.int64]) -> Iterator[tuple[int, Stretch]]:
        """The runs of `slots` that can be read in one go, each with where it begins in `slots`."""
        part = Part(name, self.experts[name].dim)
        owner = np.searchsorted(self.catalog.starts, slots, "right") - 1
        breaks = np.flatnonzero((np.diff(slots) != 1) | (np.diff(owner) != 0)) + 1
        begins = np.append(0, breaks) if len(slots) else breaks
        places = slots[begins] - self.catalog.starts[owner[begins]]
        lengths = np.diff(np.append(begins, len(slots)))
        runs = zip(begins.tolist(), owner[begins].tolist(), places.tolist(), lengths.tolist(), strict=True)
        for begin, number, place, length in runs:
            if number >= 0:
                yield begin, self.catalog.shards[number].strip(part).stretch(place, place + length)

    def _read_expert(self, name: str, videos: int, stretches: Sequence[tuple[int, Stretch]]) -> Ragged:
        dim = self.experts[name].dim
        offsets = np.append(0, np.cumsum(_counts(videos, stretches)))
        features, times = np.empty((offsets[-1], dim), np.float32), np.empty(offsets[-1], np.float32)
        rows, seconds, starts = raw(features), raw(times), offsets.tolist()
        for at, stretch in stretches:
            a = starts[at]
            b = a + stretch.end - stretch.begin
            stretch.strip.read(stretch, rows[4 * dim * a : 4 * dim * b], seconds[4 * a : 4 * b])
        return Ragged(features, times, offsets)


def _counts(videos: int, stretches: Iterable[tuple[int, Stretch]]) -> NDArray[np.int64]:
    """[videos] The tokens of each, by the stretches that hold them."""
    counted = np.zeros(videos, np.int64)
    for at, (strip, first, last, begin, end) in stretches:
        counted[at : at + last - first] = end - begin if last == first + 1 else strip.counts(first, last)
    return counted


def _count_states(numbers: NDArray[np.uint8]) -> dict[str, int]:
    counts = np.bincount(numbers, minlength=len(STATES) + 1)
    return {str(state): int(counts[number]) for number, state in enumerate(STATES, 1)}
