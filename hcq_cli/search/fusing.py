"""Channels in one answer: what the model sees and hears, what is said, shown and told in the words of the query,
captions and names that mean the same in others, and faces.

Their scores have nothing in common, so they are never added: each channel's ranks are, as reciprocals (Cormack,
Clarke and Büttcher, SIGIR 2009). A hit scores 61 / (60 + its rank with the model), and as much by its rank among the
words, times what the words are worth (`index_words._fit`): a sentence that holds all of a query comes first, whatever
the model makes of words that it has never seen; one that holds a part of it lifts what the model finds, too.
A hit is as sure as the surer of the model and of its caption or name, by what that means or by the words that it
holds: either may know it alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hcq_cli.search.arranging import worth_showing
from hcq_cli.search.index import Index
from hcq_cli.search.index_words import FoundWords, IndexWords
from hcq_cli.search.moments import Moment
from hcq_cli.search.query import NOTHING_FITS, Hit, QueryResult
from hcq_cli.words.tokens import ONLY_EXCLUDED, AskedWords

SMOOTHING = 60
"""How slowly a rank loses its worth; the constant of the paper."""
DEPTH = 100
"""Hits of a channel that are fused at least: a video that both know can lie deep in each."""
MODEL, WORDS, MEANING, FACE = "model", "words", "meaning", "face"
NO_WORDS = "holds no words, so what is in quotes or behind a dash cannot be looked for: hcq index build"
NOT_SAID = "nothing here says or shows just that"

ModelAnswers = Callable[[Index, Sequence[str], int], list[QueryResult]]
"""What the model finds for some texts in a collection, so many hits each."""


def with_words(
    collection: Index,
    asked: AskedWords,
    k: int,
    model: ModelAnswers,
    *,
    always: bool = False,
    vector: Callable[[str], np.ndarray] | None = None,
) -> QueryResult | None:
    """The answer to a query that words may have a say in: who says or shows it, and what the model finds.

    Args:
        collection: that is searched.
        asked: the query, taken apart.
        k: how many hits.
        model: asked where the query has words that are neither in quotes nor excluded.
        always: ask it in any case: it knows more of what is looked for than these words.
        vector: gives the vector of a text (`sentence_vectors.unit_vectors`), float32 [W], by the encoder of the
            collection; None where captions are looked for by their words alone.

    Returns:
        None where words have nothing to say, and the model alone is to be asked.
    """
    started = time.perf_counter()
    nothing = QueryResult(asked.query, (), collection.videos, text_ms=0.0, scan_ms=0.0)
    ranks = bool(asked.rest) or always
    if asked.exact and not asked.phrases and not ranks:
        return replace(nothing, note=ONLY_EXCLUDED)
    if not collection.sentences:
        at_all = nothing if asked.phrases else model(collection, [asked.rest], k)[0]
        return replace(at_all, note="; ".join(filter(None, [f"{collection.path}: {NO_WORDS}", at_all.note])))
    words = IndexWords(collection)
    if asked.exact:
        words = IndexWords(words.narrowed(asked))
        if not words.index.videos:
            return replace(nothing, note=NOT_SAID)
    depth = max(k, DEPTH)
    found, meant, text_ms = words.best(asked, depth), [], 0.0
    if vector is not None and asked.rest.strip() and any(segment.vectors for segment in words.index.segments):
        before = time.perf_counter()
        wanted = vector(asked.rest)
        text_ms = (time.perf_counter() - before) * 1000
        meant = words.meant(wanted, depth)
    words_ms = (time.perf_counter() - started) * 1000 - text_ms
    if not found and not meant and not asked.exact:
        return None
    answer = model(words.index, [asked.rest], depth)[0] if ranks else nothing
    whole = replace(fused(answer, found, k, meant), query=asked.query, videos_searched=collection.videos)
    return replace(whole, text_ms=whole.text_ms + text_ms, scan_ms=whole.scan_ms + words_ms)


@dataclass(frozen=True)
class FoundFace:
    """A video that shows a face like one that is looked for.

    Args:
        id: of the video.
        path: of its file.
        likeness: the cosine of its nearest face.
        moment: where that is seen; None where that is not known.
    """

    id: str
    path: str
    likeness: float
    moment: Moment | None


def fused(
    answer: QueryResult,
    words: Sequence[FoundWords],
    k: int,
    meant: Sequence[FoundWords] = (),
    faces: Sequence[FoundFace] = (),
) -> QueryResult:
    """An answer of the model and what was found by words, by meaning and by faces, by their ranks.

    Args:
        answer: of the model, best first; without hits where it was not asked.
        words: best first.
        k: how many hits.
        meant: best first; a hit shows its sentence where that means nearly the same, and there is no other.
        faces: best first; a hit shows the moment of its face.
    """
    hits: dict[str, Hit] = {}
    scores: dict[str, float] = {}
    says_how_sure = any(hit.confidence is not None for hit in answer.hits)
    for rank, hit in enumerate(answer.hits, 1):
        # Of the moments of a video the best one goes by its id: words are about that.
        key = hit.id if hit.id not in hits else f"{hit.id}#{rank}"
        hits[key] = replace(hit, found_by=hit.found_by or {MODEL: rank})
        scores[key] = reciprocal(rank)
    for channel, all_found in ((WORDS, words), (MEANING, meant)):
        for rank, found in enumerate(all_found, 1):
            hit = hits.get(found.id) or Hit(0, 0.0, found.id, found.path, found_by={})
            said = found.sentence if channel == WORDS or (hit.words is None and found.worth == 1) else hit.words
            if says_how_sure:
                hit = replace(hit, confidence=max(hit.confidence or 0.0, found.confidence))
            hits[found.id] = replace(hit, words=said, found_by={**(hit.found_by or {}), channel: rank})
            scores[found.id] = scores.get(found.id, 0.0) + found.worth * reciprocal(rank)
    for rank, face in enumerate(faces, 1):
        hit = hits.get(face.id) or Hit(0, 0.0, face.id, face.path)
        hits[face.id] = replace(hit, moment=face.moment or hit.moment, found_by={**(hit.found_by or {}), FACE: rank})
        scores[face.id] = scores.get(face.id, 0.0) + reciprocal(rank)
    # Equal scores: what the words have found first, then as the channels found them.
    order = sorted(hits, key=lambda key: (-scores[key], WORDS not in (hits[key].found_by or {})))
    best = [replace(hits[key], rank=rank, score=scores[key]) for rank, key in enumerate(order[:k], 1)]
    whole = replace(answer, hits=tuple(best))
    # The model's doubt holds unless somebody says the words; where no word is known, so does that of the captions.
    told = words or (meant and answer.note == NOTHING_FITS)
    return replace(whole, note=whole.lasting) if told and not worth_showing(whole)[1] else whole


def reciprocal(rank: int) -> float:
    """What a rank, from 1, is worth: 1 at most."""
    return (SMOOTHING + 1) / (SMOOTHING + rank)
