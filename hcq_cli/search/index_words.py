"""The words of an index: which videos say or show what a query asks for, by whatever tables their segments have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby

import numpy as np

from hcq_cli.codes.ids import video_of
from hcq_cli.search.filtered import FilteredIndex
from hcq_cli.search.index import Index
from hcq_cli.search.segment import IndexSegment
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.table import SHIFT, WordsTable
from hcq_cli.words.tokens import AskedWords, words_of_sentence

WORTH = {"speech": 1.0, "ocr": 1.0, "subtitles": 1.0, "caption": 1.0, "name": 0.25}
"""How much a sentence of each source counts: names of files are the weakest hint."""
LEAST_SHARE = 0.6
"""Of what the words of a query tell (by their rarity) a sentence must hold so much to count, or else…"""
LEAST_SURPRISE = 0.5
"""…two words or more, so rare that of N sentences no more than √N hold all of them by chance: the exponent."""
SEVERAL = 2.0
"""What a sentence is worth that holds all of several words: more than the best that the model finds, which knows
nothing of them and finds something all the same."""
COUNTED = 50_000
"""Sentences up to which those of a word are counted: one that stands in more leads a search no more."""
LIKE, NEARLY_SAME = 0.1, 0.5
"""Likeness (sentence_vectors.py) from which on a caption counts, and from which on it counts in full and is shown."""
MEANT_WORTH = {"caption": 1.0, "name": 0.5}
LIKE_MIDDLE, LIKE_SLOPE = 0.4, 8.0
"""The likeness with which a hit is as likely right as wrong, and how fast its confidence rises there
(examples/EXPERIMENTS.md)."""
MOST_READ = 1 << 16
"""Sentences of a segment that are looked at for a query at most."""


@dataclass(frozen=True)
class FoundWords:
    """A video that says or shows what was asked for.

    Args:
        id: of the video.
        sentence: the best of its sentences.
        worth: what that is worth beside what the model finds, 0 to `SEVERAL`.
        likeness: how near its meaning is to the query's (`SentenceVectors.likeness`); of one that was found by its
            words `LIKE_MIDDLE` where it holds what the query tells, else 0.
    """

    id: str
    path: str
    sentence: Sentence
    worth: float
    likeness: float = 0.0

    @property
    def confidence(self) -> float:
        """That it fits, 0 to 1."""
        return 1 / (1 + math.exp(LIKE_SLOPE * (LIKE_MIDDLE - self.likeness)))


@dataclass(frozen=True)
class _Part:
    """A segment with words, and its table of these."""

    segment: IndexSegment
    table: WordsTable

    @cached_property
    def alive(self) -> np.ndarray:
        """Whether any row of the video whose first row this is can be found, bool [N]."""
        if self.segment.dead is None:
            return self.segment.alive
        alive = np.zeros(self.segment.videos, bool)
        alive[self.segment.first_rows[self.segment.alive]] = True
        return alive

    def holding(self, expression: str) -> np.ndarray:
        """Which rows are the first ones of videos with a sentence that fits an expression of FTS5, bool [N]."""
        rows, found = self.table.rows(expression), np.zeros(self.segment.videos, bool)
        found[rows[rows < len(found)]] = True
        return found

    def candidates(
        self, expression: str, fit: Callable[[Sentence], float], k: int
    ) -> list[tuple[float, int, Sentence]]:
        """The best sentences by BM25 that an expression of FTS5 finds, of `k` videos or a few more.

        Returns:
            How well each fits the query by `fit`, the row of its video, and itself; without those that do not fit.
        """
        limit = 8 * k
        while True:
            ids = self.table.best(expression, limit)
            living = [id for id in ids if (id >> SHIFT) < len(self.alive) and self.alive[id >> SHIFT]]
            fits = [
                (how_well, id >> SHIFT, sentence)
                for id, sentence in zip(living, self.table.read(living), strict=True)
                if (how_well := fit(sentence))
            ]
            if len({row for _, row, _ in fits}) >= k or len(ids) < limit or limit >= MOST_READ:
                return fits
            limit *= 8

    def found(self, row: int, sentence: Sentence, worth: float, likeness: float) -> FoundWords:
        """The video of a row, as found by one of its sentences."""
        name, path = self.segment.name(row)
        return FoundWords(video_of(name), path, sentence, worth, likeness)


class IndexWords:
    """What is said, shown and told of an index's videos.

    Args:
        index: open; where it is narrowed, only those videos are found that can be.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self._parts = [_Part(segment, segment.words) for segment in index.segments if segment.words is not None]
        self.sentences = sum(part.table.sentences for part in self._parts)

    def by_video(self) -> Iterator[tuple[tuple[str, str], list[Sentence]]]:
        """Id and path of each video that can be found and has words, and its sentences."""
        for part in self._parts:
            everything = ((row, each) for row, each in part.table.everything() if row < part.segment.videos)
            for row, sentences in groupby(everything, key=lambda pair: pair[0]):
                if part.alive[row]:
                    yield part.segment.name(row), [sentence for _, sentence in sentences]

    def narrowed(self, asked: AskedWords) -> FilteredIndex:
        """The index without the videos that lack a phrase of a query, or have what it excludes."""
        kept, tables = [], iter(self._parts)
        for segment in self.index.segments:
            keep = np.full(segment.videos, segment.words is not None or not asked.phrases)
            if segment.words is not None:
                part = next(tables)
                for phrase in asked.phrases:
                    keep &= part.holding(_phrase(phrase))
                if asked.excluded:
                    keep &= ~part.holding(" OR ".join(map(_phrase, asked.excluded)))
                keep = keep[segment.first_rows]
            kept.append(keep)
        return FilteredIndex(self.index, kept)

    def best(self, asked: AskedWords, k: int) -> list[FoundWords]:
        """The videos whose sentences fit a query best, `k` at most, the best first; each by its best sentence.

        Where the query has phrases, a sentence counts by how many of them it holds, and then by the other words.
        """
        telling = asked.telling
        counts = [{word: part.table.count(word, COUNTED) for word in telling} for part in self._parts]
        # What each word tells: the rarer it is the more (the inverse document frequency of BM25).
        rarity = {word: min(sum(count[word] for count in counts), self.sentences) for word in telling}
        weights = {word: math.log1p((self.sentences - n + 0.5) / (n + 0.5)) for word, n in rarity.items()}
        fit = partial(_fit, asked=asked, weights=weights, sentences=self.sentences)
        found = [
            (how_well, number, order, part, row, sentence)
            for number, (part, count) in enumerate(zip(self._parts, counts, strict=True))
            if (expression := _expression(asked, weights, count))
            for order, (how_well, row, sentence) in enumerate(part.candidates(expression, fit, k))
        ]
        found.sort(key=lambda one: (-one[0], one[2], one[1]))
        most = 1.0 if asked.phrases else SEVERAL
        return _a_video_once(
            (
                part.found(row, each, min(fits, most), LIKE_MIDDLE if fits >= WORTH[each.source] else 0.0)
                for fits, _, _, part, row, each in found
            ),
            k,
        )

    def meant(self, query: np.ndarray, k: int) -> list[FoundWords]:
        """The videos whose captions or names mean what a query does, `k` at most, the best first; `query` is its
        vector (`sentence_vectors.unit_vectors`), float32 [W].

        Raises:
            DamagedError: the vectors are of another text encoder.
        """
        near: list[tuple[float, float, _Part, int, Sentence]] = []  # worth, likeness, …
        for part in self._parts:
            if (vectors := part.segment.vectors) is None:
                continue
            likeness, rows = vectors.likeness(query), (vectors.ids >> np.uint64(SHIFT)).astype(np.int64)
            # Of a row outside the segment, in a damaged file, nothing is found.
            kept = np.flatnonzero((likeness >= LIKE) & (rows < len(part.alive)))
            kept = kept[part.alive[rows[kept]]]
            best = kept[np.argsort(-likeness[kept], kind="stable")][: 4 * k]
            sentences = part.table.read(vectors.ids[best].tolist())
            for like, row, sentence in zip(likeness[best].tolist(), rows[best].tolist(), sentences, strict=True):
                worth = min(like / NEARLY_SAME, 1.0) * MEANT_WORTH.get(sentence.source, 0.0)
                near.append((worth, like, part, row, sentence))
        near.sort(key=lambda one: (-one[0], -one[1]))  # of those that count in full, the nearer one
        return _a_video_once((part.found(row, each, worth, like) for worth, like, part, row, each in near), k)


