"""The caption files people have: JSON Lines, CSV, MSR-VTT's JSON, Hugging Face's metadata.jsonl.

A format is recognised by content, never by the file's name. A reader yields, in the file's order, either a
`CaptionRow` or the `Problem` of a line that is none; a bad line costs only itself. JSON Lines and CSV are streamed.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcq_cli.errors import DamagedError

HEAD_BYTES = 1 << 16
"""What is looked at to tell a format."""
BOM = b"\xef\xbb\xbf"
"""Byte order mark that Excel and Windows put before UTF-8."""
VIDEO_KEYS = ("video", "file_name", "video_id", "file")
CAPTION_KEYS = ("captions", "caption", "text", "sentence")
"""Keys and columns that are understood, named as in public data sets; the first one present counts."""
HINT = (
    'write one {"video": "a.mp4", "caption": "a man cooking"} a line (JSON Lines), or a CSV file with the columns '
    "video and caption"
)


@dataclass(frozen=True)
class Problem:
    """What is wrong with one line of a file.

    Args:
        line: its number, from 1; 0 for the file as a whole.
        message: what is wrong, in words.
        warning: whether the line is used all the same.
    """

    line: int
    message: str
    warning: bool = False


@dataclass(frozen=True)
class CaptionRow:
    """What one line says, not yet judged: the captions may be empty and the split unknown.

    Args:
        line: its number, from 1.
        video: the video's name.
        captions: at least one.
        split: the name of its part as written; None where the file does not say.
    """

    line: int
    video: str
    captions: list[str]
    split: str | None


Reader = Callable[[Path], Iterator[CaptionRow | Problem]]


def recognise(path: Path) -> tuple[str, Reader]:
    """The name of a file's format ("jsonl", "metadata", "msrvtt", "csv") and its reader.

    Raises:
        DamagedError: it is none of them; the message says what it looks like instead.
    """
    with path.open("rb") as source:
        head = source.read(HEAD_BYTES).removeprefix(BOM)
    text = head.decode("utf-8", "replace").strip()
    if not text:
        raise DamagedError(f"{path}: the file is empty", HINT)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DamagedError(f"{path}: is UTF-16", "save it as UTF-8")
    if "\0" in text:
        raise DamagedError(f"{path}: is no text, so no caption file", HINT)
    if text.startswith("["):
        raise DamagedError(f"{path}: is a JSON list, which is no known caption format", HINT)
    # MSR-VTT's file is one JSON object, often on one line of a hundred megabytes: told by its first key, unparsed.
    if re.match(r'\{\s*"(videos|sentences|info)"', text):
        return "msrvtt", read_msrvtt
    # Several lines, not the first alone: a broken first line must not hide what the others are.
    rows = [row for row in map(_json_object, _head_lines(path)) if row is not None]
    if any(_first(row, VIDEO_KEYS) is not None for row in rows):
        return ("metadata" if "file_name" in rows[0] else "jsonl"), read_jsonl
    if not text.startswith("{"):
        return _recognise_csv(path, text)
    if '"sentences"' in text:
        return "msrvtt", read_msrvtt
    if rows:
        keys = ", ".join(list(rows[0])[:8])
        raise DamagedError(f'{path}: its lines are JSON objects without "video" or "file_name" (keys: {keys})', HINT)
    raise DamagedError(f"{path}: no line is a JSON object that names a video", HINT)


def _head_lines(path: Path) -> list[bytes]:
    """The first lines of a file: at least the first one whole, if it is no longer than a caption line may be."""
    with path.open("rb") as source:
        first = source.readline(HEAD_BYTES << 8)
        return [first.removeprefix(BOM), *source.readlines(HEAD_BYTES)[:50]]


def _recognise_csv(path: Path, text: str) -> tuple[str, Reader]:
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    try:
        columns = _columns(next(csv.reader([first], delimiter=_delimiter(first)), []))
    except csv.Error as error:  # a field of more than the 128 KiB that csv reads
        raise DamagedError(f"{path}: is no known caption format (as CSV, its first line: {error})", HINT) from error
    if not any(key in columns for key in VIDEO_KEYS) or not any(key in columns for key in CAPTION_KEYS):
        shown = first if len(first) <= 60 else first[:60] + "…"
        raise DamagedError(
            f"{path}: is no known caption format (as CSV, its first line {shown!r} lacks the columns "
            "video and caption)",
            HINT,
        )
    return "csv", read_csv


def _json_object(line: str | bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):  # a few thousand "[" in a row exhaust the parser's stack
        return None
    return value if isinstance(value, dict) else None


def _first(row: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if row.get(key) is not None), None)


def interpret(row: dict[str, Any], line: int, prefix: str = "") -> CaptionRow | Problem:
    """A row of any format, given as a dict, as a `CaptionRow`; a `Problem` if it names no video or no text.

    Args:
        row: keys and values; unknown keys are left alone.
        line: its line in the file.
        prefix: put before the problem's message (which entry of the line it is).
    """
    video_key, caption_key = _first(row, VIDEO_KEYS), _first(row, CAPTION_KEYS)
    if video_key is None:
        return Problem(line, f'{prefix}no "video"')
    video = row[video_key]
    if not isinstance(video, str) or not video.strip():
        return Problem(line, f'{prefix}"{video_key}" must be the name of a video, not {_shown(video)}')
    if caption_key is None:
        return Problem(line, f'{prefix}no "caption" for {video!r}')
    captions = row[caption_key]
    if caption_key != "captions" or isinstance(captions, str):
        captions = [captions]
    if not isinstance(captions, list) or not captions:
        return Problem(line, f'{prefix}"captions" must be a list of sentences, not {_shown(captions)}')
    wrong = [caption for caption in captions if not isinstance(caption, str)]
    if wrong:
        return Problem(line, f'{prefix}"{caption_key}" of {video!r} must be text, not {_shown(wrong[0])}')
    split = row.get("split")
    if split is not None and not isinstance(split, str):
        return Problem(line, f'{prefix}"split" must be text, not {_shown(split)}')
    return CaptionRow(line, video, captions, split)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:40] + "…"


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
                yield Problem(number, f"is not UTF-8 (byte {error.start + 1} of the line)")
            except json.JSONDecodeError as error:
                yield Problem(number, f"is not JSON ({error.msg}, column {error.colno})")
            except (ValueError, RecursionError) as error:
                yield Problem(number, f"is not JSON that can be read ({type(error).__name__})")
            else:
                if isinstance(row, dict):
                    yield interpret(row, number)
                else:
                    yield Problem(number, f"is not a JSON object but {_shown(row)}")


def _delimiter(header: str) -> str:
    # Counted, not sniffed: `csv.Sniffer` guesses from whole rows, and captions are full of commas.
    return max(",;\t|", key=header.count)


def _columns(header: list[str]) -> dict[str, int]:
    """Where each column stands; names in lower case. Reversed, so that of two columns of a name the first counts."""
    return {name.strip().lower(): at for at, name in reversed(list(enumerate(header)))}


def read_csv(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of a CSV file with a header; comma, semicolon, tab or bar between fields; read as a stream."""
    # Bytes that are no UTF-8 become surrogates, which `_csv_row` finds again; newline="" because a quoted field may
    # hold line breaks, which are the csv module's to interpret.
    with path.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="") as source:
        header = source.readline()
        while not header.strip():
            header = source.readline()
        delimiter = _delimiter(header)
        columns: dict[str, int] = {}
        source.seek(0)  # from the top, so that the reader's line numbers are the file's
        for line, cells in _csv_rows(csv.reader(source, delimiter=delimiter)):
            if isinstance(cells, str):
                yield Problem(line, f"is not CSV ({cells})")
            elif not columns:
                columns = _columns(cells)
            elif cells:
                yield _csv_row(cells, columns, line)


