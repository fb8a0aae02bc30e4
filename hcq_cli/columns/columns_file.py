"""A file of columns, N rows: one for each index segment, in the order of its rows, and one for the user's own table.

meta           columns: name -> kind, in the order of their numbers; and what else its writer notes
C.values       column C: uint64 [N], the bits of a float64 (number, date), uint8 [N] (flag) or uint32 [N] (text)
C.words, C.words_offsets   of a text column the texts that occur, sorted by their bytes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.codes.container import Container, ContainerWriter, SectionWriter
from hcq_cli.columns.column import UNKNOWN_FLAG, Column, Kind, unknown
from hcq_cli.errors import DamagedError
from hcq_cli.headers import decode
from hcq_cli.packed_strings import PackedStrings

FORMAT = "hcq-columns"
REMEDY = "hcq index build"
NO_WORD = np.uint32(2**32 - 1)
"""Stands for an unknown text until all texts are known."""
ROWS_AT_ONCE = 1 << 16
_STORED = {"number": "<u8", "date": "<u8", "flag": "|u1", "text": "<u4"}


class ColumnsWriter(ContainerWriter):
    """Streams columns.

    Texts take 4 bytes a row of memory, and each different one once; nothing else grows.

    Args:
        kinds: the columns by name.
        notes: what its meta shall say besides.
    """

    def __init__(self, path: Path, kinds: Mapping[str, Kind], notes: Mapping[str, Any] | None = None) -> None:
        self.kinds, self.rows = dict(kinds), 0
        super().__init__(path, FORMAT, {**(notes or {}), "columns": self.kinds})
        self._streamed: dict[str, SectionWriter] = {}
        self._places: dict[str, list[np.ndarray]] = {}
        self._words: dict[str, dict[bytes, int]] = {}

    def _begin(self) -> None:
        for number, (name, kind) in enumerate(self.kinds.items()):
            if kind == "text":
                self._places[name], self._words[name] = [np.empty(0, np.uint32)], {}
            else:
                self._streamed[name] = self.section(f"{number}.values", _STORED[kind])

    def append(self, columns: Mapping[str, Column], rows: int) -> None:
        """The next `rows` rows; a column that is not given is unknown in them.

        Raises:
            ValueError: a column has another kind or length.
        """
        for name, kind in self.kinds.items():
            column = columns.get(name) or unknown(kind, rows)
            if column.kind != kind or len(column) != rows:
                raise ValueError(f"{rows} rows of {kind} are wanted for {name}, not {len(column)} of {column.kind}")
            if kind == "text":
                self._append_texts(name, column)
            elif kind == "flag":
                self._streamed[name].write(column.values)
            else:
                self._streamed[name].write(np.ascontiguousarray(column.values, "<f8").view("<u8"))
        self.rows += rows

    def _append_texts(self, name: str, column: Column) -> None:
        known, words = self._words[name], column.words
        # Of a column that is a part of a longer one few of its words occur: only those are kept.
        used = np.unique(column.values[column.values < len(words)])
        numbers = np.full(len(words) + 1, NO_WORD)
        numbers[used] = [known.setdefault(words[at], len(known)) for at in used.tolist()]
        self._places[name].append(numbers[np.minimum(column.values, len(words))])

    def _end(self) -> None:
        for number, name in enumerate(self.kinds):
            if name in self._words:
                words = sorted(self._words[name])
                rank = np.full(len(words) + 1, len(words), np.uint32)  # the last one for what is unknown
                rank[[self._words[name][word] for word in words]] = np.arange(len(words), dtype=np.uint32)
                places = np.minimum(np.concatenate(self._places[name]), len(words))
                packed = PackedStrings.packed(words)
                self.add(f"{number}.values", rank[places], "<u4")
                self.add(f"{number}.words", packed.blob, "|u1")
                self.add(f"{number}.words_offsets", packed.offsets, "<u8")


@dataclass(frozen=True)
class _Meta:
    columns: dict[str, Kind] = field(default_factory=dict)


class _Words(Sequence[bytes]):
    """The texts of a column, read from the file when they are asked for."""

    def __init__(self, packed: PackedStrings) -> None:
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, at: int) -> bytes:  # type: ignore[override]
        if not 0 <= at < len(self):  # what a loop over it ends by
            raise IndexError(at)
        return self._packed.raw(at)


class ColumnsFile:
    """An open file of columns.

    Args:
        rows: N that it must have; None for any.
        digest: that whatever names it says it has; empty for any.

    Attributes:
        kinds: of its columns, by name.
        container: for what its writer added.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, foreign, or of another number of rows.
    """

    def __init__(self, path: Path, rows: int | None = None, digest: str = "") -> None:
        self.container, self.path = Container(path, FORMAT, REMEDY, digest), path
        self.kinds: dict[str, Kind] = decode(_Meta, self.container.meta, path, REMEDY).columns
        self._numbers = {name: number for number, name in enumerate(self.kinds)}
        for name, kind in self.kinds.items():
            values = self.container.map(f"{self._numbers[name]}.values", _STORED[kind])
            if rows is not None and len(values) != rows:
                raise DamagedError(f"{path}: {len(values)} rows of {name[:40]!a} in place of {rows}", REMEDY)

    def column(self, name: str) -> Column:
        """One of its columns, mapped. Raises KeyError, DamagedError."""
        number, kind = self._numbers[name], self.kinds[name]
        values = self.container.map(f"{number}.values", _STORED[kind])
        if kind == "flag":
            return Column(kind, np.minimum(values, UNKNOWN_FLAG))
        if kind != "text":
            return Column(kind, values.view("<f8"))
        blob = self.container.map(f"{number}.words", "|u1")
        offsets = self.container.map(f"{number}.words_offsets", "<u8")
        if not len(offsets):
            raise DamagedError(f"{self.path}: its texts make no sense", REMEDY)
        words = _Words(PackedStrings(blob, offsets, str(self.path)))
        # A damaged place would be one outside: it counts as unknown.
        return Column(kind, np.minimum(values, np.uint32(len(words))), words)

    def batches(self, living: np.ndarray) -> Iterator[tuple[dict[str, Column], int]]:
        """The rows that are alive, bool [N], some at a time, with their number."""
        columns = {name: self.column(name) for name in self.kinds}
        for start in range(0, len(living), ROWS_AT_ONCE):
            rows = start + np.flatnonzero(living[start : start + ROWS_AT_ONCE])
            yield {name: column.take(rows) for name, column in columns.items()}, len(rows)

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Check every byte. Raises DamagedError."""
        self.container.verify(progress)
