"""A query of several parts: videos that hits should be like, words, and what hits should not be like.

Each part p is a vector of all its levels, and counts by its direction alone: the query is

    q = √(L+1) · v / ‖v‖,   v = Σ_p w_p · p / ‖p‖,

with w = 1 for each example and for the text, −½ for what hits should not be like: a part that is against something
then turns the query away from it, and does not outweigh what is looked for. A part that is written as `PART^W` counts
W times as much (the sign of Lucene). Lengths are taken over all levels
together, since a rotation mixes levels. √(L+1) is the length of L+1 levels of length 1, so that scores are in the
range of other queries.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import UsageError
from hcq_cli.search.index import Index
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import NO_WORD, NONE_KNOWN, QueryResult, check_model, search_levels
from hcq_cli.search.text_encoder import TextEncoder

FOR, AGAINST = 1.0, -0.5
"""Weights of a part that hits should be like, and of one that they should not be like."""
MOST_WEIGHT = 100.0
_WEIGHTED = re.compile(r"(?s)(.+)\^(\d+(?:\.\d+)?|\.\d+)")
NOT_LOOKED_FOR = "--not and --not-face say what is not looked for: give a text, --like ID or --face FILE, too"


def weighted(part: str) -> tuple[str, float]:
    """A part of a query and how often it counts: `surf.mp4^2` counts twice, without a weight once. A text that itself
    ends so is written with one more, `a^2^1`.

    Raises:
        UsageError: the weight is 0, or more than `MOST_WEIGHT`.
    """
    found = _WEIGHTED.fullmatch(part)
    weight = float(found[2]) if found else 1.0
    if not 0 < weight <= MOST_WEIGHT:
        raise UsageError(f"{part!r}: a weight is more than 0 and at most {MOST_WEIGHT:g}", "--like surf.mp4^2")
    return (found[1] if found else part), weight


def compose(parts: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """One query of several parts, by the formula above.

    Args:
        parts: float32 [n, L+1, D], n ≥ 1.
        weights: of each; less than 0 for what hits should not be like.

    Returns:
        float32 [1, L+1, D].
    """
    lengths = np.linalg.norm(parts.reshape(len(parts), -1), axis=1)
    # Parts that cancel each other out leave nearly no length, which must not become NaN.
    tiny = np.float32(1e-12)
    shares = np.array(weights, np.float32) / np.maximum(lengths, tiny)
    mixed = (shares[:, None, None] * parts).sum(0, keepdims=True)
    length = np.maximum(np.linalg.norm(mixed), tiny)
    return np.asarray(mixed * (np.sqrt(parts.shape[1]) / length), np.float32)


@dataclass(frozen=True)
class ComposedSearch:
    """What a model finds for a text together with examples, and against what is not wanted.

    Args:
        examples: what hits should be like, float32 [1, L+1, D], each with how often it counts; there may be none.
        unwanted: texts, each with how often it counts.
        encoder: of the model, prepared; None where there is no text at all.
        params: as in `search_texts`.
    """

    examples: Sequence[tuple[NDArray[np.float32], float]]
    unwanted: Sequence[tuple[str, float]]
    encoder: TextEncoder | None
    params: SearchParams

    def answers(self, collection: Index, texts: Sequence[str], k: int) -> list[QueryResult]:
        """Answer texts, each together with the examples; "" for the examples alone.

        Raises:
            UsageError: a text holds no word, or k is less than 1.
            ModelMismatchError: the encoder is of another model.
        """
        return [self._answer(collection, text, k) for text in texts]

    def _answer(self, collection: Index, text: str, k: int) -> QueryResult:
        started = time.perf_counter()
        texts, unwanted = [text] if text.strip() else [], [each for each, _ in self.unwanted]
        examples = [levels for levels, _ in self.examples]
        parts = [*examples, self._levels(collection, texts), self._levels(collection, unwanted)]
        weights = [FOR * weight for _, weight in self.examples] + [FOR] * len(texts)
        query = compose(np.concatenate(parts), weights + [AGAINST * weight for _, weight in self.unwanted])
        text_ms = (time.perf_counter() - started) * 1000
        found = search_levels(collection, [text], query, k, text_ms=text_ms, params=self.params)[0]
        return replace(found, note=self._unknown([text, *unwanted]))

    def _levels(self, collection: Index, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts as vectors, float32 [n, L+1, D]."""
        if not texts or self.encoder is None:
            return np.empty((0, collection.header.levels, collection.header.D), np.float32)
        check_model(self.encoder, collection)
        for text, (tokens, _) in zip(texts, self.encoder.count_tokens(texts), strict=True):
            if not tokens:
                raise UsageError(f"{text!r}: {NO_WORD}", 'hcq query "a beach" --not "people"')
        return self.encoder.encode(texts)

    def _unknown(self, texts: Sequence[str]) -> str:
        """What to say of texts of which the model knows no word; empty where there are none."""
        given = [text for text in texts if text.strip()]
        if self.encoder is None or not given:
            return ""
        counts = self.encoder.count_tokens(given)
        lost = [text for text, (_, known) in zip(given, counts, strict=True) if not known]
        return f"{', '.join(map(repr, lost))}: {NONE_KNOWN}" if lost else ""
