"""A query that words have a say in: who says or shows it, fused with what the model finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hcq_cli.search.fusing import DEPTH, fused
from hcq_cli.search.index import Index
from hcq_cli.search.index_words import IndexWords
from hcq_cli.search.query import QueryResult
from hcq_cli.words.asked import AskedWords

NO_WORDS = "holds no words, so what is in quotes or behind a dash cannot be looked for: hcq index build"
NOT_SAID = "nothing here says or shows just that"

ONLY_EXCLUDED = "the query says only what must not occur"

ModelAnswers = Callable[[Index, Sequence[str], int], list[QueryResult]]
"""What the model finds for some texts in a collection, so many hits each."""


class WordSearch:
    """Answers queries from a collection by its words, and by a model.

    Args:
        collection: an index, or a code file, which has no words.
        model: asked where a query has words that are neither in quotes nor excluded.
        always: ask it in any case: it knows more of what is looked for than these words.
        vector: gives the vector of a text (`sentence_vectors.unit_vectors`), float32 [W], by the encoder of the
            collection; None where captions are looked for by their words alone.
    """

    def __init__(
        self,
        collection: Index,
        model: ModelAnswers,
        *,
        always: bool = False,
        vector: Callable[[str], np.ndarray] | None = None,
    ) -> None:
        self._collection, self._model, self._always, self._vector = collection, model, always, vector
        self._words = IndexWords(collection) if collection.sentences else None

    def answer(self, query: str, asked: AskedWords, k: int) -> QueryResult | None:
        """The answer to a query; None where words have nothing to say, and the model alone is to be asked."""
        started, words = time.perf_counter(), self._words
        nothing = QueryResult(query, (), self._collection.videos, text_ms=0.0, scan_ms=0.0)
        ranks = bool(asked.rest) or self._always
        if asked.exact and not asked.phrases and not ranks:
            return replace(nothing, note=ONLY_EXCLUDED)
        if words is None:
            note = f"{self._collection.path}: {NO_WORDS}"
            return replace(nothing if asked.phrases else self._model(self._collection, [asked.rest], k)[0], note=note)
        searched: Index = words.index
        if asked.exact:
            searched = words.narrowed(asked)
            if not searched.videos:
                return replace(nothing, note=NOT_SAID)
            words = IndexWords(searched)
        depth = max(k, DEPTH)
        found, meant, text_ms = words.best(asked, depth), [], 0.0
        if self._vector is not None and words.has_vectors and asked.rest.strip():
            before = time.perf_counter()
            vector = self._vector(asked.rest)
            text_ms = (time.perf_counter() - before) * 1000
            meant = words.meant(vector, depth)
        words_ms = (time.perf_counter() - started) * 1000 - text_ms
        if not found and not meant and not asked.exact:
            return None
        answer = self._model(searched, [asked.rest], depth)[0] if ranks else nothing
        whole = fused(answer, found, k, meant)
        return replace(
            whole,
            query=query,
            videos_searched=self._collection.videos,
            text_ms=whole.text_ms + text_ms,
            scan_ms=whole.scan_ms + words_ms,
        )
