"""Captions as token ids: a tokenizer with its limits, and a WordPiece vocabulary learned from captions.

Without torch, so that a query that needs none can use it too.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcq_cli.printable import whole_characters

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OTHERS = {"So", "Cs"}
"""Kinds of characters that mean something and are no letters: signs as ♥ and emoji, and halves of characters."""
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LONGEST_WORD = 64
"""Characters; a longer run of letters becomes [UNK]."""


@dataclass(frozen=True)
class TokenIds:
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
        tokenizer: of the `tokenizers` library; it is changed: what it pads and truncates by itself is switched off.
        max_tokens: longest caption, special tokens included.
        pad_id: of the vocabulary.
        cls_id: of the token whose vector stands for the sentence; None for encoders that have no such token.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, pad_id: int, cls_id: int | None) -> None:
        # A checkpoint holds the tokenizer as its library writes it, and is named by the hash of that file: limits
        # that were set in it would make the same model another one.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, self.max_tokens, self.pad_id, self.cls_id = tokenizer, max_tokens, pad_id, cls_id

    def __call__(self, captions: Sequence[str]) -> TokenIds:
        """Tokenize; undecodable bytes become question marks."""
        return self.pad([self.cut(caption) for caption in captions])

    def pad(self, rows: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]) -> TokenIds:
        """Rows of `cut` made rectangular: apart from it, since a training cuts once and pads every batch anew."""
        longest = max((len(ids) for ids, _ in rows), default=0)
        ids = np.full((len(rows), longest), self.pad_id, np.int64)
        special = np.ones((len(rows), longest), bool)
        mask = np.arange(longest) < np.array([len(row) for row, _ in rows], np.int64).reshape(-1, 1)
        if rows:
            ids[mask] = np.concatenate([row for row, _ in rows])
            special[mask] = np.concatenate([row for _, row in rows])
        return TokenIds(ids, mask, special)

    def cut(self, caption: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids and special-token marks of one caption, both [T], T ≤ max_tokens; words are cut, not [SEP]."""
        encoding = self.tokenizer.encode(whole_characters(caption), add_special_tokens=False)
        # Truncated before [CLS] and [SEP] come to it: an encoder has never seen a caption without them.
        encoding.truncate(self.most_tokens)
        encoding = self.tokenizer.post_process(encoding)
        return np.array(encoding.ids, np.int64), np.array(encoding.special_tokens_mask, bool)

    @property
    def most_tokens(self) -> int:
        """Of a caption that are read, special ones left out."""
        return max(self.max_tokens - self.tokenizer.num_special_tokens_to_add(False), 0)

    def count(self, caption: str) -> tuple[int, int]:
        """How many tokens a caption has, special ones left out, and how many of these the vocabulary knows.

        Of punctuation alone it has none: nobody looks for that, and its vector is near to something all the same.
        """
        if not any(letter.isalnum() or unicodedata.category(letter) in OTHERS for letter in caption):
            return 0, 0
        ids = self.tokenizer.encode(whole_characters(caption), add_special_tokens=False).ids
        # Unigram models do not tell the name of their unknown token; a vocabulary of bytes has none.
        unknown = self.tokenizer.token_to_id(getattr(self.tokenizer.model, "unk_token", None) or "<unk>")
        return len(ids), sum(token != unknown for token in ids)

    def length(self, caption: str) -> int:
        """Tokens of the uncut caption."""
        return len(self.tokenizer.encode(whole_characters(caption)).ids)


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
    # Equally frequent words in the order of the alphabet: a set's own order differs from process to process.
    pieces += sorted(counts, key=lambda word: (-counts[word], word))
    pieces += _shared_pieces(counts)
    return list(dict.fromkeys([*SPECIAL, *pieces]))[:size]


def _shared_pieces(words: Iterable[str]) -> list[str]:
    """Beginnings, and ends marked with ##, that at least two words have; those that save most letters first."""
    pieces: Counter[str] = Counter()
    for word in words:
        # A beginning of three letters, an end of two: shorter pieces are shared by nearly all words and mean nothing.
        pieces.update(word[:cut] for cut in range(3, len(word)))
        pieces.update(f"##{word[cut:]}" for cut in range(2, len(word) - 1))
    shared = [piece for piece, count in pieces.items() if count > 1]
    return sorted(shared, key=lambda piece: (-pieces[piece] * len(piece), piece))


def word_piece(captions: Sequence[str], size: int) -> Tokenizer:
    """A tokenizer with BERT's rules, lower case, and a vocabulary learned from `captions`.

    Accents are dropped where they are accents: from Latin and Greek letters. BERT drops the marks of all scripts, the
    vowels of Hindi and Thai with them, and takes ga for ka and the Cyrillic short i for i.

    Args:
        captions: the training captions.
        size: most entries of the vocabulary.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    # Not the library's own trainer: it breaks ties by the order of a hash table, so the same captions gave different
    # vocabularies, and with them models, on two machines.
    accents = normalizers.Replace(Regex(r"(?<=[\p{Latin}\p{Greek}])\p{Mn}+"), "")
    plain = normalizers.BertNormalizer(strip_accents=False)
    # Composed again, so that a letter and its mark are one character, as keyboards write it.
    normalizer = normalizers.Sequence([plain, normalizers.NFD(), accents, normalizers.NFC()])
    cutter = pre_tokenizers.BertPreTokenizer()
    cut = (cutter.pre_tokenize_str(normalizer.normalize_str(caption)) for caption in captions)
    entries = learn_vocabulary((word for parts in cut for word, _ in parts), size)
    ids = {entry: at for at, entry in enumerate(entries)}
    limit = LONGEST_WORD
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=limit))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, cutter
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer
