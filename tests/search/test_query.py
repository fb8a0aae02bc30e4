from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, hybrid_scores, names, quantizer, random_codes, write_codes
from indexes import build
from word_encoder import WordEncoder

from hcq_cli.errors import HcqError, ModelMismatchError, NotFoundError, UsageError
from hcq_cli.search.code_file import CodeFileIndex
from hcq_cli.search.examples import locate, search_like
from hcq_cli.search.index import Index
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import CUT, NONE_KNOWN, search_levels, search_texts
from hcq_cli.search.text_encoder import open_checkpoint_encoder


@pytest.fixture(params=["index", "codes"])
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Index:
    path = write_codes(tmp_path / "codes.hcq", names(500), random_codes(500))
    if request.param == "codes":
        return CodeFileIndex(path)
    build(tmp_path / "index", [path])
    return Index.open(tmp_path / "index")


def test_scores_are_hybrid_scores_and_hits_are_ranked(collection: Index) -> None:
    texts = ["a man cooking", "a dog", "snow"]
    answers = search_texts(collection, WordEncoder(), texts, 500)
    expected = hybrid_scores(WordEncoder().encode(texts), random_codes(500))
    for answer, text, row in zip(answers, texts, expected, strict=True):
        assert answer.query == text
        assert answer.videos_searched == 500
        assert [hit.rank for hit in answer.hits] == list(range(1, 501))
        assert sorted((hit.score for hit in answer.hits), reverse=True) == [hit.score for hit in answer.hits]
        by_id = dict(zip(names(500), row, strict=True))
        assert max(abs(hit.score - by_id[hit.id]) for hit in answer.hits) < 1e-5
        assert answer.hits[0].path == f"/videos/{answer.hits[0].id}"


def test_a_query_that_is_longer_than_the_model_reads_is_told_so(collection: Index) -> None:
    answers = search_texts(collection, WordEncoder(), ["a man", "a man " * 5, "猫 " * 9], 3)
    assert [answer.note for answer in answers] == ["", CUT, NONE_KNOWN] and answers[1].lasting == CUT


def test_together_or_alone_the_answer_is_the_same(collection: Index) -> None:
    texts = [f"query {number}" for number in range(20)]
    together = search_texts(collection, WordEncoder(), texts, 7, params=SearchParams(threads=2))
    alone = [search_texts(collection, WordEncoder(), [text], 7)[0] for text in texts]
    assert [answer.hits for answer in together] == [answer.hits for answer in alone]


def test_like_finds_copies_and_not_itself(tmp_path: Path) -> None:
    codes = random_codes(200)
    codes[150] = codes[20]
    collection = CodeFileIndex(write_codes(tmp_path / "c", names(200), codes))
    answer = search_like(collection, "v20.mp4", 3)
    assert answer.hits[0].id == "v150.mp4"
    assert answer.hits[0].score == pytest.approx(1, abs=1e-6)
    assert [hit.rank for hit in answer.hits] == [1, 2, 3]
    assert "v20.mp4" not in [hit.id for hit in search_like(collection, "v20.mp4", 500).hits]
    back = search_like(collection, answer.hits[2].id, 200)
    assert next(hit.score for hit in back.hits if hit.id == "v20.mp4") == pytest.approx(
        answer.hits[2].score, abs=1e-6
    )
    with pytest.raises(NotFoundError, match="nobody"):
        search_like(collection, "nobody", 3)


