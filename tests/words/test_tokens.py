"""Words: the same in a query and in a table, whatever the script."""

from __future__ import annotations

import pytest

from hcq_cli.words.tokens import asked_words, words_of, words_of_name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zoë's CAFÉ, 2nd floor!", "zoe s cafe 2nd floor"),
        ("Ærøskøbing Straße ﬁne", "ærøskøbing strasse fine"),
        ("Cafe\u0301 = Café", "cafe cafe"),
        ("мой", "мой"),  # й is a letter of its own
        ("हिन्दी में", "हिन्दी में"),
        ("生日快乐 happy", "生 日 快 乐 happy"),
        ("がカ", "が カ"),
        ("한국어 말", "한국어 말"),
        ("snake_case-word… \"quoted\" 'x' a\0b", "snake case word quoted x a b"),
        ("\udcff lone", "lone"),
        ("🎂 ---", ""),
    ],
)
def test_words(text: str, words: str) -> None:
    assert words_of(text) == words.split()
    assert words_of(" ".join(words_of(text))) == words_of(text)


def test_names_are_also_cut_where_capitals_and_digits_begin() -> None:
    assert words_of_name("holiday/OldBarn_IMG2023") == "holiday oldbarn img2023 holiday old barn img 2023".split()
    assert words_of_name("beach") == ["beach"]


@pytest.mark.parametrize(
    ("query", "phrases", "excluded", "rest"),
    [
        ("a man cooking", [], [], "a man cooking"),
        ('"Happy birthday"', ["happy birthday"], [], ""),
        (
            'cake "happy birthday" “to you” -cat -"hot dog"',
            ["happy birthday", "to you"],
            ["cat", "hot dog"],
            "cake",
        ),
        ("dog -cat", [], ["cat"], "dog"),
        ("-cat", [], ["cat"], ""),
        ("well-known - dog -- -, --x", [], [], "well-known - dog -- -, --x"),
        ('a 7" screen', [], [], 'a 7" screen'),
        ('"not closed', ["not closed"], [], ""),
        ('"" "!"', [], [], '"" "!"'),
        ('"生日" 快乐', ["生 日"], [], "快乐"),
    ],
)
def test_a_query_is_taken_apart(query: str, phrases: list[str], excluded: list[str], rest: str) -> None:
    asked = asked_words(query)
    assert [" ".join(each) for each in asked.phrases] == phrases
    assert [" ".join(each) for each in asked.excluded] == excluded
    assert asked.rest == rest


def test_words_that_tell_nothing_are_left_out() -> None:
    assert asked_words("the sound of a dog and the dog").telling == ("sound", "dog")
    assert len(asked_words(" ".join(f'"x{n}" -y{n} z{n}' for n in range(1000))).telling) <= 64
