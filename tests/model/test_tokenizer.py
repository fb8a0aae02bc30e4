"""Vocabularies learned from captions, and captions as padded token ids."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest

from hcq_cli.model.tokenizer import SPECIAL, CaptionTokenizer, learn_vocabulary, word_piece

CAPTIONS = ["A dog jumps over the red ball", "two dogs jumping", "the balls are red"]


def tokenizer(max_tokens: int = 32) -> CaptionTokenizer:
    return CaptionTokenizer(word_piece(CAPTIONS, 500), max_tokens, 0, 2)


def test_words_of_the_captions_are_whole_and_others_are_cut_in_known_pieces() -> None:
    learned = word_piece(CAPTIONS, 500)
    assert learned.encode("Dogs jumping").tokens == ["[CLS]", "dogs", "jumping", "[SEP]"]
    assert learned.encode("dogball").tokens == ["[CLS]", "dog", "##b", "##a", "##l", "##l", "[SEP]"]
    assert "[UNK]" not in learned.encode("xylophone 42").tokens


def test_the_vocabulary_is_bounded_and_the_same_in_every_process() -> None:
    words = " ".join(CAPTIONS).lower().split()
    found = learn_vocabulary(words, 90)
    assert len(found) == 90 and found[:4] == SPECIAL and len(set(found)) == 90
    code = f"from hcq_cli.model.tokenizer import learn_vocabulary; print(learn_vocabulary({words!r}, 90))"
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        )
        assert ran.stdout.strip() == str(found)


def test_long_captions_lose_words_and_keep_their_end_mark() -> None:
    ids, special = tokenizer(5).cut("a dog jumps over the red ball")
    assert len(ids) == 5 and special.tolist() == [True, False, False, False, True]
    assert tokenizer(5).length("a dog jumps over the red ball") == 9


def test_rows_are_padded_on_the_right() -> None:
    words = tokenizer()(["a dog", "a dog jumps"])
    assert words.ids.shape == (2, 5)
    assert words.mask.tolist() == [[True] * 4 + [False], [True] * 5]
    assert words.special[0].tolist() == [True, False, False, True, True]
    assert words.ids[0, 4] == 0


def test_a_caption_may_name_special_tokens_and_is_cut_as_any_other() -> None:
    """Typed by a person they are words: no more of them are special than the tokenizer itself adds."""
    ids, special = tokenizer(5).cut("[SEP] a dog [CLS] jumps \udcff")
    assert len(ids) == 5 and special.tolist() == [True, False, False, False, True]
    assert tokenizer(5).cut("")[0].tolist() == [2, 3]


def test_tokens_are_counted_and_those_that_the_vocabulary_knows() -> None:
    counted = {
        text: tokenizer().count(text)
        for text in ("a red ball", "\u732b", "\u732b red", "\u200b\u0001", "\ud800", "?! … --", "\u2665")
    }
    assert counted == {
        "a red ball": (3, 3),
        "\u732b": (1, 0),
        "\u732b red": (2, 1),
        "\u200b\u0001": (0, 0),
        "\ud800": (1, 0),
        "?! … --": (0, 0),
        "\u2665": (1, 0),
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("कमल", "कमाल"),  # Devanagari: lotus, wonder; they differ by a vowel sign
        ("ตา", "ตี"),  # Thai: eye, hit
        ("かき", "がき"),  # kana: persimmon, brat
        ("はは", "ぱぱ"),
        ("мои", "мой"),  # Cyrillic: my (several), my (one)
        ("все", "всё"),
        ("كَتَبَ", "كُتُبِ"),  # Arabic, with its vowels: he wrote, of books
    ],
)
def test_words_that_differ_by_a_mark_that_is_no_accent_are_two(one: str, other: str) -> None:
    tokenizer = word_piece([f"{one} {other} a"], 500)
    first, second, unknown = (tokenizer.encode(word, add_special_tokens=False).ids for word in (one, other, "?"))
    assert first != second and unknown[0] not in (*first, *second)
    decomposed = tokenizer.encode(unicodedata.normalize("NFD", other), add_special_tokens=False).ids
    assert decomposed == second  # file names on a Mac are written so


def test_accents_of_latin_and_greek_letters_are_dropped_as_before() -> None:
    tokenizer = word_piece(["cafe resume ελλαδα a"], 500)
    for word, plain in (("Café", "cafe"), ("résumé", "resume"), ("Ελλάδα", "ελλαδα")):
        assert tokenizer.encode(word).ids == tokenizer.encode(plain).ids
