"""Which row counts: the newest of each id, and for each expert the newest that still fits it.

Shards are ordered oldest to newest. All their rows in that order are *slots*; a video of the store is a *row*,
made of one or more slots with the same id. A slot's features are valid while its content hash is that of the
row's newest slot. Everything here is whole-column arithmetic on 64-bit keys: no strings, at a million videos.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from experts.base import State
from hcq_cli.features.records import ExpertKey, ExpertResult, VideoFacts, state_number, text_key
from hcq_cli.features.shard import Shard


@dataclass(frozen=True)
class FeatureKind:
    """Features that may stand beside each other: one width, one identity."""

    dim: int
    identity: str


@dataclass(frozen=True)
class LatestResults:
    """The newest valid result of one expert for each of N rows.

    Args:
        slot: int64 [N], where it lies; -1 where there is none.
        state: uint8 [N], number of the state; 0 where there is none.
        kind: int32 [N], index into `kinds`; -1 where there is none.
        kinds: the kinds that occur in the store.
    """

    slot: NDArray[np.int64]
    state: NDArray[np.uint8]
    kind: NDArray[np.int32]
    kinds: list[FeatureKind]

    def only(self, kind: int) -> LatestResults:
        """The same with the results of every other kind left out."""
        other = self.kind != kind
        return LatestResults(
            slot=np.where(other, -1, self.slot),
            state=np.where(other, 0, self.state),
            kind=np.where(other, -1, self.kind),
            kinds=self.kinds,
        )

    def has(self, row: int, identity: str, *, failed_too: bool = True) -> bool:
        """Whether a row has a result of an identity; `failed_too`: also where the expert broke on its video."""
        if self.slot[row] < 0 or self.kinds[self.kind[row]].identity != identity:
            return False
        return failed_too or bool(self.state[row] != state_number(State.FAILED))


class Catalog(Sequence[str]):
    """The rows of a list of shards; as a sequence, their ids, read when asked for.

    Args:
        shards: oldest first.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = list(shards)
        self.starts = np.zeros(len(self.shards) + 1, np.int64)
        np.cumsum([shard.videos for shard in self.shards], out=self.starts[1:])
        keys = self.column("videos/key")
        # Stable: among the slots of one id the order stays that of their age.
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        first = np.ones(len(keys), bool)
        first[1:] = ordered[1:] != ordered[:-1]
        begins = np.flatnonzero(first)
        ends = np.append(begins, len(keys))[1:]
        oldest, newest = order[begins], order[ends - 1]
        # Rows are numbered by where an id was first seen, so that adding an expert does not shuffle them.
        row_order = np.argsort(oldest)
        row_of_group = np.empty(len(begins), np.int64)
        row_of_group[row_order] = np.arange(len(begins))
        self.newest: NDArray[np.int64] = newest[row_order]
        self.row_of_slot = np.empty(len(keys), np.int64)
        self.row_of_slot[order] = np.repeat(row_of_group, ends - begins)
        self._keys, self._row_of_key = ordered[begins], row_of_group
        self._latest: dict[str, LatestResults] = {}
        self._sorted_rows: dict[str, tuple[NDArray[np.uint64], NDArray[np.int64]]] = {}

    def column(self, name: str) -> NDArray[Any]:
        """A video column over all slots."""
        columns = [shard.column(name) for shard in self.shards]
        return np.concatenate(columns) if columns else np.zeros(0, np.uint64)

    def __len__(self) -> int:
        """Rows: one a video, however often it was written."""
        return len(self.newest)

    # One video

    def _place(self, slot: int) -> tuple[Shard, int]:
        """The shard a slot is in, and its place there."""
        at = int(self.starts.searchsorted(slot, "right")) - 1
        return self.shards[at], slot - int(self.starts[at])

    def facts(self, row: int) -> VideoFacts:
        """What is known of the video of `row`."""
        shard, at = self._place(int(self.newest[row]))
        return shard.facts(at)

    def facts_of(self, id: str) -> VideoFacts | None:
        """What is known of the video of an id; None if there is none."""
        row = self.row(id)
        return None if row is None else self.facts(row)

    def paths(self) -> Iterator[str]:
        """Where the video of each row lay, in their order."""
        for slot in self.newest.tolist():
            shard, at = self._place(slot)
            yield shard.text("videos/path")[at]

    def __getitem__(self, at: Any) -> Any:
        """The id of a row, or those of a slice."""
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        shard, place = self._place(int(self.newest[at]))
        return shard.text("videos/id")[place]

    def __iter__(self) -> Iterator[str]:
        # The shards of some thousand rows are found in one call of NumPy, instead of a call a row.
        for begin in range(0, len(self), 4096):
            slots = self.newest[begin : begin + 4096]
            owners = np.searchsorted(self.starts, slots, "right") - 1
            for owner, place in zip(owners.tolist(), (slots - self.starts[owners]).tolist(), strict=True):
                yield self.shards[owner].text("videos/id")[place]

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.row(id) is not None

    def row(self, id: str) -> int | None:
        """The row of an id; None if the store lacks it."""
        key = np.uint64(text_key(id))
        at = int(self._keys.searchsorted(key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        row = int(self._row_of_key[at])
        return row if self[row] == id else None

    def rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """The rows of n ids, int64 [n], by their keys alone; -1 where the store lacks one."""
        keys = np.fromiter(map(text_key, ids), np.uint64)
        at = np.minimum(self._keys.searchsorted(keys), max(len(self._keys) - 1, 0))
        if not len(self._keys):
            return np.full(len(keys), -1, np.int64)
        return np.where(self._keys[at] == keys, self._row_of_key[at], -1)

    def rows_with(self, column: Literal["path", "content"], text: str) -> Iterator[int]:
        """The rows whose file lay at a path when last seen, or has the content of a hash."""
        if column not in self._sorted_rows:  # sorted when first asked for: reading a store needs neither
            of_rows = self.column(f"videos/{column}_key")[self.newest]
            order = np.argsort(of_rows, kind="stable")
            self._sorted_rows[column] = of_rows[order], order
        keys, rows = self._sorted_rows[column]
        key = np.uint64(text_key(text))
        # By the key, and then compared: two texts may share one.
        for row in rows[keys.searchsorted(key) : keys.searchsorted(key, "right")].tolist():
            shard, place = self._place(int(self.newest[row]))
            if shard.text(f"videos/{column}")[place] == text:
                yield row

    # Results of experts

    @cached_property
    def expert_names(self) -> list[str]:
        """Names of all experts, sorted."""
        return sorted({key.expert for shard in self.shards for key in shard.experts})

    @cached_property
    def _valid(self) -> NDArray[np.bool_]:
        """[slots] Whether the content is still that of the row: features of other bytes are void."""
        content = self.column("videos/content_key")
        return content == content[self.newest[self.row_of_slot]]

    def newest_results(self, expert: str) -> LatestResults:
        """The newest valid result of `expert` for every row, whatever its identity."""
        if expert in self._latest:
            return self._latest[expert]
        slot, state = np.full(len(self), -1, np.int64), np.zeros(len(self), np.uint8)
        kind, kinds = np.full(len(self), -1, np.int32), dict[FeatureKind, int]()
        # Oldest first: a newer result is assigned over an older one.
        for at, shard in enumerate(self.shards):
            begin, end = int(self.starts[at]), int(self.starts[at + 1])
            for key in (key for key in shard.experts if key.expert == expert):
                states = shard.column(f"{key.prefix}state")
                here = np.flatnonzero((states != 0) & self._valid[begin:end])
                rows = self.row_of_slot[begin + here]
                identities = shard.text(f"{key.prefix}identities")
                numbers = [kinds.setdefault(FeatureKind(key.dim, name), len(kinds)) for name in identities]
                slot[rows], state[rows] = begin + here, states[here]
                kind[rows] = np.array(numbers, np.int32)[shard.column(f"{key.prefix}identity")[here]]
        self._latest[expert] = LatestResults(slot, state, kind, list(kinds))
        return self._latest[expert]

    def finished(self, identities: Mapping[str, str], *, failed_too: bool) -> NDArray[np.bool_]:
        """Which rows have a valid result of every one of these experts, bool [N].

        Args:
            identities: what the features of each expert shall depend on.
            failed_too: whether it is a result, too, that the expert broke.
        """
        done = np.ones(len(self), bool)
        for expert, wanted in identities.items():
            latest = self.newest_results(expert)
            right = [number for number, kind in enumerate(latest.kinds) if kind.identity == wanted]
            done &= np.isin(latest.kind, right)
            if not failed_too:
                done &= latest.state != state_number(State.FAILED)
        return done

    def results(self, latest: Mapping[str, LatestResults], row: int) -> dict[str, ExpertResult]:
        """What experts found in the video of `row`, of those of the latest results, by expert, that it has."""
        found = {}
        for expert, every in latest.items():
            if every.slot[row] >= 0:
                shard, at = self._place(int(every.slot[row]))
                found[expert] = shard.result(ExpertKey(expert, every.kinds[every.kind[row]].dim), at)
        return found

    def results_of_content(
        self, content_hash: str, identities: Mapping[str, str], *, failed_too: bool = True
    ) -> dict[str, int]:
        """Where there are results for a content: files with the same bytes have the same features.

        Args:
            content_hash: of the file.
            identities: what the features of each expert wanted shall depend on.
            failed_too: whether it is a result, too, that the expert broke.

        Returns:
            by the name of each of these experts for which there is a result, a row that has it.
        """
        found: dict[str, int] = {}
        for row in self.rows_with("content", content_hash):
            for expert, wanted in identities.items():
                if self.newest_results(expert).has(row, wanted, failed_too=failed_too):
                    found.setdefault(expert, row)
        return found
