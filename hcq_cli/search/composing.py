"""A query of several parts: videos that hits should be like, words, and what hits should not be like.

Each part p is a vector of all its levels, and counts by its direction alone: the query is

    q = √(L+1) · v / ‖v‖,   v = Σ_p w_p · p / ‖p‖,

with w = 1 for each example and for the text, −½ for what hits should not be like: a part that is against something
then turns the query away from it, and does not outweigh what is looked for. Lengths are taken over all levels
together, since a rotation mixes levels. √(L+1) is the length of L+1 levels of length 1, so that scores are in the
range of other queries.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import UsageError
from hcq_cli.search.query import NO_WORD, NONE_KNOWN, QueryResult, check_model, search_levels
from hcq_cli.search.searchable import SearchableCodes, SearchParams
from hcq_cli.search.text_encoder import TextEncoder

FOR, AGAINST = 1.0, -0.5
"""Weights of a part that hits should be like, and of one that they should not be like."""
NOT_LOOKED_FOR = "--not says what is not looked for: give a text or --like ID, too"


def compose(wanted: NDArray[np.float32], unwanted: NDArray[np.float32]) -> NDArray[np.float32]:
    """One query of several parts, by the formula above.

    Args:
        wanted: float32 [n, L+1, D], what hits should be like; may be empty, if `unwanted` is not.
        unwanted: float32 [m, L+1, D], what they should not be like.

    Returns:
        float32 [1, L+1, D].
    """
    parts = np.concatenate([wanted, unwanted])
    weights = np.array([FOR] * len(wanted) + [AGAINST] * len(unwanted), np.float32)
    lengths = np.linalg.norm(parts.reshape(len(parts), -1), axis=1)
    # Parts that cancel each other out leave nearly no length, which must not become NaN.
    tiny = np.float32(1e-12)
    mixed = ((weights / np.maximum(lengths, tiny))[:, None, None] * parts).sum(0, keepdims=True)
    length = np.maximum(np.linalg.norm(mixed), tiny)
    return np.asarray(mixed * (np.sqrt(parts.shape[1]) / length), np.float32)


@dataclass(frozen=True)
class ComposedSearch:
    """What a model finds for a text together with examples, and against what is not wanted.

    Args:
        examples: float32 [n, L+1, D], what hits should be like; n may be 0.
        unwanted: texts.
        encoder: of the model, prepared; None where there is no text at all.
        threads, params: as in `search_texts`.
    """

    examples: NDArray[np.float32]
    unwanted: Sequence[str]
    encoder: TextEncoder | None
    threads: int
    params: SearchParams

    def answers(self, collection: SearchableCodes, texts: Sequence[str], k: int) -> list[QueryResult]:
        """Answer texts, each together with the examples; "" for the examples alone.

        Raises:
            UsageError: a text holds no word, or k is less than 1.
            ModelMismatchError: the encoder is of another model.
        """
        return [self._answer(collection, text, k) for text in texts]

    def _answer(self, collection: SearchableCodes, text: str, k: int) -> QueryResult:
        started = time.perf_counter()
        wanted = np.concatenate([self.examples, self._levels(collection, [text] if text.strip() else [])])
        query = compose(wanted, self._levels(collection, self.unwanted))
        text_ms = (time.perf_counter() - started) * 1000
        found = search_levels(
            collection, [text], query, k, threads=self.threads, text_ms=text_ms, params=self.params
        )[0]
        return replace(found, note=self._unknown([text, *self.unwanted]))

    def _levels(self, collection: SearchableCodes, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts as vectors, float32 [n, L+1, D]."""
        if not texts or self.encoder is None:
            return np.empty((0, collection.header.levels, collection.header.D), np.float32)
        check_model(self.encoder, collection)
        for text, (tokens, _) in zip(texts, self.encoder.count_tokens(texts), strict=True):
            if not tokens:
                raise UsageError(f"{text!r}: {NO_WORD}", 'hcq query "a beach" --not "people"')
        # Bytes that are no UTF-8 reach us as lone surrogates, which no tokenizer takes.
        return self.encoder.encode([text.encode("utf-8", "replace").decode() for text in texts])

    def _unknown(self, texts: Sequence[str]) -> str:
        """What to say of texts of which the model knows no word; empty where there are none."""
        given = [text for text in texts if text.strip()]
        if self.encoder is None or not given:
            return ""
        counts = self.encoder.count_tokens(given)
        lost = [text for text, (_, known) in zip(given, counts, strict=True) if not known]
        return f"{', '.join(map(repr, lost))}: {NONE_KNOWN}" if lost else ""
