"""The full-text table of an index segment: an immutable SQLite file with the sentences of its videos.

    sentences   id, start_s, end_s, source (its number in `SOURCES`), language, text
    words       FTS5 over the words of each sentence (tokens.py), by the same id; it holds no texts of its own

It is written in bounded memory, whole or not at all. An id is the row of the video in the segment, times 2^24, plus
the number of the sentence: what an exclusion or a removal leaves out is known without a look at the sentences.

A table may come from a stranger. It is opened read-only; its digest stands in the manifest of the index, its schema
must be letter by letter the one below (so no view or trigger of somebody's runs), and every error of SQLite becomes
hcq's own.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import numpy as np

from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.files import atomic_path, digest_file, need_regular
from hcq_cli.words.sentences import SOURCES, Sentence
from hcq_cli.words.tokens import words_of_sentence

APPLICATION, VERSION = 0x48435157, 1
"""What stands in the file's header: "HCQW", and the version of the format."""
SCHEMA = (
    "CREATE TABLE sentences"
    "(id INTEGER PRIMARY KEY, start_s REAL, end_s REAL, source INTEGER, language TEXT, text TEXT)",
    # Words come with spaces between them (tokens.py): this tokenizer cuts there, and does nothing else.
    "CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='ascii')",
)
SHIFT = 24
"""Bits of the number of a sentence within its video."""
CHECKED_AT_ONCE = 1 << 20
"""Bytes of a file that is checked when it is opened; larger ones are by `verify`."""
MOST = (1 << SHIFT) - 1
"""Sentences of one video, at most."""
_SETTINGS = (
    f"application_id = {APPLICATION}",
    f"user_version = {VERSION}",
    # The file has a temporary name until it is whole: a journal would only double what is written.
    *("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -32768"),
)
_ERRORS = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO, sqlite3.SQLITE_READONLY: errno.EROFS}
_LIMITS = ((sqlite3.SQLITE_LIMIT_LENGTH, 1 << 26), (sqlite3.SQLITE_LIMIT_ATTACHED, 0))


