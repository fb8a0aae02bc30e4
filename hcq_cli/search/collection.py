"""What can be searched: an index, or a code file as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from hcq_cli.codes.codefile import CodeFile, CodeHeader, open_codes
from hcq_cli.codes.ids import find_segments
from hcq_cli.codes.strings import PackedStrings
from hcq_cli.scan.blocks import CodeSource, RowMajorCodes
from hcq_cli.search.ivf import InvertedLists


class SearchableCodes(Protocol):
    """Something to search: an `Index`, or a code file as it is."""

    path: Path
    header: CodeHeader
    codebooks: np.ndarray
    scale: np.ndarray
    ivf: InvertedLists | None

    @property
    def videos(self) -> int:
        """How many a search can find."""
        ...

    @property
    def checkpoints(self) -> list[Path]:
        """Where its model may lie, the likeliest first."""
        ...

    @property
    def text_encoder_file(self) -> Path | None:
        """The file of its model's text side, if it has one."""
        ...

    def sources(self) -> Sequence[CodeSource]:
        """Its codes, for the scan."""
        ...

    def name(self, row: int) -> tuple[str, str]:
        """Id and path of a row."""
        ...

    def codes(self, row: int) -> np.ndarray:
        """Codes uint8 [S] of a row."""
        ...

    def rows_of(self, item_id: str) -> list[int]:
        """The rows of a video, of a stretch of one or of a caption; of a video in stretches all of them."""
        ...

    def names(self) -> Iterable[PackedStrings]:
        """All ids, some at a time."""
        ...


class SearchableCodeFile:
    """A code file searched without an index.

    Args:
        path: of the code file.

    Raises:
        NotFoundError, DamagedError: it is missing or damaged.
    """

    ivf: InvertedLists | None = None

    def __init__(self, path: Path) -> None:
        self._file: CodeFile = open_codes(path)
        self.path, self.header = path, self._file.header
        self.codebooks, self.scale = self._file.codebooks, self._file.scale

    @property
    def videos(self) -> int:
        """How many a search can find."""
        return len(self._file)

    @property
    def checkpoints(self) -> list[Path]:
        """Where its model may lie."""
        return self._file.checkpoints

    text_encoder_file = None

    def sources(self) -> list[RowMajorCodes]:
        """Its codes, for the scan."""
        return [RowMajorCodes(self._file.codes)]

    def name(self, row: int) -> tuple[str, str]:
        """Id and path of a row."""
        return self._file.ids[row], self._file.paths[row]

    def codes(self, row: int) -> np.ndarray:
        """Codes uint8 [S] of a row."""
        return self._file.codes[row]

    def rows_of(self, item_id: str) -> list[int]:
        """The last row of an id, or all stretches of a video; reads all ids."""
        row = self._file.ids.find(item_id)
        if row is not None:
            return [row]
        rows, videos = find_segments(self._file.ids)
        return [row for row, video in zip(rows.tolist(), videos, strict=True) if video == item_id]

    def names(self) -> list[PackedStrings]:
        """All ids."""
        return [self._file.ids]