def _expression(asked: AskedWords, weights: dict[str, float], counts: dict[str, int]) -> str:
    """An expression of FTS5 that every sentence of a table fits which may count; empty where none does.

    Args:
        weights: what each word tells.
        counts: in how many sentences of the table each stands, up to `COUNTED`.
    """
    if asked.phrases:
        return " OR ".join(map(_phrase, asked.phrases))
    # A sentence without the rarest words, these, cannot hold a sufficient share: all the others are too little.
    needed, leading, led = (1 - LEAST_SHARE) * sum(weights.values()), [], 0
    for word in sorted(weights, key=lambda word: -weights[word]):
        led += counts[word]
        if led >= COUNTED:
            break
        leading.append(word)
        needed -= weights[word]
    every, some = (
        joint.join(f'"{word}"' for word in words) for joint, words in ((" AND ", weights), (" OR ", leading))
    )
    return some if needed < 0 else every


def _a_video_once(found: Iterable[FoundWords], k: int) -> list[FoundWords]:
    """Of what was found, best first, the first of each video; `k` videos at most."""
    hits: dict[str, FoundWords] = {}
    for each in found:
        hits.setdefault(each.id, each)
        if len(hits) == k:
            break
    return list(hits.values())


def _phrase(words: Sequence[str]) -> str:
    """Words that follow each other, as FTS5 asks for them; they hold letters and digits alone."""
    return f'"{" ".join(words)}"'


def _fit(sentence: Sentence, asked: AskedWords, weights: dict[str, float], sentences: int) -> float:
    """How well a sentence, of so many, fits: with phrases how many it holds, and what share of the other words.

    Without phrases it is the square of the share, times what the source is worth, and twice that where it holds
    several words: what holds half of a query is a hint, what holds all of it an answer. 0 where that is too little.
    """
    words = words_of_sentence(sentence)
    held = set(words)
    told = [weight for word, weight in weights.items() if word in held]
    share = sum(told) / sum(weights.values()) if told else 0.0
    if asked.phrases:
        text = f" {' '.join(words)} "
        return sum(f" {' '.join(phrase)} " in text for phrase in asked.phrases) + share * WORTH[sentence.source] / 2
    surprising = len(told) > 1 and sum(told) >= LEAST_SURPRISE * math.log(sentences + 1)
    if share < LEAST_SHARE and not surprising:
        return 0.0
    return (SEVERAL if len(told) > 1 else 1.0) * share**2 * WORTH[sentence.source]
