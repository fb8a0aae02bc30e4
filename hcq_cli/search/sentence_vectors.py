"""Captions and names of videos as sentence vectors, so that they are found in other words than their own.

A file for each index segment whose words hold captions or telling names, made by the text encoder of the index where
that is a fitted model's: it reads sentences, and not what a few captions taught it. Vectors of unit length are kept
in their main directions (at most `KEPT`, fitted to a sample of them), a byte a number:

ids      uint64 [n]      of the sentences in the segment's table of words (words/table.py), ascending
hashes   uint64 [n]      of their texts: what is indexed again need not be encoded again
vectors  uint8 [n, d]    int8, in steps of `scale`
scale    float32 [n]
basis    float32 [d, W]  the directions, W numbers of the text encoder's levels each
generic  float32 [W, 1]  the mean of generic sentences: some encoders find all texts alike

That is d + 20 bytes a sentence (276 at most), and 4 · (d + 1) · W bytes once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hcq_cli.codes.container import Container, ContainerWriter
from hcq_cli.errors import DamagedError
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.tokens import words_of

if TYPE_CHECKING:
    from hcq_cli.words.table import WordsTable

FORMAT = "hcq-sentence-vectors"
REMEDY = "hcq index build"
SOURCES = ("caption", "name")
"""Of the sentences that get a vector (`words.sentences.SOURCES`)."""
KEPT = 256
"""d at most."""
SAMPLED = 512
"""Sentences, about, that the directions are fitted to."""
ENCODED_AT_ONCE, COMPARED_AT_ONCE = 256, 1 << 16
"""Sentences."""
LETTERS = 3
"""A word of a name says something from so many letters on, and a name from two such words on: no IMG_2034."""


class SentenceEncoder(Protocol):
    """What encodes texts: the text encoder of an index, or of its checkpoint."""

    def encode(self, texts: Sequence[str], /) -> np.ndarray:
        """float32 [n, L+1, D]."""
        ...


class SentenceVectors:
    """An open file of sentence vectors.

    Args:
        digest: that the manifest says it has; empty for any.

    Attributes:
        model_hash: of the model whose text encoder made them.

    Raises:
        NotFoundError: no such file.
        DamagedError: it is damaged or foreign.
    """

    def __init__(self, path: Path, digest: str = "") -> None:
        self._container, self.path = Container(path, FORMAT, REMEDY, digest), path
        self.model_hash = str(self._container.meta.get("model_hash", ""))
        directions = self._container.sections.get("basis")
        if directions is None or len(directions.shape) != 2:
            raise DamagedError(f"{path}: has no directions", REMEDY)
        kept, self.width = directions.shape
        self._basis = self._container.map("basis", "<f4", (self.width,))
        self.ids, self._hashes = self._container.map("ids", "<u8"), self._container.map("hashes", "<u8")
        self._vectors = self._container.map("vectors", "|u1", (kept,))
        self._scale = self._container.map("scale", "<f4")
        if not len(self.ids) == len(self._hashes) == len(self._vectors) == len(self._scale):
            raise DamagedError(f"{path}: its parts are of different lengths", REMEDY)
        self._generic = self._container.map("generic", "<f4", (1,))
        if len(self._generic) != self.width:
            raise DamagedError(f"{path}: its generic sentences are of another width", REMEDY)
        self._order: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def verify(self) -> None:
        """Check every byte. Raises DamagedError."""
        self._container.verify()

    def likeness(self, query: np.ndarray) -> np.ndarray:
        """How near each sentence is to a query of unit length, float32 [W]: 0 as near as generic sentences are, 1 the
        same; float32 [n]. Raises DamagedError where the query is of another width."""
        if query.shape != (self.width,):
            raise DamagedError(f"{self.path}: belongs to another text encoder", REMEDY)
        wanted, unrelated = self._basis @ query, min(float(self._generic[:, 0] @ query), 0.99)
        parts = [np.empty(0, np.float32)]
        for start in range(0, len(self.ids), COMPARED_AT_ONCE):
            rows = slice(start, start + COMPARED_AT_ONCE)
            parts.append(self._vectors[rows].view(np.int8).astype(np.float32) @ wanted * self._scale[rows])
        return (np.concatenate(parts) - unrelated) / (1 - unrelated)

    def known(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which texts, by their hashes uint64 [n], have a vector here: bool [n]; and it, float32 [found, W]."""
        if self._order is None:
            self._order = np.argsort(self._hashes)
        at = np.minimum(np.searchsorted(self._hashes, hashes, sorter=self._order), max(len(self.ids) - 1, 0))
        rows = self._order[at] if len(self.ids) else at
        found = self._hashes[rows] == hashes if len(self.ids) else np.zeros(len(hashes), bool)
        rows = rows[found]
        return found, self._vectors[rows].view(np.int8) * self._scale[rows, None] @ self._basis


