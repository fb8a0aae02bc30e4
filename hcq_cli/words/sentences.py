"""A sentence: what is said, shown or told of a video, and where each kind comes from."""

from __future__ import annotations

from dataclasses import dataclass

SOURCES = ("speech", "ocr", "subtitles", "caption", "name")
"""Where words come from. Files hold the numbers of these: new ones go to the end."""
LONGEST = 10_000
"""Letters of a sentence that are kept: a whole page of text is one still."""


@dataclass(frozen=True)
class Sentence:
    """Some words of a video.

    Args:
        text: on one line.
        source: one of `SOURCES`.
        start_s, end_s: when they are said or shown, seconds; None where they are about the whole video.
        language: as a file's name says it (`en`, `pt-BR`); empty where that is not known.
    """

    text: str
    source: str
    start_s: float | None = None
    end_s: float | None = None
    language: str = ""


def one_line(text: str) -> str:
    """A text on one line, without the characters that only a terminal would obey."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST])
    return " ".join(printable.split())