class WordsTable:
    """An open table of sentences.

    Args:
        sentences: as many as the manifest says there are.
        remedy: the command that makes such a file anew; the hint of errors.
        digest: SHA-256 that the file must have, as hex; empty for any.

    Raises:
        NotFoundError: no such file.
        DamagedError: it is damaged, foreign, or of a newer version.
    """

    def __init__(self, path: Path, sentences: int, remedy: str, digest: str = "") -> None:
        self.path, self.sentences, self.remedy, self._digest = path, sentences, remedy, digest
        need_regular(path)
        if not path.is_file():
            raise NotFoundError(f"{path}: no such file", remedy)
        if path.stat().st_size <= CHECKED_AT_ONCE:
            self.verify()
        with self._reading():
            # Immutable: nobody changes it, so nothing is locked, and no journal beside it is looked for.
            place = f"file:{quote(bytes(path.absolute()))}?mode=ro&immutable=1"
            self._file = sqlite3.connect(place, uri=True, check_same_thread=False, isolation_level=None)

    def verify(self) -> None:
        """Check every byte. Raises DamagedError."""
        if self._digest and digest_file(self.path, links=False) != self._digest:
            raise DamagedError(f"{self.path}: is not as it was written: damaged, or of another build", self.remedy)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn errors of SQLite into hcq's own."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise DamagedError(f"{self.path}: cannot be read ({error})", self.remedy) from error
        except (MemoryError, OverflowError, UnicodeError) as error:
            raise DamagedError(f"{self.path}: makes no sense ({error})", self.remedy) from error

    @cached_property
    def _opened(self) -> sqlite3.Connection:
        """The file, looked at and found to be what it should be, when it is first asked something."""
        file = self._file
        file.text_factory = lambda raw: raw.decode("utf-8", "replace")
        for limit, value in _LIMITS:
            file.setlimit(limit, value)
        for setting in ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON"):
            file.execute(f"PRAGMA {setting}")
        kind, version = (file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if kind != APPLICATION:
            raise DamagedError(f"{self.path}: is no table of words", self.remedy)
        if version > VERSION:
            raise DamagedError(
                f"{self.path}: format version {version}, this hcq reads up to {VERSION}", "upgrade hcq"
            )
        made = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'words_*' ORDER BY rowid"
        shadows = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'words_*' AND type != 'table'"
        if tuple(row[0] for row in file.execute(made)) != SCHEMA or file.execute(shadows).fetchone()[0]:
            raise DamagedError(f"{self.path}: its tables are not those of hcq", self.remedy)
        return file

    def _ask(self, question: str, *given: object) -> list[tuple]:
        with self._reading():
            return self._opened.execute(question, given).fetchall()

    def count(self, word: str, most: int) -> int:
        """In how many sentences a word stands; at most `most` are counted."""
        question = "SELECT count(*) FROM (SELECT rowid FROM words WHERE words MATCH ? LIMIT ?)"
        return int(self._ask(question, f'"{word}"', most)[0][0])

    def rows(self, expression: str) -> np.ndarray:
        """The rows int64 [n], ascending, of videos that have a sentence which fits an expression of FTS5."""
        found = self._ask("SELECT rowid FROM words WHERE words MATCH ?", expression)
        return np.unique(np.array([id for (id,) in found], np.int64) >> SHIFT)

    def best(self, expression: str, limit: int) -> list[int]:
        """The ids of the sentences that fit an expression of FTS5, by BM25 (Robertson and Zaragoza, 2009), the best
        first; equal ones by id."""
        question = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid LIMIT ?"
        return [int(id) for (id,) in self._ask(question, expression, limit)]

    def read(self, ids: Sequence[int]) -> list[Sentence]:
        """The sentences with some ids, in their order. Raises DamagedError where one is not there."""
        question = "SELECT start_s, end_s, source, language, text FROM sentences WHERE id = ?"
        found = [self._ask(question, id) for id in ids]
        if not all(found):
            raise DamagedError(f"{self.path}: its words name sentences that it does not have", self.remedy)
        return [self._sentence(*rows[0]) for rows in found]

    def everything(self) -> Iterator[tuple[int, Sentence]]:
        """All sentences by row: the row of the video, and the sentence."""
        for id, sentence in self._sentences():
            yield id >> SHIFT, sentence

    def of_sources(self, sources: Sequence[str]) -> Iterator[tuple[int, Sentence]]:
        """The sentences of some sources, each with its id, ascending."""
        numbers = ", ".join(str(SOURCES.index(source)) for source in sources)
        return self._sentences(f"WHERE source IN ({numbers})")

    def _sentences(self, which: str = "") -> Iterator[tuple[int, Sentence]]:
        question = f"SELECT id, start_s, end_s, source, language, text FROM sentences {which} ORDER BY id"
        with self._reading():
            for id, *parts in self._opened.execute(question):
                yield int(id), self._sentence(*parts)

    def _sentence(self, start_s: object, end_s: object, source: object, language: object, text: object) -> Sentence:
        times = all(value is None or (isinstance(value, float) and value >= 0) for value in (start_s, end_s))
        if not (isinstance(source, int) and 0 <= source < len(SOURCES) and times):
            raise DamagedError(f"{self.path}: holds a sentence that makes no sense", self.remedy)
        return Sentence(str(text), SOURCES[source], start_s, end_s, str(language or ""))  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def is_available() -> bool:
    """Whether this Python's SQLite can search texts; the usual builds can."""
    try:
        with sqlite3.connect(":memory:") as trial:
            for statement in SCHEMA:
                trial.execute(statement)
    except sqlite3.Error:
        return False
    return True


def write_words(path: Path, sentences: Iterable[tuple[int, Sentence]]) -> int:
    """Write the table of a segment.

    The same sentences give the same bytes.

    Args:
        sentences: each with the row of its video; those of a video one after another, rows mostly
            ascending.

    Returns:
        how many there were; with none, no file is written.

    Raises:
        HcqError: the disk is full or fails.
    """
    waiting = iter(sentences)
    first = next(waiting, None)
    if first is None:
        return 0
    # nolock: the file is nobody else's, and where sqlite's locks and that of `atomic_path` are of one kind (macOS) it
    # would wait for this very process.
    with (
        atomic_path(path) as temporary,
        closing(sqlite3.connect(f"{temporary.absolute().as_uri()}?nolock=1", uri=True, isolation_level=None)) as file,
    ):
        try:
            for setting in _SETTINGS:
                file.execute(f"PRAGMA {setting}")
            file.execute("BEGIN")
            for statement in SCHEMA:
                file.execute(statement)
            count = _insert(file, chain([first], waiting))
            file.execute("INSERT INTO words(words) VALUES ('optimize')")
            file.execute("COMMIT")
        except sqlite3.Error as error:
            # As an error of the disk, which atomic_path explains with the file and the space it needs.
            code = _ERRORS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
            if code is None:
                raise
            raise OSError(code, os.strerror(code)) from error
    return count


def _insert(file: sqlite3.Connection, sentences: Iterable[tuple[int, Sentence]]) -> int:
    count, number, last = 0, 0, -1
    for row, sentence in sentences:
        number = number + 1 if row == last else 0
        last = row
        words = words_of_sentence(sentence)
        if number > MOST or not words:
            continue
        id, source = (row << SHIFT) + number, SOURCES.index(sentence.source)
        about = (id, sentence.start_s, sentence.end_s, source, sentence.language, sentence.text)
        file.execute("INSERT INTO sentences VALUES (?, ?, ?, ?, ?, ?)", about)
        file.execute("INSERT INTO words(rowid, text) VALUES (?, ?)", (id, " ".join(words)))
        count += 1
    return count