def write_sentence_vectors(
    path: Path, table: WordsTable, encoder: ExportedTextEncoder, earlier: Sequence[SentenceVectors] = ()
) -> int:
    """Write the vectors of the captions and telling names of a table of words.

    Args:
        table: of the segment.
        encoder: of the index.
        earlier: files of the same model, for texts that are there already.

    Returns:
        how many there are; with none, no file is written.
    """
    count = sum(1 for _ in _telling_sentences(table))
    if not count:
        return 0
    earlier = [each for each in earlier if each.model_hash == encoder.hash]
    step = -(-count // SAMPLED)
    sampled = [text for number, (_, text) in enumerate(_telling_sentences(table)) if number % step == 0]
    basis = _directions(_encoded(sampled, encoder, earlier))
    waiting = _telling_sentences(table)
    with ContainerWriter(path, FORMAT, {"model_hash": encoder.hash}) as writer:
        writer.add("basis", basis, "<f4")
        writer.add("generic", _generic(encoder)[:, None], "<f4")
        ids, hashes = writer.section("ids", "<u8"), writer.section("hashes", "<u8")
        vectors, scale = writer.section("vectors", "|u1", (len(basis),)), writer.section("scale", "<f4")
        while some := list(islice(waiting, ENCODED_AT_ONCE)):
            texts = [text for _, text in some]
            numbers = _encoded(texts, encoder, earlier) @ basis.T
            steps = np.maximum(np.abs(numbers).max(1), 1e-12) / 127
            ids.write(np.array([id for id, _ in some], np.uint64))
            hashes.write(PackedStrings.of(texts).hashes())
            vectors.write(np.round(numbers / steps[:, None]).astype(np.int8).view(np.uint8))
            scale.write(steps)
    return count


def _telling_sentences(table: WordsTable) -> Iterator[tuple[int, str]]:
    """The id and the text of each sentence that a vector is made of."""
    for id, sentence in table.of_sources(SOURCES):
        if text := telling(sentence):
            yield id, text


def telling(sentence: Sentence) -> str:
    """What a vector is made of; empty for a name that says nothing."""
    if sentence.source != "name":
        return sentence.text
    words = [word for word in words_of(sentence.text) if len(word) >= LETTERS and word.isalpha()]
    return " ".join(words) if len(words) > 1 else ""


def unit_vectors(texts: Sequence[str], encoder: SentenceEncoder) -> np.ndarray:
    """Texts by the text encoder of an index, all levels one after another, of unit length: float32 [n, W]."""
    return _of_unit_length(encoder.encode([text.encode("utf-8", "replace").decode() for text in texts]))


def _of_unit_length(levels: np.ndarray) -> np.ndarray:
    """float32 [n, L+1, D] → float32 [n, W], each of length 1."""
    vectors = levels.reshape(len(levels), -1)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def _generic(encoder: ExportedTextEncoder) -> np.ndarray:
    """The mean of generic sentences as unit vectors, float32 [W]."""
    generic = encoder.generic_queries()
    if generic is None:
        return np.zeros(encoder.header.levels * encoder.header.width, np.float32)
    return np.asarray(_of_unit_length(generic).mean(0), np.float32)


def _encoded(texts: Sequence[str], encoder: ExportedTextEncoder, earlier: Iterable[SentenceVectors]) -> np.ndarray:
    """The vectors of texts, float32 [n, W]: those of earlier files, and of the encoder where they have none."""
    hashes, missing = PackedStrings.of(texts).hashes(), np.ones(len(texts), bool)
    vectors = np.empty((len(texts), encoder.header.levels * encoder.header.width), np.float32)
    for held in earlier:
        places = np.flatnonzero(missing)
        found, known = held.known(hashes[places])
        vectors[places[found]], missing[places[found]] = known, False
    if missing.any():
        vectors[missing] = unit_vectors([texts[at] for at in np.flatnonzero(missing).tolist()], encoder)
    return vectors


def _directions(vectors: np.ndarray) -> np.ndarray:
    """The main directions of vectors [n, W], float32 [d, W], orthonormal: d ≤ `KEPT` (by the Gram matrix, as n is
    small beside W)."""
    strengths, combined = np.linalg.eigh((vectors @ vectors.T).astype(np.float64))
    kept = np.flatnonzero(strengths > 1e-6 * strengths[-1])[::-1][:KEPT]
    return np.asarray((combined[:, kept] / np.sqrt(strengths[kept])).T @ vectors, np.float32)
