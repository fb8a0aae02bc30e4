"""What a query asks of words: `dog "happy birthday" -cat`.

What stands in quotes must be said or shown just so, what follows a dash must not be, and the rest ranks. A dash
inside a word (`well-known`) and one that stands alone are no exclusions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hcq_cli.words.tokens import words_of

ONLY_EXCLUDED = "the query says only what must not occur"
MOST = 64
"""Phrases, exclusions or words of a query that are heeded: a pasted page is no list of conditions."""
_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»", '"'))
_PARTS = re.compile(r'(?P<against>(?<!\S)-(?=[^\W_]|"))?(?:(?<![^\s-])"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+))')
_COMMON = frozenset(
    words_of(
        "a an and are as at be been but by can do does for from had has have he her his how i if in into is "
        "it its me my no not of on one or our out she so some someone something that the their them then "
        "there they this to up us was we were what when where which who will with you your"
    )
)
"""English words that say nothing of what is looked for; those of other languages are told by how often they stand."""


@dataclass(frozen=True)
class AskedWords:
    """A query, taken apart.

    Args:
        phrases: what must be said or shown, each as its words.
        excluded: what must not be.
        rest: the query without these, as it was written; the model is asked this.
    """

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
        words = tuple(words_of(part["plain"] if part["quoted"] is None else part["quoted"]))[:MOST]
        if part["against"]:
            excluded += [words] if words else []
        elif part["quoted"] is not None:
            phrases += [words] if words else []
        else:
            rest.append(part["plain"])
    if not phrases and not excluded:
        return AskedWords((), (), query)  # letter by letter: the model answers as it always did
    return AskedWords(tuple(phrases[:MOST]), tuple(excluded[:MOST]), " ".join(rest))
