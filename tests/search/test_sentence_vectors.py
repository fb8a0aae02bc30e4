"""Captions and names as sentence vectors: found in other words, through the life of an index, and damaged."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import indexes
import numpy as np
import pytest
from handmade import HEADER, names, random_codes, write_codes

from hcq_cli.codes.codefile import CodeFile
from hcq_cli.errors import DamagedError
from hcq_cli.model.exported_text_encoder import TextEncoderHeader, TextReading, write_text_encoder
from hcq_cli.search import index_writer, sentence_vectors
from hcq_cli.search.filtered import FilteredIndex
from hcq_cli.search.fusing import MEANING, fused, with_words
from hcq_cli.search.index import Index
from hcq_cli.search.index_words import IndexWords
from hcq_cli.search.manifest import TextEncoderEntry
from hcq_cli.search.query import Hit, QueryResult
from hcq_cli.search.sentence_vectors import SentenceVectors, telling, unit_vectors, write_sentence_vectors
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.table import WordsTable, write_words
from hcq_cli.words.tokens import asked_words

SYNONYMS = {"infants": "babies", "giggling": "laughing", "hound": "dog"}
TOLD = {"v1": "two laughing babies", "v2": "a dog in the snow", "v3": "a violin lesson", "v7": "babies sleep"}


class MeaningEncoder:
    """A text is the sum of its words' vectors, and synonyms have one vector; counts what it encodes."""

    hash, header, chance_scores = HEADER.model_hash, SimpleNamespace(levels=2, width=300), object()

    def __init__(self, *_: object, **__: object) -> None:
        self.encoded: list[str] = []

    def prepare(self) -> None:
        """Nothing to load."""

    def generic_queries(self) -> np.ndarray | None:
        return None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.encoded += texts
        return np.array([sum(map(self._word, text.split())) for text in texts], np.float32)

    def _word(self, word: str) -> np.ndarray:
        seed = hashlib.sha256(SYNONYMS.get(word, word).encode()).digest()[:8]
        return np.random.default_rng(int.from_bytes(seed, "big")).normal(size=(2, 300))


class Told:
    """Words by hand: a caption of some videos, and the names of all."""

    def sentences_of(self, id: str, path: str) -> Iterable[Sentence]:
        stem = id.partition(".")[0]
        yield Sentence(stem, "name")
        if stem in TOLD:
            yield Sentence(TOLD[stem], "caption")

    def digest_of(self, file: CodeFile) -> str:
        return file.digest


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> MeaningEncoder:
    """What writers of an index take for its text encoder."""
    one = MeaningEncoder()
    monkeypatch.setattr(index_writer, "ExportedTextEncoder", lambda *_, **__: one)
    monkeypatch.setattr(index_writer, "_with_chance", lambda draft, manifest, *_: manifest)
    return one


@pytest.fixture
def folder(tmp_path: Path, encoder: MeaningEncoder) -> Path:
    def bring(folder: Path, suffix: str) -> TextEncoderEntry:
        header = TextEncoderHeader(HEADER.model_hash, HEADER.levels, HEADER.D, (TextReading(30, 0, 2),))
        write_text_encoder(folder / f"tower-{suffix}.hcq", header, [("{}", b"graph")], np.zeros(100, np.uint8))
        return TextEncoderEntry(f"tower-{suffix}.hcq", "float32", {"deviation": 0.0})

    codes = write_codes(tmp_path / "codes", names(30), random_codes(30))
    indexes.build(tmp_path / "index", [codes], words=Told(), text_encoder=bring)
    return tmp_path / "index"


def meant(index: Index, text: str, k: int = 10) -> list[str]:
    return [each.id for each in IndexWords(index).meant(unit_vectors([text], MeaningEncoder())[0], k)]


def test_likeness_is_the_cosine_at_less_than_300_bytes_a_sentence(tmp_path: Path) -> None:
    rng, encoder = np.random.default_rng(0), MeaningEncoder()
    words = [f"w{number}" for number in range(120)]
    captions = [" ".join(rng.choice(words, 6)) for _ in range(2000)]
    count = write_words(tmp_path / "t.db", ((row, Sentence(text, "caption")) for row, text in enumerate(captions)))
    table = WordsTable(tmp_path / "t.db", count, "")
    assert write_sentence_vectors(tmp_path / "v.hcq", table, encoder) == 2000  # type: ignore[arg-type]
    vectors = SentenceVectors(tmp_path / "v.hcq")
    query = unit_vectors([captions[7], "w3 w5 w9"], encoder)
    exact = query @ unit_vectors(captions, encoder).T
    found = np.stack([vectors.likeness(each) for each in query])
    assert np.abs(found - exact).max() < 0.02 and found[0].argmax() == 7
    directions = 4 * 600 * 121
    assert (tmp_path / "v.hcq").stat().st_size - directions < 300 * 2000
    with pytest.raises(DamagedError, match="another text encoder"):
        vectors.likeness(np.ones(7, np.float32))


def test_names_count_where_they_say_something() -> None:
    said = {"holiday/girl_making-cake 2": "holiday girl making cake", "IMG_2034": "", "beach": "", "DSC 0012 x": ""}
    assert {name: telling(Sentence(name, "name")) for name in said} == said


def test_captions_are_found_in_other_words_and_what_is_narrowed_away_is_not(folder: Path) -> None:
    index = Index.open(folder)
    assert meant(index, "giggling infants") == ["v1.mp4", "v7.mp4"]
    assert meant(index, "giggling infants", k=1) == ["v1.mp4"]
    assert meant(index, "a hound")[0] == "v2.mp4"
    kept = np.ones(30, bool)
    kept[1] = False
    assert meant(FilteredIndex(index, [kept]), "giggling infants") == ["v7.mp4"]


def test_the_nearer_of_two_sentences_comes_first_whatever_segment_it_is_of(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLD, "v30", "laughing babies")
    indexes.add(folder, [write_codes(tmp_path / "more", ["v30.mp4"], random_codes(1))], words=Told())
    assert meant(Index.open(folder), "giggling infants") == ["v30.mp4", "v1.mp4", "v7.mp4"]


def test_vectors_follow_their_videos_and_nothing_is_encoded_twice(
    folder: Path, encoder: MeaningEncoder, tmp_path: Path
) -> None:
    assert sorted(encoder.encoded) == sorted([*TOLD.values()] * 2)  # a sample, and all of them
    encoder.encoded.clear()
    index_writer.remove(folder, ["v7.mp4"])
    more = write_codes(tmp_path / "more", ["v3.mp4", "v2.mp4"], random_codes(2, seed=5))
    indexes.add(folder, [more], words=Told())
    # As a writer that was killed leaves it: its directions suit two other sentences.
    shutil.copy(max(folder.glob("vectors-*")), folder / "encoded-0.hcq")
    index_writer.compact(folder)
    assert not list(folder.glob("encoded-*"))
    index = Index.open(folder)
    index.verify()
    assert encoder.encoded == []
    assert [len(each.vectors) for each in index.segments if each.vectors] == [3]
    assert meant(index, "giggling infants") == ["v1.mp4"]
    assert meant(index, "a hound in the snow")[0] == "v2.mp4"
    assert len(list(folder.glob("vectors-*"))) == 3  # one, and the two of the generation before


