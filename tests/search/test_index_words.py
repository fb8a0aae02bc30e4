"""The words of an index: through build, add, remove and compact, found or excluded, and fused with the model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, names, quantizer, random_codes, random_levels, write_codes
from indexes import add, build

from hcq_cli.codes.codefile import CodeFile, CodeWriter, open_codes
from hcq_cli.errors import DamagedError
from hcq_cli.search.fusing import NO_WORDS, NOT_SAID, fused, reciprocal, with_words
from hcq_cli.search.index import Index
from hcq_cli.search.index_words import LIKE_MIDDLE, FoundWords, IndexWords
from hcq_cli.search.index_writer import compact, remove
from hcq_cli.search.query import NONE_KNOWN, NOTHING_FITS, Hit, QueryResult, search_levels
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.tokens import ONLY_EXCLUDED, asked_words


class Told:
    """Words by hand: what each video says."""

    def __init__(self, **said: str) -> None:
        self.said = said

    def sentences_of(self, id: str, path: str) -> Iterable[Sentence]:
        stem = id.partition(".")[0]
        yield Sentence(stem, "name")
        for at, sentence in enumerate(self.said.get(stem, "").split("|")):
            if sentence:
                yield Sentence(sentence, "speech", float(at), at + 1.0)

    def digest_of(self, file: CodeFile) -> str:
        return file.digest


SAID = Told(
    v1="happy birthday to you|a cake with candles",
    v2="the birthday was happy",
    v3="happy birthday dear cat",
    v7="and now the weather",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    codes = write_codes(tmp_path / "codes", names(30), random_codes(30))
    build(tmp_path / "index", [codes], words=SAID)
    return tmp_path / "index"


def found(folder: Path, query: str, k: int = 10) -> list[str]:
    return [each.id for each in IndexWords(Index.open(folder)).best(asked_words(query), k)]


def test_a_phrase_is_found_with_its_second(folder: Path) -> None:
    assert found(folder, '"happy birthday"') == ["v1.mp4", "v3.mp4"]
    (cake,) = IndexWords(Index.open(folder)).best(asked_words('"a cake with"'), 10)
    told = Sentence("a cake with candles", "speech", 1.0, 2.0)
    assert cake == FoundWords("v1.mp4", "/videos/v1.mp4", told, 1.0, LIKE_MIDDLE)


def test_words_without_quotes_count_where_a_sentence_holds_most_of_what_they_tell(folder: Path) -> None:
    assert found(folder, "a happy birthday")[:1] != [] and set(found(folder, "a happy birthday")) == {
        *("v1.mp4", "v2.mp4", "v3.mp4")
    }
    assert found(folder, "birthday candles and fireworks on a lake") == []
    assert found(folder, "the weather") == ["v7.mp4"]
    assert found(folder, "of the and") == []


def test_the_name_of_a_file_counts_less_than_what_is_said(folder: Path) -> None:
    (named,) = IndexWords(Index.open(folder)).best(asked_words("v9"), 10)
    assert named.sentence == Sentence("v9", "name") and named.worth == 0.25
    # It holds the whole query: as likely right as wrong, whatever the model makes of it.
    assert named.confidence == 0.5


def test_words_follow_their_videos_through_the_life_of_an_index(folder: Path, tmp_path: Path) -> None:
    more = write_codes(tmp_path / "more", ["v1.mp4", "x.mp4"], random_codes(2, seed=5))
    add(folder, [more], words=Told(v1="good morning", x="happy birthday again"))
    assert set(found(folder, '"happy birthday"')) == {"v3.mp4", "x.mp4"}  # v1 says something else by now
    remove(folder, ["v3.mp4"])
    assert found(folder, '"happy birthday"') == ["x.mp4"]
    before = Index.open(folder)
    assert before.sentences == 35 + 4
    compact(folder)
    after = Index.open(folder)
    after.verify()
    assert len(after.segments) == 1 and after.sentences == 39 - 3 - 2  # of v1 as it was, and of v3
    assert found(folder, '"happy birthday"') == ["x.mp4"] and found(folder, '"good morning"') == ["v1.mp4"]
    (hit,) = IndexWords(after).best(asked_words('"good morning"'), 3)
    assert hit.path == "/videos/v1.mp4"


def test_segments_of_a_video_share_its_words(tmp_path: Path) -> None:
    ids = ["v1.mp4", "v1.mp4#t=0,10", "v1.mp4#t=5,15", "v2.mp4#t=0,10", "v2.mp4#t=10,20", "v3.mp4"]
    codes = write_codes(tmp_path / "codes", ids, random_codes(len(ids)))
    build(tmp_path / "index", [codes], words=SAID)
    index = Index.open(tmp_path / "index")
    assert index.sentences == 3 + 2 + 2
    narrow = IndexWords(index).narrowed(asked_words("x -happy"))
    assert (narrow.videos, narrow.rows) == (0, 0)
    assert IndexWords(index).narrowed(asked_words('"was happy" x')).rows == 2  # both segments of v2
    assert found(tmp_path / "index", '"was happy"') == ["v2.mp4"]


def test_a_video_that_comes_twice_in_one_file_keeps_its_words_when_segments_are_merged(tmp_path: Path) -> None:
    ids = ["v1.mp4", "v1.mp4#t=0,10", "v2.mp4", "v1.mp4", "v3.mp4"]
    codes = write_codes(tmp_path / "codes", ids, random_codes(len(ids)))
    build(tmp_path / "index", [codes], words=SAID)
    remove(tmp_path / "index", ["v3.mp4"])
    assert found(tmp_path / "index", '"happy birthday"') == ["v1.mp4"]
    compact(tmp_path / "index")
    index = Index.open(tmp_path / "index")
    index.verify()
    assert index.sentences == 3 + 2 and index.rows == 3
    assert found(tmp_path / "index", '"happy birthday"') == ["v1.mp4"]
    assert found(tmp_path / "index", '"was happy"') == ["v2.mp4"]
    assert IndexWords(index).narrowed(asked_words('"happy birthday" x')).rows == 2
    assert [each[0][0] for each in IndexWords(index).by_video()] == ["v1.mp4#t=0,10", "v2.mp4"]


def test_what_is_known_of_each_code_file_is_noted_by_its_name_though_one_is_given_twice(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for at, path in enumerate(paths):
        with CodeWriter(path, HEADER, *quantizer(), drift=at / 10) as writer:
            writer.append([f"v{at}"], [f"/videos/v{at}"], random_codes(1, seed=at))
    build(tmp_path / "index", [paths[0], *paths], words=SAID)
    manifest = Index.open(tmp_path / "index").manifest
    digests = {f"../{path.name}": open_codes(path).digest for path in paths}
    assert manifest.sources == manifest.words_of == digests
    assert manifest.drift == {"../a": 0.0, "../b": 0.1}


def test_damage_of_a_table_is_found(folder: Path) -> None:
    (path,) = folder.glob("words-*.db")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedError, match="words-"):
        Index.open(folder)
    path.unlink()
    with pytest.raises(DamagedError, match="words-"):
        Index.open(folder)


def model_answers(levels: np.ndarray):
    def answer(collection, texts, k):
        return search_levels(collection, texts, levels[: len(texts)], k)

    return answer


def test_the_model_ranks_what_phrases_and_exclusions_leave(folder: Path) -> None:
    index, levels = Index.open(folder), random_levels(1)
    model = model_answers(levels)
    everything = [hit.id for hit in search_levels(index, ["x"], levels, 30)[0].hits]
    without = with_words(index, asked_words("dog -birthday"), 30, model)
    assert [hit.id for hit in without.hits] == [id for id in everything if id not in ("v1.mp4", "v2.mp4", "v3.mp4")]
    assert without.videos_searched == 30 and without.query == "dog -birthday"
    both = with_words(index, asked_words('dog "birthday"'), 30, model)
    assert {hit.id for hit in both.hits} == {"v1.mp4", "v2.mp4", "v3.mp4"}
    assert all(set(hit.found_by) == {"model", "words"} and "birthday" in hit.words.text for hit in both.hits)
    assert with_words(index, asked_words('"not said"'), 3, model).note == NOT_SAID
    assert with_words(index, asked_words("-cat"), 3, model).note == ONLY_EXCLUDED


def test_a_phrase_alone_asks_no_model(folder: Path) -> None:
    def never(*_):
        raise AssertionError("the model was asked")

    answer = with_words(Index.open(folder), asked_words('"birthday to"'), 3, never)
    assert [(hit.rank, hit.id, hit.score, hit.time_s) for hit in answer.hits] == [(1, "v1.mp4", 1.0, 0.0)]
    assert answer.hits[0].found_by == {"words": 1}


def test_where_words_have_nothing_to_say_the_model_alone_is_asked(folder: Path, tmp_path: Path) -> None:
    model = model_answers(random_levels(1))
    assert with_words(Index.open(folder), asked_words("x y z"), 3, model) is None
    build(tmp_path / "bare", [tmp_path / "codes"])
    bare = Index.open(tmp_path / "bare")
    assert with_words(bare, asked_words('"a"'), 3, model).note.endswith(NO_WORDS)
    assert len(with_words(bare, asked_words("a -b"), 3, model).hits) == 3
    doubtful = QueryResult("a", (), 9, 0.0, 0.0, note=NOTHING_FITS)
    assert with_words(bare, asked_words("a -b"), 3, lambda *_: [doubtful]).note.endswith(
        f"{NO_WORDS}; {NOTHING_FITS}"
    )


def test_ranks_are_fused_as_reciprocals_not_scores() -> None:
    model = QueryResult("q", tuple(Hit(rank, 0.9 / rank, f"v{rank}", "") for rank in range(1, 6)), 9, 0.0, 0.0)
    said = [FoundWords("v4", "", Sentence("a", "ocr"), 1.0), FoundWords("x", "/x", Sentence("b", "name"), 0.25)]
    answer = fused(model, said, 4)
    expected = {"v4": reciprocal(4) + 1.0, "v1": 1.0, "v2": reciprocal(2), "v3": reciprocal(3)}
    assert {hit.id: hit.score for hit in answer.hits} == pytest.approx(expected)
    assert [hit.id for hit in answer.hits] == ["v4", "v1", "v2", "v3"]
    assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4]
    assert answer.hits[0].found_by == {"model": 4, "words": 1} and answer.hits[1].found_by == {"model": 1}
    assert fused(model, said, 9).hits[-1].id == "x"


def test_a_hit_is_as_sure_as_the_surer_of_the_model_and_of_what_its_name_means() -> None:
    hits = tuple(Hit(rank, 0.1, f"v{rank}", "", confidence=0.5 / rank) for rank in range(1, 5))
    model = QueryResult("q", hits, 9, 0.0, 0.0)
    name = Sentence("man flipping pancake", "name")
    near = [FoundWords(id, f"/{id}", name, 0.5, likeness) for id, likeness in (("v4", 0.9), ("x", 0.4), ("v1", 0.1))]
    sure = {hit.id: hit.confidence for hit in fused(model, [], 9, near).hits}
    assert sure == pytest.approx({"v1": 0.5, "v2": 0.25, "v3": 0.5 / 3, "v4": 1 / (1 + math.exp(-4)), "x": 0.5})
    # A model that does not say how sure it is leaves that to nobody else.
    silent = replace(model, hits=tuple(replace(hit, confidence=None) for hit in hits))
    assert {hit.confidence for hit in fused(silent, [], 9, near).hits} == {None}
    # A name that holds the words is as likely right as wrong, one that holds some of them says nothing.
    for likeness, confidence in ((LIKE_MIDDLE, 0.5), (0.0, 0.125)):
        held = FoundWords("v4", "/v4", name, 0.25, likeness)
        assert {hit.id: hit.confidence for hit in fused(model, [held], 9).hits}["v4"] == confidence


def test_that_nothing_fits_is_still_said_where_only_names_hold_some_of_the_words() -> None:
    hits = tuple(Hit(rank, 0.1, f"v{rank}", "", confidence=0.01) for rank in range(1, 6))
    model = QueryResult("q", hits, 9, 0.0, 0.0, note=NOTHING_FITS)
    named, said = (FoundWords("v4", "", Sentence("q", source), 0.25) for source in ("name", "speech"))
    assert fused(model, [], 5).note == fused(model, [named], 5).note == NOTHING_FITS
    assert fused(model, [said], 5).note == ""
    unknown, near = replace(model, note=NONE_KNOWN), [FoundWords("v9", "", Sentence("x", "caption"), 1.0)]
    assert fused(unknown, [], 5, near).note == NONE_KNOWN and fused(unknown, [said], 5, near).note == ""
