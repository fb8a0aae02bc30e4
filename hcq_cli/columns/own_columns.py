"""The user's own columns: a table in CSV, JSON Lines or Parquet, a line a video, joined with the videos of an index.

A line names its video in the column `video`, `path`, `id` or `file`: by its id, by the path of its file (from the
folder of the table, or absolute), or by the file's name alone where only one video has that. What a column holds
follows from all of its values: numbers, true and false, dates, else texts. The index keeps a copy, so that it can be
made anew without the table.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.columns.column import UNKNOWN_FLAG, Column, Kind, text_column
from hcq_cli.columns.columns_file import ColumnsFile, ColumnsWriter
from hcq_cli.columns.grammar import date_span
from hcq_cli.columns.video_columns import NAMES, VIDEO_COLUMNS
from hcq_cli.errors import HcqError, NotFoundError, UsageError, needing
from hcq_cli.files import digest_file
from hcq_cli.headers import decode
from hcq_cli.packed_strings import PackedStrings

KEYS = ("video", "path", "id", "file")
"""Columns that name the video of a line, the first that is there."""
MOST_COLUMNS = 200
MOST_FIELD = 1 << 20
FLAGS = {"true": 1, "false": 0, "yes": 1, "no": 0}
Line = dict[str, Any]


@dataclass(frozen=True)
class OwnColumns:
    """A table of the user's, T lines.

    Args:
        videos: what each line calls its video, as it is written.
        columns: by name, [T] each.
        file: where the table was read from.
        digest: of that file, SHA-256.
    """

    videos: PackedStrings
    columns: dict[str, Column]
    file: str
    digest: str

    @property
    def kinds(self) -> dict[str, Kind]:
        """Of its columns, by name."""
        return {name: column.kind for name, column in self.columns.items()}

    def write(self, path: Path) -> None:
        """Keep a copy."""
        with ColumnsWriter(path, self.kinds, {"file": self.file, "digest": self.digest}) as writer:
            writer.append(self.columns, len(self.videos))
            writer.add("videos", self.videos.blob, "|u1")
            writer.add("videos_offsets", self.videos.offsets, "<u8")


@dataclass(frozen=True)
class _Notes:
    file: str
    digest: str


def read_copy(path: Path, digest: str = "") -> OwnColumns:
    """The copy that an index keeps. Raises NotFoundError, DamagedError."""
    held = ColumnsFile(path, None, digest)
    held.verify()
    notes = decode(_Notes, held.container.meta, path, "hcq index build --columns FILE")
    videos = PackedStrings(
        held.container.map("videos", "|u1"), held.container.map("videos_offsets", "<u8"), str(path)
    )
    return OwnColumns(videos, {name: held.column(name) for name in held.kinds}, notes.file, notes.digest)


def read_own_columns(path: Path) -> OwnColumns:
    """Read a table.

    Raises:
        NotFoundError: there is no such file, or pyarrow is missing for Parquet.
        UsageError: it is no such table, or a column of it has another kind than hcq's own of that name.
    """
    path = Path(path)
    try:
        digest = digest_file(path)
        lines = _lines(path)
        first = next(lines, None)
        if first is None:
            raise UsageError(f"{path}: holds no line", "a line a video: video,place,rating")
        key = next((name for name in first if name.lower() in KEYS), None)
        if key is None:
            raise UsageError(f"{path}: no column names the video", f"call it {', '.join(KEYS[:-1])} or {KEYS[-1]}")
        videos, texts = _gather(path, chain([first], lines), key)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file", "hcq index build --columns FILE") from error
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, OSError) as error:
        raise UsageError(f"{path}: cannot be read ({error})", "give a table in CSV, JSON Lines or Parquet") from error
    columns = {name: _typed(column) for name, column in texts.items()}
    for name, column in columns.items():
        own = {**VIDEO_COLUMNS, **NAMES}.get(name)
        if name in NAMES or (own is not None and own != column.kind):
            raise UsageError(
                f"{path}: the column {name} is of hcq's own (a {own}), and here it is a {column.kind}", "rename it"
            )
    return OwnColumns(PackedStrings.of(videos), columns, str(path.absolute()), digest)


def _lines(path: Path) -> Iterator[Line]:
    readers = {".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet_lines, ".pq": _parquet_lines}
    return readers.get(path.suffix.lower(), _csv_lines)(path)


def _csv_lines(path: Path) -> Iterator[Line]:
    before = csv.field_size_limit(MOST_FIELD)  # of the whole process: whoever reads captions later has it as it was
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as source:
            sample = source.readline()
            source.seek(0)
            mark = max(",\t;", key=sample.count)
            for line in csv.DictReader(source, delimiter=mark, restkey=""):
                line.pop("", None)  # more fields than there are names
                yield line
    finally:
        csv.field_size_limit(before)


def _json_lines(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8") as source:
        for number, text in enumerate(source, 1):
            if text.strip():
                line = json.loads(text)
                if not isinstance(line, dict):
                    raise UsageError(f"{path}, line {number}: is no object", '{"video": "beach.mp4", "rating": 5}')
                yield line


def _parquet_lines(path: Path) -> Iterator[Line]:
    with needing("pyarrow, which reads Parquet, is not installed", "parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(4096):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise UsageError(f"{path}: cannot be read ({error})", "give a table in CSV, JSON Lines or Parquet") from error


def _gather(path: Path, lines: Iterator[Line], key: str) -> tuple[list[str], dict[str, Column]]:
    """The videos of all lines, and every other column as texts: each different text is held once."""
    videos: list[str] = []
    words: dict[str, dict[str, int]] = {}
    places: dict[str, list[int]] = {}
    for line in lines:
        video = line.get(key)
        if not video:
            continue
        for name, value in line.items():
            text = None if name == key else _text(value)
            if text is None:
                continue
            column = places.setdefault(name, [])
            column += [-1] * (len(videos) - len(column))  # unknown in the lines since
            known = words.setdefault(name, {})
            column.append(known.setdefault(text, len(known)))
        videos.append(str(video))
        if len(places) > MOST_COLUMNS:
            raise UsageError(f"{path}: more than {MOST_COLUMNS} columns", "keep those that you filter by")
    columns = {}
    for name, column in places.items():
        values = np.array(column + [-1] * (len(videos) - len(column)), np.int64)
        values[values < 0] = len(words[name])
        packed = [text.encode("utf-8", "surrogateescape") for text in words[name]]
        columns[name] = Column("text", values.astype(np.uint32), packed)
    return videos, columns


def _text(value: Any) -> str | None:
    """A value as a text; None where it is empty."""
    if isinstance(value, str | None):
        return value.strip() or None if value else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return value.isoformat() if hasattr(value, "isoformat") else json.dumps(value, ensure_ascii=False, default=str)


def _typed(column: Column) -> Column:
    """A column of texts as what all of its texts are: numbers, flags, dates, else texts."""
    words = [word.decode("utf-8", "surrogateescape") for word in column.words]
    kinds: tuple[tuple[Kind, Callable[[str], float | None]], ...] = (
        ("number", _number),
        ("flag", lambda word: FLAGS.get(word.lower())),
        ("date", _date),
    )
    for kind, read in kinds:
        found = [value for word in words if (value := read(word)) is not None]
        if words and len(found) == len(words):
            if kind == "flag":
                return Column(kind, np.array([*found, UNKNOWN_FLAG], np.uint8)[column.values])
            return Column(kind, np.array([*found, np.nan], np.float64)[column.values])
    return text_column(words[at] if at < len(words) else None for at in column.values.tolist())


def _number(word: str) -> float | None:
    # A number of leading zeros is a number of a house, a telephone or a tape.
    digits = word.lstrip("+-")
    if (digits[:1] == "0" and digits[1:2].isdigit()) or "_" in word or not digits[:1].isascii():
        return None
    try:
        value = float(word)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _date(word: str) -> float | None:
    span = date_span(word) if len(word) >= len("2025-05") else None
    return None if span is None else span.start


class Join:
    """Finds the line of each video.

    Args:
        own: the table.
        ids: gives the ids of all videos that there will be, for those that are called by their file's name alone.
    """

    def __init__(self, own: OwnColumns, ids: Callable[[], Iterator[Sequence[str]]]) -> None:
        self.own = own
        folder = os.path.dirname(own.file)  # noqa: PTH120 - as text, with what bytes it has
        called = [video.removeprefix("./") for video in own.videos]
        self._by_id = _Lookup(called)
        self._by_path = _Lookup([os.path.normpath(os.path.join(folder, video)) for video in called])  # noqa: PTH118
        self._by_name = _Lookup([])
        if any("/" not in video for video in called):
            self._by_name = _Lookup([video if "/" not in video else "" for video in called])
            self._names = _once(self._by_name, ids)
        self.used = np.zeros(len(called), bool)

    def columns(self, videos: Sequence[str], paths: Sequence[str]) -> dict[str, Column]:
        """The user's columns of some videos, by their ids and paths; unknown where no line names them."""
        lines = self._by_id.find(videos)
        for lookup, names in ((self._by_path, paths), (self._by_name, self._short(videos))):
            left = np.flatnonzero(lines < 0)
            if len(left) and len(lookup):
                lines[left] = lookup.find([names[at] for at in left.tolist()])
        self.used[lines[lines >= 0]] = True
        found = {}
        for name, column in self.own.columns.items():
            nothing = {"text": len(column.words), "flag": UNKNOWN_FLAG}.get(column.kind, np.nan)
            values = np.append(column.values, np.array([nothing], column.values.dtype))
            found[name] = Column(column.kind, values[lines], column.words)  # -1 is the one behind the last
        return found

    def _short(self, videos: Sequence[str]) -> list[str]:
        names = (video.rpartition("/")[2] for video in videos)
        return [name if len(self._by_name) and name in self._names else "" for name in names]

    @property
    def unused(self) -> list[str]:
        """What lines call videos that were not there."""
        return [self.own.videos[at] for at in np.flatnonzero(~self.used).tolist()]