def test_what_a_killed_writer_has_encoded_is_not_encoded_again(
    folder: Path, encoder: MeaningEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        monkeypatch.setitem(TOLD, f"w{number}", f"caption number w{number} of many")
    monkeypatch.setattr(sentence_vectors, "KEPT_AT_ONCE", 8)
    monkeypatch.setattr(sentence_vectors, "SAMPLED", 5)
    codes = write_codes(tmp_path / "more", names(40, "w"), random_codes(40))
    shutil.copytree(folder, tmp_path / "whole")
    indexes.add(tmp_path / "whole", [codes], words=Told())
    encoder.encoded.clear()

    def killed(encoded: int, total: int) -> None:
        assert total == 40 and len(encoder.encoded) >= encoded
        if encoded == 32:
            os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        indexes.add(folder, [codes], words=Told(), encoding=killed)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    kept = sorted(folder.glob("encoded-*"))
    assert len(kept) == 4 and len(SentenceVectors(kept[0])) == 8
    kept[0].write_bytes(kept[0].read_bytes()[:-3])  # harmed: its eight are encoded once more
    indexes.add(folder, [codes], words=Told())
    assert len(encoder.encoded) <= 5 + 16 and not list(folder.glob("encoded-*"))
    resumed, whole = (Index.open(each).segments[1].vectors for each in (folder, tmp_path / "whole"))
    assert resumed and whole and len(resumed) == len(whole) == 40
    assert resumed.path.read_bytes() == whole.path.read_bytes()


def test_each_segment_has_directions_of_its_own(
    tmp_path: Path, encoder: MeaningEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_vectors, "KEPT_AT_ONCE", 1)
    monkeypatch.setitem(TOLD, "x1", "an empty street")
    monkeypatch.setitem(TOLD, "x2", "laughing babies")
    codes = [write_codes(tmp_path / name, [f"{name}.mp4"], random_codes(1)) for name in ("x1", "x2")]
    indexes.add(folder, codes, words=Told())
    assert meant(Index.open(folder), "giggling infants")[0] == "x2.mp4"


def test_words_that_tell_nothing_are_looked_through_once(
    tmp_path: Path, folder: Path, encoder: MeaningEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexes.add(folder, [write_codes(tmp_path / "a", ["x1.mp4"], random_codes(1))], words=Told())
    assert [entry.telling for entry in Index.open(folder).manifest.segments] == [4, 0]
    monkeypatch.setattr(encoder, "prepare", lambda: pytest.fail("loaded for nothing"))
    index_writer.remove(folder, ["v1.mp4"])
    indexes.add(folder, [write_codes(tmp_path / "b", ["x2.mp4"], random_codes(1))])
    assert [entry.telling for entry in Index.open(folder).manifest.segments] == [4, 0, None]


def test_every_changed_byte_is_told_and_a_strangers_file_is_not_searched(folder: Path) -> None:
    (path,) = folder.glob("vectors-*")
    raw, rng = path.read_bytes(), np.random.default_rng(0)
    for at in [*rng.integers(0, len(raw), 60).tolist(), 0, len(raw) - 1]:
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << int(rng.integers(8))]) + raw[at + 1 :])
        with pytest.raises(DamagedError, match="vectors-"):
            Index.open(folder).verify()
    path.write_bytes(raw[:-5])
    with pytest.raises(DamagedError):
        Index.open(folder)


def test_a_trained_models_index_has_none(
    folder: Path, encoder: MeaningEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "chance_scores", None)
    monkeypatch.setattr(encoder, "prepare", lambda: pytest.fail("loaded for nothing"))
    more = write_codes(tmp_path / "more", ["v3.mp4"], random_codes(1))
    indexes.add(folder, [more], words=Told())
    assert [each.vectors is None for each in Index.open(folder).segments] == [False, True]


def test_a_failing_disk_leaves_the_index_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> np.ndarray:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sentence_vectors, "_directions", full)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(OSError, match="No space"):
        indexes.add(folder, [write_codes(tmp_path / "more", ["v3.mp4"], random_codes(1))], words=Told())
    assert sorted(path.name for path in folder.iterdir()) == before
    assert meant(Index.open(folder), "giggling infants") == ["v1.mp4", "v7.mp4"]


def test_a_caption_lifts_its_video_and_is_shown_where_it_means_nearly_the_same(folder: Path) -> None:
    index = Index.open(folder)
    model = QueryResult("q", tuple(Hit(n, 1.0 / n, f"v{n}.mp4", "", 0.1) for n in (2, 3, 1)), 30, 0.0, 0.0, "doubt")
    near = IndexWords(index).meant(unit_vectors(["giggling infants"], MeaningEncoder())[0], 10)
    best = fused(model, [], 10, near).hits[0]
    assert best.id == "v1.mp4" and best.found_by == {"model": 3, MEANING: 1}
    assert best.words is not None and best.words.text == TOLD["v1"]
    far = IndexWords(index).meant(unit_vectors(["giggling on some far old train"], MeaningEncoder())[0], 10)
    answer = fused(model, [], 10, far)
    assert far and all(hit.words is None for hit in answer.hits) and answer.note == "doubt"


def test_to_encode_a_text_is_no_time_of_the_scan(folder: Path) -> None:
    def slow(text: str) -> np.ndarray:
        time.sleep(0.2)
        return unit_vectors([text], MeaningEncoder())[0]

    hits = (Hit(1, 1.0, "v2.mp4", "", 0.1),)
    model = QueryResult("q", hits, 30, text_ms=1.0, scan_ms=2.0)
    answer = with_words(Index.open(folder), asked_words("giggling infants"), 3, lambda *_: [model], vector=slow)
    assert answer is not None and answer.text_ms > 200 and 2 < answer.scan_ms < 200
