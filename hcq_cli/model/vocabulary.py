"""A WordPiece vocabulary learned from captions: the same from the same captions, on every machine."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LONGEST_WORD = 64
"""Characters; a longer run of letters becomes [UNK]."""


def learn_vocabulary(words: Iterable[str], size: int) -> list[str]:
    """The entries, special ones first.

    Every character alone (so that no word of known letters is unknown), then whole words by frequency, then the
    beginnings and ends that several words share: they let `dogs` be read as `dog ##s` where only `dog` was seen.

    Args:
        words: as the normaliser and pre-tokeniser cut them.
        size: most entries.
    """
    counts = Counter(word for word in words if len(word) <= LONGEST_WORD)
    characters = sorted({c for word in counts for c in word} | set(string.ascii_lowercase + string.digits))
    pieces = [*characters, *(f"##{c}" for c in characters)]
    pieces += sorted(counts, key=lambda word: (-counts[word], word))
    pieces += _shared_pieces(counts)
    return list(dict.fromkeys([*SPECIAL, *pieces]))[:size]


def _shared_pieces(words: Iterable[str]) -> list[str]:
    """Beginnings, and ends marked with ##, that at least two words have; those that save most letters first."""
    pieces: Counter[str] = Counter()
    for word in words:
        pieces.update(word[:cut] for cut in range(3, len(word)))
        pieces.update(f"##{word[cut:]}" for cut in range(2, len(word) - 1))
    shared = [piece for piece, count in pieces.items() if count > 1]
    return sorted(shared, key=lambda piece: (-pieces[piece] * len(piece), piece))


def word_piece(captions: Sequence[str], size: int) -> Tokenizer:
    """A tokenizer with BERT's rules (lower case, accents dropped) and a vocabulary learned from `captions`.

    Args:
        captions: the training captions.
        size: most entries of the vocabulary.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    normalizer, cutter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    cut = (cutter.pre_tokenize_str(normalizer.normalize_str(caption)) for caption in captions)
    entries = learn_vocabulary((word for parts in cut for word, _ in parts), size)
    ids = {entry: at for at, entry in enumerate(entries)}
    limit = LONGEST_WORD
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=limit))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, cutter
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer
