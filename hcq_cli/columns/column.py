"""A column: a value a row, any of which may be unknown (SQL's NULL)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hcq_cli.errors import near

Kind = Literal["number", "date", "flag", "text"]
"""Dates are seconds since 1970 (UTC)."""
UNKNOWN_FLAG = 2


@dataclass(frozen=True)
class Column:
    """The values of N rows.

    Args:
        kind: what they are.
        values: number, date: float64 [N], NaN where unknown; flag: uint8 [N], 0, 1 or `UNKNOWN_FLAG`; text: uint32
            [N], the place in `words`, or their number where unknown.
        words: the texts that occur, UTF-8, each once; those of a file are sorted by their bytes.
    """

    kind: Kind
    values: np.ndarray
    words: Sequence[bytes] = ()

    def __len__(self) -> int:
        """N, rows."""
        return len(self.values)

    def take(self, rows: np.ndarray) -> Column:
        """Some rows of it: places int64 [n], or bool [N]."""
        return Column(self.kind, self.values[rows], self.words)

    @property
    def known(self) -> np.ndarray:
        """Of which rows the value is known, bool [N]."""
        if self.kind == "text":
            return self.values < len(self.words)
        return self.values != UNKNOWN_FLAG if self.kind == "flag" else ~np.isnan(self.values)

    def value(self, row: int) -> float | bool | str | None:
        """One value as Python has it; None where unknown. Dates are seconds."""
        value = self.values[row]
        if self.kind == "text":
            return self.words[int(value)].decode("utf-8", "surrogateescape") if value < len(self.words) else None
        if self.kind == "flag":
            return None if value == UNKNOWN_FLAG else bool(value)
        return None if np.isnan(value) else float(value)


def unknown(kind: Kind, rows: int) -> Column:
    """A column of which nothing is known."""
    if kind == "text":
        return Column(kind, np.zeros(rows, np.uint32))
    if kind == "flag":
        return Column(kind, np.full(rows, UNKNOWN_FLAG, np.uint8))
    return Column(kind, np.full(rows, np.nan))


def text_column(texts: Iterable[str | None]) -> Column:
    """A column of texts, None where unknown."""
    places: dict[str, int] = {}
    found = [-1 if text is None else places.setdefault(text, len(places)) for text in texts]
    values = np.array(found, np.int64)
    values[values < 0] = len(places)
    return Column("text", values.astype(np.uint32), [text.encode("utf-8", "surrogateescape") for text in places])


def no_column(name: str, columns: Collection[str]) -> tuple[str, str]:
    """What to say of a column that is not there, and the hint: what may be meant, and what there is."""
    meant = f"did you mean {found}? " if (found := near(name, columns)) else ""
    there = f"columns are {', '.join(columns)}" if columns else "hcq index build makes them, of features"
    return f"there is no column {name!r}", f"{meant}{there}"
