"""The caption files people have: JSON Lines, tables, and the JSON documents of known data sets.

A format is recognised by content, never by the file's name. A reader yields, in the file's order, either a
`CaptionRow` or the `Problem` of a line that is none; a bad line costs only itself. JSON Lines and tables are read as
a stream.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hcq_cli.datasets.documents import (
    read_activitynet,
    read_list,
    read_mapping,
    read_msrvtt,
    read_splits,
    read_youcook,
)
from hcq_cli.datasets.rows import (
    BOM,
    CAPTION_KEYS,
    HINT,
    VIDEO_KEYS,
    CaptionRow,
    Problem,
    Reader,
    first_key,
    interpret,
    plain_key,
    shown,
)
from hcq_cli.datasets.tables import EXCEL, columns_of, read_table
from hcq_cli.errors import DamagedError

HEAD_BYTES = 1 << 16
"""What is looked at to tell a format."""
INSTEAD = {
    rb"\xff\xfe|\xfe\xff|(?:\0[^\0]){8}|(?:[^\0]\0){8}": ("UTF-16", "save it as UTF-8"),
    rb"PK\x03\x04": ("a spreadsheet or an archive", "save it as CSV in UTF-8, or unpack it"),
    rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd": ("compressed", "unpack it"),
    rb"PAR1|\x89HDF|SQLite format 3": (
        "a table of numbers, or a database",
        "write the captions as CSV or JSON Lines",
    ),
    rb'\{\s*"[^"]*"\s*:\s*\{\s*"start"\s*:\s*\[': (
        "HowTo100M's list of what is said, with no captions",
        "for words that are said: subtitles beside the videos, or hcq extract --experts speech",
    ),
    rb"\S+ \d+\.?\d* \d+\.?\d*##": ("Charades-STA, whose texts tell of moments", "join them to one text a video"),
}
"""What lies in the place of a caption file, by its beginning, and what to do."""
ACTIVITYNET = re.compile(r'\{\s*"[^"]*"\s*:\s*\{[^{}]*"(timestamps|sentences)"\s*:\s*\[')
YOUCOOK = re.compile(r'\{\s*"database"\s*:\s*\{')
MAPPING = re.compile(r'\{\s*"[^"]*"\s*:\s*(\[\s*)?"')
"""A JSON object with a text, or a list of them, for each video."""
SPLITS = re.compile(r'\{\s*"(train|training|val|valid|validate|validation|dev|test|testing)"\s*:\s*\[\s*\{')


def recognise(path: Path) -> tuple[str, Reader]:
    """The name of a file's format (see `Captions.format`) and its reader.

    Raises:
        DamagedError: it is none of them; the message says what it looks like instead.
    """
    with path.open("rb") as source:
        head = source.read(HEAD_BYTES).removeprefix(BOM)
    text = head.decode("utf-8", "replace").strip()
    if not text:
        raise DamagedError(f"{path}: the file is empty", HINT)
    for mark, (what, mend) in INSTEAD.items():
        if re.match(mark, head, re.S):
            raise DamagedError(f"{path}: is {what}", mend)
    if "\0" in text:
        raise DamagedError(f"{path}: is no text, so no caption file", HINT)
    if text.startswith("["):
        return "vatex" if '"enCap"' in text else "didemo" if '"description"' in text else "json", read_list
    if ACTIVITYNET.match(text):
        return "activitynet", read_activitynet
    if YOUCOOK.match(text):
        return "youcook", read_youcook
    if SPLITS.match(text):
        return "json", read_splits
    # MSR-VTT's file is one JSON object, often on one line of a hundred megabytes: told by its first key, unparsed.
    if re.match(r'\{\s*"(videos|sentences|info)"', text):
        return "msrvtt", read_msrvtt
    # Several lines, not the first alone: a broken first line must not hide what the others are.
    rows = [row for row in map(_json_object, _head_lines(path)) if row is not None]
    if any(first_key(row, VIDEO_KEYS) is not None for row in rows):
        return ("metadata" if "file_name" in rows[0] else "jsonl"), read_jsonl
    if not text.startswith("{"):
        return _recognise_table(path, text)
    if '"sentences"' in text:
        return "msrvtt", read_msrvtt
    keys = {plain_key(key) for key in (rows[0] if rows else re.findall(r'"([^"]*)"\s*:', text))}
    if len(rows) < 2 and MAPPING.match(text) and not keys & {*VIDEO_KEYS, *CAPTION_KEYS}:
        return "json", read_mapping
    if rows:
        some = ", ".join(list(rows[0])[:8])
        raise DamagedError(f'{path}: its lines are JSON objects without "video" or "file_name" (keys: {some})', HINT)
    message = "no line is a JSON object that names a video (an object over several lines: jq -c . makes it one)"
    raise DamagedError(f"{path}: {message}", HINT)


def _head_lines(path: Path) -> list[bytes]:
    """The first lines of a file: at least the first one whole, if it is no longer than a caption line may be."""
    with path.open("rb") as source:
        first = source.readline(HEAD_BYTES << 8)
        return [first.removeprefix(BOM), *source.readlines(HEAD_BYTES)[:50]]


def _recognise_table(path: Path, text: str) -> tuple[str, Reader]:
    lines = re.split(r"[\r\n]+", text, maxsplit=2)
    first = lines[1] if EXCEL.fullmatch(lines[0]) and len(lines) > 1 else lines[0]
    try:
        separator, columns = columns_of(first)
    except csv.Error as error:  # a field of more than the 128 KiB that csv reads
        raise DamagedError(f"{path}: is no known caption format (as CSV, its first line: {error})", HINT) from error
    if not any(key in columns for key in VIDEO_KEYS) or not any(key in columns for key in CAPTION_KEYS):
        begin = first if len(first) <= 60 else first[:60] + "…"
        if len(columns) > 1 and re.search(r"\.\w{2,5}$", columns[0]):
            head = separator.join(["video", *["…"] * (len(columns) - 2), "caption"]).replace("\t", "<tab>")
            raise DamagedError(f"{path}: its first line, {begin!r}, is no header", f"write {head} in a line above it")
        message = f"is no known caption format (as CSV, its first line {begin!r} lacks the columns video and caption)"
        raise DamagedError(f"{path}: {message}", HINT)
    return "csv", read_table


def _json_object(line: str | bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):  # a few thousand "[" in a row exhaust the parser's stack
        return None
    return value if isinstance(value, dict) else None


def read_jsonl(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of a JSON Lines file, one object a line, read as a stream; blank lines are nothing."""
    # As bytes, decoded line by line: a line that is no UTF-8 costs itself, where a text stream would stop for good.
    with path.open("rb") as source:
        for number, raw in enumerate(source, 1):
            line = raw.removeprefix(BOM) if number == 1 else raw
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                yield Problem(number, f"is not UTF-8 (byte {error.start + 1} of the line): save the file as UTF-8")
            except json.JSONDecodeError as error:
                yield Problem(number, f"is not JSON ({error.msg}, column {error.colno})")
            except (ValueError, RecursionError) as error:
                yield Problem(number, f"is not JSON that can be read ({type(error).__name__})")
            else:
                if isinstance(row, dict):
                    yield interpret(row, number)
                else:
                    yield Problem(number, f"is not a JSON object but {shown(row)}")