def _csv_rows(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    """Each row with the line it begins on: its cells, or what is wrong with it."""
    # By hand and not by `for`: an error must not end the loop, and a row of several lines ends on another line.
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, str(error)
        else:
            yield line, cells


def _csv_row(cells: list[str], columns: dict[str, int], line: int) -> CaptionRow | Problem:
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return Problem(line, "is not UTF-8")
    if len(cells) > len(columns) and any(cells[len(columns) :]):
        return Problem(
            line, f"has {len(cells)} fields where the header has {len(columns)}: quote texts that hold commas"
        )
    row = {name: cells[at] for name, at in columns.items() if at < len(cells)}
    row = {name: value for name, value in row.items() if value or name in CAPTION_KEYS}
    return interpret(row, line)


def read_msrvtt(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of MSR-VTT's JSON: one a sentence, with the split of its video. The file is read whole.

    Raises:
        DamagedError: the file is no such JSON.
    """
    try:
        text = path.read_bytes().removeprefix(BOM).decode("utf-8")
        videos, sentences = _msrvtt_entries(text)
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path}: is not UTF-8 (byte {error.start + 1})", "save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DamagedError(
            f"{path}: is not JSON from line {error.lineno} on ({error.msg})", "copy or download the file anew"
        ) from error
    # Videos first, wherever they stand in the file: a sentence's split is its video's.
    splits: dict[str, Any] = {}
    for number, (line, video) in enumerate(videos, 1):
        name = video.get("video_id") if isinstance(video, dict) else None
        if not isinstance(name, str):
            yield Problem(line, f'video {number}: no "video_id"')
            continue
        splits[name] = video.get("split")
    for number, (line, sentence) in enumerate(sentences, 1):
        if not isinstance(sentence, dict):
            yield Problem(line, f"sentence {number}: is not a JSON object but {_shown(sentence)}")
            continue
        name = sentence.get("video_id")
        split = splits.get(name) if isinstance(name, str) else None
        yield interpret({**sentence, "split": split}, line, f"sentence {number}: ")


def _msrvtt_entries(text: str) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    """The items of the lists "videos" and "sentences", each with the line it begins on.

    Raises:
        json.JSONDecodeError: the text is not a JSON object with a list "sentences".
    """
    lists: dict[str, list[tuple[int, Any]]] = {}
    cursor = _JsonCursor(text)
    cursor.expect("{")
    while not cursor.skip("}"):
        key = cursor.value()
        cursor.expect(":")
        if key in ("videos", "sentences") and cursor.skip("["):
            lists[key] = list(cursor.items())
        else:
            cursor.value()
        cursor.skip(",")
    if "sentences" not in lists:
        raise json.JSONDecodeError('no list "sentences"', text, len(text))
    return lists.get("videos", []), lists["sentences"]


class _JsonCursor:
    """A place in a JSON text; the json module alone does not tell on which line an item stands."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.line, self._counted = text, 0, 1, 0
        self._decode = json.JSONDecoder().raw_decode

    def _skip_blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
            self.at += 1

    def skip(self, mark: str) -> bool:
        """Step over `mark` if it comes next."""
        self._skip_blanks()
        found = self.text.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found

    def expect(self, mark: str) -> None:
        """Step over `mark`, which must come next."""
        if not self.skip(mark):
            raise json.JSONDecodeError(f"expected {mark!r}", self.text, self.at)

    def value(self) -> Any:
        """The value that comes next."""
        self._skip_blanks()
        # Line breaks since the last value alone: counted from the start each time, a file of 200,000 sentences on as
        # many lines would be read 200,000 times.
        self.line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        try:
            found, self.at = self._decode(self.text, self.at)
        except RecursionError:
            raise json.JSONDecodeError("nested too deep", self.text, self.at) from None
        return found

    def items(self) -> Iterator[tuple[int, Any]]:
        """The items of the list that has been entered, with their lines."""
        while not self.skip("]"):
            found = self.value()
            yield self.line, found
            if not self.skip(","):
                self.expect("]")
                return
