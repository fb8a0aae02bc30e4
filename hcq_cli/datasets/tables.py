"""Tables of captions: CSV with commas, semicolons or bars, and tab-separated files, with or without quoting.

A text that begins with a quotation mark is where tables go wrong: in a file written without quoting rules, as MSVD's
and many exporters', the csv module takes all lines up to the next quotation mark for one text, and says nothing.
Here a quoted text may hold line breaks, but must end where a field can end, within `FIELD_LINES`, and no line of it
may look like a row; a tab-separated line that is whole without quoting is read without. What fits neither costs one
line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, TextIO

from hcq_cli.datasets.rows import CAPTION_KEYS, CaptionRow, Problem, interpret, plain_key

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
"""Of two that a header has equally often, the first."""
MSVD = {"videoid", "start", "end", "workerid", "language", "description"}
"""Columns of MSVD's table, whose videos are stretches of others."""
NUMBERED = re.compile(rf"({'|'.join(CAPTION_KEYS)})_?\d+")
"""Columns of several captions a video, as Clotho's `caption_1` to `caption_5`."""
EXCEL = re.compile(r"sep=.")
"""A first line for Excel alone: what separates the fields."""
FIELD_LINES = 30
"""A quoted text of more lines is taken for one whose quotation mark was never meant to open it."""
FIELD_CHARACTERS = 1 << 17
"""As many characters as the csv module takes in a field."""


def columns_of(header: str) -> tuple[str, list[str]]:
    """What separates the fields of a table, and the names of its columns as `plain_key` writes them.

    Raises:
        csv.Error: the line is no header.
    """
    # Counted, not sniffed: `csv.Sniffer` guesses from whole rows, and captions are full of commas.
    separator = max(SEPARATORS, key=header.count)
    names = next(csv.reader([header], delimiter=separator), [])
    names = [NUMBERED.sub(r"\1", plain_key(name)) for name in names]
    if "contenturl" in names:  # WebVid's captions are called names
        names = ["caption" if name == "name" else name for name in names]
    return separator, names


def read_table(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of a table with a header; read as a stream, at most a row and `FIELD_LINES` lines at a time."""
    # Bytes that are no UTF-8 become surrogates, which `_row` finds again; newline="" because a quoted field may hold
    # line breaks, which are part of it.
    with path.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="") as source:
        begin, header = 1, source.readline()
        while not header.strip() or EXCEL.fullmatch(header.strip()):
            begin, header = begin + 1, source.readline()
        separator, names = columns_of(header)
        width = len(names)
        columns: dict[str, list[int]] = {}
        for at, name in enumerate(names):
            columns.setdefault(name, []).append(at)
        for line, cells in _TableLines(source, separator, width, begin).rows():
            if isinstance(cells, Problem):
                yield cells
            elif len(cells) > width and any(cells[width:]):
                held = SEPARATORS[separator]
                message = f"has {len(cells)} fields where the header has {width}: quote texts that hold {held}"
                yield Problem(line, message)
            elif cells and (row := _row(cells, columns, line)):
                yield row


def _row(cells: list[str], columns: dict[str, list[int]], line: int) -> CaptionRow | Problem | None:
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return Problem(line, "is not UTF-8: save the file as UTF-8")
    # Of two columns of a name the first counts, but for captions.
    row: dict[str, Any] = {name: cells[at[0]] for name, at in columns.items() if at[0] < len(cells)}
    for name, places in columns.items():
        if name in CAPTION_KEYS and len(places) > 1:
            row[name] = [cells[at] for at in places if at < len(cells) and cells[at].strip()] or [""]
    if row.keys() >= MSVD:
        if row["language"] != "English":
            return None
        row["video"] = f"{row['videoid']}_{row['start']}_{row['end']}"
    return interpret({name: value for name, value in row.items() if value or name in CAPTION_KEYS}, line)


class _TableLines:
    """The lines of a table after its header, of which a row may take several.

    Args:
        source: stands after the header.
        separator: between fields.
        width: how many columns the header has.
        line: the header's number.
    """

    def __init__(self, source: TextIO, separator: str, width: int, line: int) -> None:
        self.source, self.separator, self.width, self.line = source, separator, width, line
        self.ahead: deque[str] = deque()

    def rows(self) -> Iterator[tuple[int, list[str] | Problem]]:
        """Each row's cells, or what is wrong with it, with the line it begins on."""
        while line := self.ahead.popleft() if self.ahead else self.source.readline():
            self.line += 1
            begin, cells = self.line, self._parsed(line)
            if self.separator == "\t" and (cells is None or len(cells) != self.width):
                cells = self._without_quoting(line, cells)
            yield begin, self._over_lines(line) if cells is None else cells

    def _parsed(self, text: str) -> list[str] | None:
        """The cells of a text by the rules of quoting; None where a quoted field does not end, or ends in a text."""
        try:
            return next(csv.reader([text], delimiter=self.separator, strict=True), [])
        except csv.Error:
            return None

    def _without_quoting(self, line: str, cells: list[str] | None) -> list[str] | None:
        """A tab-separated line cut at its tabs, where that makes a row and the next line does not go on with this."""
        cut, following = self._cut(line), self._peek(0)
        apart = cells is not None or not following or following.count("\t") == self.width - 1
        return cut if cut is not None and apart else cells

    def _cut(self, line: str) -> list[str] | None:
        """A line cut at every separator; None where that gives another number of fields than the header has."""
        cut = line.rstrip("\r\n").split(self.separator)
        return cut if len(cut) == self.width else None

    def _over_lines(self, line: str) -> list[str] | Problem:
        """The row that begins with `line` and goes on in the next lines; a problem costs `line` alone."""
        text = line
        for taken in range(FIELD_LINES):
            following = self._peek(taken)
            if not following or len(text) > FIELD_CHARACTERS or self._looks_like_a_row(following, line):
                break
            text += following
            if '"' in following and (cells := self._parsed(text)) is not None:
                self.line += taken + 1
                for _ in range(taken + 1):
                    self.ahead.popleft()
                return cells
        if self.separator == "\t" and (cut := self._cut(line)) is not None:
            return cut
        if '"' not in line:
            return Problem(self.line, f"has a text of more than {FIELD_CHARACTERS:,} characters")
        message = "has a text whose quotation mark is not closed; where it belongs to the text, quote the text and "
        return Problem(self.line, message + 'double the mark: "a ""word"" in quotes"')

    def _peek(self, at: int) -> str:
        while len(self.ahead) <= at:
            if not (line := self.source.readline()):
                return ""
            self.ahead.append(line)
        return self.ahead[at]

    def _looks_like_a_row(self, line: str, first: str) -> bool:
        """Whether a line has as many fields as the header, and a name in its first like that of the row `first`."""
        cut = self._cut(line)
        return cut is not None and _shape(cut[0]) == _shape(first.split(self.separator, 1)[0])


def _shape(name: str) -> str:
    """What names of files of one table have in common: their ending, or all but the digits."""
    name = name.strip().strip('"')
    return PurePath(name).suffix.lower() or re.sub(r"\d+", "0", name)
