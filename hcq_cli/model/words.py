"""Captions as token ids. Without torch, so that a query that needs none can use it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Words:
    """Captions as token ids.

    Args:
        ids: int64 [B, T], padded on the right.
        mask: bool [B, T], True for tokens that are there.
        special: bool [B, T], True for [CLS], [SEP] and the like.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.bool_]
    special: NDArray[np.bool_]


class CaptionTokenizer:
    """Captions → padded ids, cut at `max_tokens`.

    Args:
        tokenizer: of the `tokenizers` library.
        max_tokens: longest caption, special tokens included.
        pad_id, cls_id: of the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, pad_id: int, cls_id: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, self.max_tokens, self.pad_id, self.cls_id = tokenizer, max_tokens, pad_id, cls_id

    def __call__(self, captions: Sequence[str]) -> Words:
        """Tokenize; undecodable bytes become question marks."""
        return self.pad([self.cut(caption) for caption in captions])

    def pad(self, rows: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]) -> Words:
        """Rows of `cut` made rectangular."""
        longest = max((len(ids) for ids, _ in rows), default=0)
        ids = np.full((len(rows), longest), self.pad_id, np.int64)
        special = np.ones((len(rows), longest), bool)
        mask = np.arange(longest) < np.array([len(row) for row, _ in rows], np.int64).reshape(-1, 1)
        if rows:
            ids[mask] = np.concatenate([row for row, _ in rows])
            special[mask] = np.concatenate([row for _, row in rows])
        return Words(ids, mask, special)

    def cut(self, caption: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids and special-token marks of one caption, both [T], T ≤ max_tokens; words are cut, not [SEP]."""
        encoding = self.tokenizer.encode(caption.encode("utf-8", "replace").decode())
        ids, special = np.array(encoding.ids, np.int64), np.array(encoding.special_tokens_mask, bool)
        if len(ids) > self.max_tokens:
            words = np.flatnonzero(~special)
            spare = max(self.max_tokens - int(special.sum()), 0)
            kept = np.ones(len(ids), bool)
            kept[words[spare:]] = False
            ids, special = ids[kept], special[kept]
        return ids, special

    def length(self, caption: str) -> int:
        """Tokens of the uncut caption."""
        return len(self.tokenizer.encode(caption.encode("utf-8", "replace").decode()).ids)
