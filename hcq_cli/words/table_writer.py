"""Writing a table of sentences (table.py), in bounded memory, whole or not at all."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import chain
from pathlib import Path

from hcq_cli.files import atomic_path
from hcq_cli.words.sentences import SOURCES, Sentence
from hcq_cli.words.table import APPLICATION, SCHEMA, SHIFT, VERSION
from hcq_cli.words.tokens import words_of_sentence

MOST = (1 << SHIFT) - 1
"""Sentences of one video."""
_SETTINGS = (
    f"application_id = {APPLICATION}",
    f"user_version = {VERSION}",
    # The file has a temporary name until it is whole: a journal would only double what is written.
    *("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -32768"),
)
_ERRORS = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO, sqlite3.SQLITE_READONLY: errno.EROFS}


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