@pytest.mark.parametrize("kind", ["index", "codes"])
def test_like_a_video_in_stretches_is_like_their_mean(tmp_path: Path, kind: str) -> None:
    cut = [f"cut.mp4#t={at},{at + 5}" for at in (0, 5, 10)]
    path = write_codes(tmp_path / "c", [*names(150), *cut, *names(50, "w")], random_codes(203))
    if kind == "index":
        build(tmp_path / "index", [path], lists=4)
    collection: Index = Index.open(tmp_path / "index") if kind == "index" else CodeFileIndex(path)
    answer = search_like(collection, "cut.mp4", 300, params=SearchParams(exact=True))
    codebooks, _ = quantizer()
    codes = random_codes(203)
    rebuilt = np.stack(
        [np.concatenate([codebooks[s, c] for s, c in enumerate(codes[row])]) for row in (150, 151, 152)]
    )
    mean = rebuilt.reshape(3, HEADER.levels, HEADER.D).mean(0)
    expected = hybrid_scores((mean / np.linalg.norm(mean, axis=1, keepdims=True))[None], codes)[0]
    others = [*range(150), *range(153, 203)]
    ids = [*names(150), *cut, *names(50, "w")]
    assert [hit.id for hit in answer.hits] == [ids[row] for row in sorted(others, key=lambda row: -expected[row])]
    assert max(abs(hit.score - expected[ids.index(hit.id)]) for hit in answer.hits) < 1e-5
    one = search_like(collection, cut[1], 300, params=SearchParams(exact=True))
    assert "cut.mp4" not in [hit.id for hit in one.hits] and one.hits != answer.hits
    with pytest.raises(NotFoundError, match=r"near it are 'cut\.mp4'") as caught:
        search_like(collection, "cut.mp4#t=0,30", 3)
    assert caught.value.hint == "hcq query --like cut.mp4"


def test_a_video_is_found_by_its_path_and_by_short_names(tmp_path: Path) -> None:
    path = write_codes(tmp_path / "c", ["sub/a.mp4", "sub/b.mp4", "other/b.mkv"], random_codes(3))
    collection = CodeFileIndex(path)
    lies_at = collection.name(0)[1]
    for name in (
        "sub/a.mp4",
        lies_at,
        "a.mp4",
        "sub/a",
        "./sub/a.mp4",
        lies_at.lstrip("/"),
        lies_at[:-4],
        lies_at[1:-4],
    ):
        assert locate(collection, name) == ("sub/a.mp4", [0]), name
    assert locate(collection, "/elsewhere/sub/a.mp4")[1] == locate(collection, "c.mp4")[1] == []
    with pytest.raises(UsageError, match=r"may be any of 2 videos: 'sub/b\.mp4', 'other/b\.mkv'"):
        locate(collection, "b")


def test_what_is_refused(collection: Index) -> None:
    with pytest.raises(ModelMismatchError) as caught:
        search_texts(collection, WordEncoder("f" * 64), ["a"], 5)
    assert "aaaaaaaaaaaa" in caught.value.message
    assert "ffffffffffff" in caught.value.message
    for texts, k in [([" \t"], 5), (["ok", ""], 5), (["ok"], 0)]:
        with pytest.raises(UsageError):
            search_texts(collection, WordEncoder(), texts, k)
    with pytest.raises(HcqError, match="query vectors of 1 × 9 × 3"):
        search_levels(collection, ["a"], np.ones((1, 9, 3), np.float32), 5)


def test_undecodable_text_reaches_the_encoder_as_text(collection: Index) -> None:
    assert search_texts(collection, WordEncoder(), ["caf\udce9"], 1)[0].query == "caf\udce9"


def test_no_checkpoint_anywhere(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no checkpoint") as caught:
        open_checkpoint_encoder([tmp_path / "a", tmp_path / "b"])
    assert "--ckpt" in caught.value.hint


def test_the_codebooks_of_the_test_are_unit_vectors() -> None:
    assert np.allclose(np.linalg.norm(quantizer()[0], axis=2), 1, atol=1e-6)


def test_a_query_of_which_no_word_is_known_says_so(collection: Index) -> None:
    answers = search_texts(collection, WordEncoder(), ["a dog", "\u732b \U0001f415", "\u732b dog"], 3)
    assert [answer.note for answer in answers] == ["", NONE_KNOWN, ""]
    assert [len(answer.hits) for answer in answers] == [3, 3, 3]
