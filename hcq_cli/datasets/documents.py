"""Caption files that are one JSON document: MSR-VTT, ActivityNet Captions, VATEX, DiDeMo, YouCook2,
lists of rows, and texts by video.

They are read whole. ActivityNet and DiDeMo describe moments of a video; a video's sentences are joined to a
paragraph, as is usual for searching whole videos.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hcq_cli.datasets.rows import (
    BOM,
    CAPTION_KEYS,
    HINT,
    VIDEO_KEYS,
    CaptionRow,
    Problem,
    first_key,
    interpret,
    shown,
)
from hcq_cli.errors import DamagedError


def read_msrvtt(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of MSR-VTT's JSON: one a sentence, with the split of its video.

    Raises:
        DamagedError: the file is no such JSON.
    """
    lists = _read(path, lambda cursor: _lists(cursor, ("videos", "sentences")))
    if "sentences" not in lists:
        raise DamagedError(f'{path}: is JSON without a list "sentences", which is no known caption format', HINT)
    # Videos first, wherever they stand in the file: a sentence's split is its video's.
    splits: dict[str, Any] = {}
    for number, (line, video) in enumerate(lists.get("videos", []), 1):
        name = video.get("video_id") if isinstance(video, dict) else None
        if not isinstance(name, str):
            yield Problem(line, f'video {number}: no "video_id"')
            continue
        splits[name] = video.get("split")
    for number, (line, sentence) in enumerate(lists["sentences"], 1):
        if not isinstance(sentence, dict):
            yield Problem(line, f"sentence {number}: is not a JSON object but {shown(sentence)}")
            continue
        name = sentence.get("video_id")
        split = splits.get(name) if isinstance(name, str) else None
        yield interpret({**sentence, "split": split}, line, f"sentence {number}: ")


def read_activitynet(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of ActivityNet Captions' JSON: a video's sentences joined to one caption.

    Raises:
        DamagedError: the file is no JSON.
    """
    for line, (name, entry) in _read(path, lambda cursor: list(cursor.members())):
        sentences = entry.get("sentences") if isinstance(entry, dict) else None
        if not isinstance(sentences, list) or not all(isinstance(each, str) for each in sentences):
            yield Problem(line, f'"sentences" of {name!r} must be a list of sentences, not {shown(sentences)}')
        else:
            yield CaptionRow(line, name, [" ".join(sentences)], None)


def read_youcook(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of YouCook2's annotations: a video's sentences joined to one caption.

    Raises:
        DamagedError: the file is no such JSON.
    """

    def members(cursor: _JsonCursor) -> list[tuple[int, tuple[str, Any]]]:
        cursor.expect("{")
        cursor.value()
        cursor.expect(":")
        return list(cursor.members())

    for line, (name, entry) in _read(path, members):
        try:
            sentences = [each["sentence"] for each in entry["annotations"]]
            yield interpret({"video": name, "caption": " ".join(sentences), "split": entry.get("subset")}, line)
        except (TypeError, KeyError, AttributeError):
            yield Problem(line, f'{name!r} has no "annotations" with a "sentence" each, but {shown(entry)}')


def read_mapping(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of a JSON object that holds a text, or a list of texts, for each video.

    Raises:
        DamagedError: the file is no JSON.
    """
    for line, (name, texts) in _read(path, lambda cursor: list(cursor.members())):
        yield interpret({"video": name, "captions": texts}, line)


def read_list(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of a JSON list of objects, one a video or a sentence (VATEX, DiDeMo).

    Raises:
        DamagedError: the file is no JSON, or no entry of the list has a video and a text.
    """
    entries = _read(path, lambda cursor: list(cursor.items()) if cursor.skip("[") else [])
    known = [row for _, row in entries if isinstance(row, dict) and first_key(row, VIDEO_KEYS)]
    if not any(first_key(row, CAPTION_KEYS) for row in known):
        raise DamagedError(f"{path}: is a JSON list, which is no known caption format", HINT)
    if any("description" in row and "caption" not in row for row in known):
        yield from _paragraphs(entries)
        return
    yield from _rows(entries, {})


def read_splits(path: Path) -> Iterator[CaptionRow | Problem]:
    """Rows of a JSON object that holds a list of rows for each split.

    Raises:
        DamagedError: the file is no JSON.
    """
    for split, entries in _read(path, lambda cursor: _lists(cursor, None)).items():
        yield from _rows(entries, {"split": split})


def _rows(entries: Any, more: dict[str, str]) -> Iterator[CaptionRow | Problem]:
    for number, (line, row) in enumerate(entries, 1):
        if isinstance(row, dict):
            yield interpret({**row, **more}, line, f"entry {number}: ")
        else:
            yield Problem(line, f"entry {number}: is not a JSON object but {shown(row)}")


def _paragraphs(entries: list[tuple[int, Any]]) -> Iterator[CaptionRow | Problem]:
    """DiDeMo's descriptions of moments, those of a video joined; in the order in which the file names the videos."""
    joined: dict[str, CaptionRow] = {}
    for row in _rows(entries, {}):
        if isinstance(row, Problem):
            yield row
        elif row.video in joined:
            joined[row.video].captions[0] += " " + row.captions[0]
        else:
            joined[row.video] = row
    yield from joined.values()


def _read(path: Path, of: Callable[[_JsonCursor], Any]) -> Any:
    try:
        text = path.read_bytes().removeprefix(BOM).decode("utf-8")
        return of(_JsonCursor(text))
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path}: is not UTF-8 (byte {error.start + 1})", "save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DamagedError(
            f"{path}: is not JSON from line {error.lineno} on ({error.msg})", "copy or download the file anew"
        ) from error


def _lists(cursor: _JsonCursor, names: tuple[str, ...] | None) -> dict[str, list[tuple[int, Any]]]:
    """The items of an object's lists of these names (None: of all), each with the line it begins on."""
    lists: dict[str, list[tuple[int, Any]]] = {}
    cursor.expect("{")
    while not cursor.skip("}"):
        key = cursor.value()
        cursor.expect(":")
        if (names is None or key in names) and cursor.skip("["):
            lists[key] = list(cursor.items())
        else:
            cursor.value()
        cursor.skip(",")
    return lists


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

    def members(self) -> Iterator[tuple[int, tuple[str, Any]]]:
        """The keys and values of the object that comes next, with the lines of the keys."""
        self.expect("{")
        while not self.skip("}"):
            key, line = self.value(), self.line
            self.expect(":")
            yield line, (str(key), self.value())
            if not self.skip(","):
                self.expect("}")
                return
