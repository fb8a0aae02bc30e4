"""The table of sentences: what is written is found, and a damaged or foreign one is hcq's own error."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hcq_cli.errors import DamagedError, HcqError, NotFoundError
from hcq_cli.files import digest_file
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.table import SHIFT, WordsTable, write_words

SENTENCES = [
    (0, Sentence("Happy birthday to you", "speech", 1.0, 2.5, "en")),
    (0, Sentence("beach day", "name")),
    (3, Sentence("birthday cake, happy people", "caption")),
    (3, Sentence("祝你生日快乐", "subtitles", 7.25, 9.0, "zh")),
]


def table(path: Path, sentences: list[tuple[int, Sentence]] = SENTENCES) -> WordsTable:
    count = write_words(path, sentences)
    return WordsTable(path, count, "hcq index build", digest_file(path))


def test_phrases_and_words_are_found_with_their_sentence(tmp_path: Path) -> None:
    made = table(tmp_path / "words.db")
    assert list(made.everything()) == SENTENCES and made.sentences == 4
    assert made.rows('"happy birthday"').tolist() == [0]
    assert made.rows('"birthday"').tolist() == [0, 3]
    assert made.rows('"生 日"').tolist() == [3] and not len(made.rows('"日 生"'))
    assert made.read(made.best('"happy birthday"', 5)) == [SENTENCES[0][1]]
    assert made.best('"birthday"', 1)[0] >> SHIFT in (0, 3)
    assert (made.count("birthday", 9), made.count("birthday", 1), made.count("x", 9)) == (2, 1, 0)


def test_the_same_sentences_give_the_same_bytes_and_none_no_file(tmp_path: Path) -> None:
    for name in ("a.db", "b.db"):
        write_words(tmp_path / name, SENTENCES)
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()
    assert write_words(tmp_path / "c.db", []) == 0
    assert sorted(os.listdir(tmp_path)) == ["a.db", "b.db"]


def test_odd_folders_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20 ü'"
    folder.mkdir()
    assert table(folder / "words.db").count("happy", 9) == 2
    assert os.listdir(folder) == ["words.db"]  # no journal is left beside it


def test_any_flip_of_a_small_table_is_found_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "words.db"
    made = table(path)
    digest, data = digest_file(path), path.read_bytes()
    rng = random.Random(0)
    for at in [0, 18, 60, 68, *(rng.randrange(len(data)) for _ in range(50))]:
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :])
        with pytest.raises(DamagedError, match=r"words\.db"):
            WordsTable(path, 4, "hcq index build", digest)
    made.close()
    path.unlink()
    with pytest.raises(NotFoundError):
        WordsTable(path, 4, "hcq index build", digest)


def ask_all(path: Path) -> None:
    """Ask an open table everything; only hcq's own errors may come out of it."""
    made = WordsTable(path, 4, "hcq index build")
    for ask in (
        lambda: made.best('"happy birthday" OR "cake"', 10),
        lambda: made.read(made.best('"birthday"', 10)),
        lambda: made.rows('"birthday"'),
        lambda: made.count("birthday", 9),
        lambda: list(made.everything()),
    ):
        try:
            ask()
        except HcqError as error:
            assert error.exit_code == 4 and error.hint, error.message
    made.close()


def test_hostile_bytes_with_a_right_digest_are_our_own_errors(tmp_path: Path) -> None:
    path = tmp_path / "words.db"
    write_words(path, SENTENCES)
    data, rng, began = path.read_bytes(), random.Random(1), time.process_time()
    for trial in range(300):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 3, 30))):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(changed if trial % 3 else changed[: rng.randrange(len(data))]))
        ask_all(path)
    assert time.process_time() - began < 60


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW v AS SELECT load_extension('x')",
        "CREATE TRIGGER t AFTER INSERT ON sentences BEGIN SELECT 1; END",
        "CREATE TABLE other(x)",
        "CREATE INDEX i ON sentences(text)",
        "DROP TABLE sentences",
        "CREATE VIEW words_view AS SELECT 1",
        "PRAGMA application_id = 7",
    ],
)
def test_a_schema_that_is_not_ours_is_refused(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "words.db"
    write_words(path, SENTENCES)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(statement)
    with pytest.raises(DamagedError, match=r"not those of hcq|no table of words"):
        WordsTable(path, 4, "hcq index build").count("x", 1)


@pytest.mark.parametrize("change", ["source = 99", "source = 'x'", "start_s = x'00'", "start_s = -1", "text = x'ff'"])
def test_a_sentence_that_makes_no_sense(tmp_path: Path, change: str) -> None:
    path = tmp_path / "words.db"
    write_words(path, SENTENCES)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(f"UPDATE sentences SET {change}")
    made = WordsTable(path, 4, "hcq index build")
    if change.startswith("text"):
        assert "birthday" not in next(made.everything())[1].text
    else:
        with pytest.raises(DamagedError, match="makes no sense"):
            list(made.everything())


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "words.db"
    write_words(path, SENTENCES)
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 2")
    with pytest.raises(DamagedError, match="version 2"):
        WordsTable(path, 4, "hcq index build").count("x", 1)


FULL = """
import resource, signal, sys
from pathlib import Path
from hcq_cli.errors import HcqError
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.table import write_words
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    write_words(Path(sys.argv[1]), ((row, Sentence(f"word{row} of {row}", "speech")) for row in range(50_000)))
except HcqError as error:
    print(error.message, error.hint)
"""


def test_a_disk_that_takes_no_more_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "words.db"
    run = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, timeout=120)
    assert str(path) in run.stdout and not run.stderr, run
    assert not os.listdir(tmp_path)


@pytest.mark.long
def test_memory_does_not_grow_with_the_sentences(tmp_path: Path) -> None:
    def write(count: int) -> int:
        code = (
            "import resource, sys\nfrom pathlib import Path\nfrom hcq_cli.words.sentences import Sentence\n"
            "from hcq_cli.words.table import write_words\n"
            "text = ' '.join(f'word{n}' for n in range(8))\n"
            f"made = ((n, Sentence(f'{{text}} {{n % 9999}}', 'ocr')) for n in range({count}))\n"
            "write_words(Path(sys.argv[1]), made)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        run = subprocess.run([sys.executable, "-c", code, tmp_path / f"{count}.db"], capture_output=True, text=True)
        return int(run.stdout)

    assert write(400_000) < write(100_000) + 48 * 1024
