"""The generic sentences."""

from __future__ import annotations

from collections import Counter

from hcq_cli.fitting.sentences import generic_sentences


def test_the_sentences_are_different_and_always_the_same() -> None:
    sentences = generic_sentences()
    assert len(set(sentences)) == len(sentences) == 512
    assert generic_sentences(20) == sentences[:20]
    words = Counter(" ".join(sentences).split())
    assert {"kitchen", "dog", "swimming", "stage"} <= set(words)
    assert words["dog"] < 60  # no part is in all of them