class _Lookup:
    """Lines by a name of their video, found by hashes: a dictionary of a million names takes too much memory."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = PackedStrings.of(names)
        hashes = self._names.hashes()
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def __len__(self) -> int:
        return len(self._names)

    def find(self, names: Sequence[str]) -> np.ndarray:
        """The last line of each name, int64 [n]; -1 where there is none."""
        wanted = PackedStrings.of(names)
        at = self._hashes.searchsorted(wanted.hashes(), "right") - 1
        lines = np.where(at >= 0, self._order[at], -1) if len(self) else np.full(len(names), -1)
        for number in np.flatnonzero(lines >= 0).tolist():
            if self._names.raw(int(lines[number])) != wanted.raw(number) or not wanted.raw(number):
                lines[number] = -1
        return lines


def _once(names: _Lookup, ids: Callable[[], Iterator[Sequence[str]]]) -> set[str]:
    """Those names of the table that one video alone has for its file."""
    counts: dict[str, int] = {}
    for part in ids():
        short = [video.rpartition("/")[2] for video in part]
        for at in np.flatnonzero(names.find(short) >= 0).tolist():
            counts[short[at]] = counts.get(short[at], 0) + 1
    return {name for name, count in counts.items() if count == 1}


def merged(known: Mapping[str, Column], own: Mapping[str, Column]) -> dict[str, Column]:
    """hcq's own columns and the user's; of a column of both the user's value counts where there is one.

    Raises:
        HcqError: the two are of different kinds.
    """
    columns = dict(known)
    for name, column in own.items():
        before = columns.get(name)
        if before is not None and before.kind != column.kind:
            raise HcqError(f"the column {name} is a {before.kind} and a {column.kind}", "rename it")
        columns[name] = column if before is None else _either(column, before)
    return columns


def _either(first: Column, second: Column) -> Column:
    """The values of the first column, and where it knows none those of the second."""
    pairs = ((first.value(row), second.value(row)) for row in range(len(first)))
    values = [other if value is None else value for value, other in pairs]
    if first.kind == "text":
        return text_column(values)  # type: ignore[arg-type]
    if first.kind == "flag":
        return Column("flag", np.array([UNKNOWN_FLAG if value is None else value for value in values], np.uint8))
    return Column(first.kind, np.array([np.nan if value is None else value for value in values], np.float64))
