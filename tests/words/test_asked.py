"""What a query asks of words."""

from __future__ import annotations

import pytest

from hcq_cli.words.asked import asked_words


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
