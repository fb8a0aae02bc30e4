"""Words as they are stored and looked for, and what a query asks of them: `dog "happy birthday" -cat`.

They are in small letters, without accents, Chinese sign by sign. What stands in quotes must be said or shown just so,
what follows a dash must not be, and the rest ranks. A dash inside a word (`well-known`) and one that stands alone are
no exclusions.

Done here, and not by SQLite: its table of letters is that of Unicode 6, a query and a table must be cut alike
whatever SQLite is installed, and no tokenizer of its own finds a word of two signs in a sentence without spaces.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from hcq_cli.printable import whole_characters
from hcq_cli.words.sentences import LONGEST, Sentence

# Accents of Latin and Greek letters alone: й is no и, and a vowel sign of Hindi no ornament.
_ACCENTS = re.compile(r"([a-z\u0250-\u02af\u0370-\u03ff])[\u0300-\u036f]+")
_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),
    (0x3041, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Chinese signs
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Scripts that put no spaces between words: each sign is a word, and a word of several is looked for as a phrase."""


class _Letters(dict[int, str]):
    """What stands for a sign, by its number; filled as signs come up."""

    def __missing__(self, number: int) -> str:
        sign = chr(number)
        if unicodedata.category(sign)[0] not in "LNM":
            found = " "
        elif any(first <= number <= last for first, last in _WITHOUT_SPACES):
            found = f" {sign} "
        else:
            found = sign
        self[number] = found
        return found


_LETTERS = _Letters()


def words_of(text: str) -> list[str]:
    """The words of a text, in order: `Zoë's café` → `zoe s cafe`."""
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", whole_characters(text[:LONGEST]).casefold())
        text = unicodedata.normalize("NFKC", _ACCENTS.sub(r"\1", apart))
    return text[:LONGEST].lower().translate(_LETTERS).split()


def words_of_name(name: str) -> list[str]:
    """The words of the name of a file or folder: `OldBarn_2023` → `oldbarn 2023 old barn`."""
    whole = words_of(name)
    apart = words_of(re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", name))
    return whole if apart == whole else whole + apart


def words_of_sentence(sentence: Sentence) -> list[str]:
    """The words of a sentence, by where it comes from: as a table has them, and as a query's are compared with."""
    return words_of_name(sentence.text) if sentence.source == "name" else words_of(sentence.text)


ONLY_EXCLUDED = "the query says only what must not occur"
MOST = 64
"""Phrases, exclusions or words of a query that are heeded: a pasted page is no list of conditions."""
_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»", '"'))
_PARTS = re.compile(r'(?P<against>(?<!\S)-(?=[^\W_]|"))?(?:(?<![^\s-])"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+))')
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been but by can do does for from had has have he her his how i if in into is "
        "it its me my no not of on one or our out she so some someone something that the their them then "
        "there they this to up us was we were what when where which who will with you your",
    )
)
"""English words that say nothing of what is looked for; those of other languages are told by how often they stand."""


@dataclass(frozen=True)
class AskedWords:
    """A query, taken apart.

    Args:
        query: as it was written.
        phrases: what must be said or shown, each as its words.
        excluded: what must not be.
        rest: the query without these, as it was written; the model is asked this.
    """

    query: str
    phrases: tuple[tuple[str, ...], ...]
    excluded: tuple[tuple[str, ...], ...]
    rest: str

    @property
    def exact(self) -> bool:
        """Whether it says what must or must not occur."""
        return bool(self.phrases or self.excluded)

    @property
    def telling(self) -> tuple[str, ...]:
        """The words of the rest that say something, each once."""
        return tuple(dict.fromkeys(word for word in words_of(self.rest) if word not in _COMMON))[:MOST]


def asked_words(query: str) -> AskedWords:
    """Take a query apart. A quote that is not closed goes to the end; one behind a word is a sign of inches."""
    phrases: list[tuple[str, ...]] = []
    excluded: list[tuple[str, ...]] = []
    rest: list[str] = []
    for part in _PARTS.finditer(query.translate(_QUOTES)):
        if not part["against"] and part["quoted"] is None:
            rest.append(part["plain"])
        elif words := tuple(words_of(part["plain"] if part["quoted"] is None else part["quoted"]))[:MOST]:
            (excluded if part["against"] else phrases).append(words)
    if not phrases and not excluded:
        return AskedWords(query, (), (), query)  # letter by letter: the model answers as it always did
    return AskedWords(query, tuple(phrases[:MOST]), tuple(excluded[:MOST]), " ".join(rest))
