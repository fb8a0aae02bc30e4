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

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hcq_cli.codes.container import Container, ContainerWriter
from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.files import digest_bytes, need_regular
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.tokens import words_of

if TYPE_CHECKING:
    from hcq_cli.words.table import WordsTable

FORMAT = "hcq-sentence-vectors"
KEPT_NAME = "encoded-"
REMEDY = "hcq index build"
SOURCES = ("caption", "name")
"""Of the sentences that get a vector (`words.sentences.SOURCES`)."""
KEPT = 256
"""d at most."""
SAMPLED = 512
"""Sentences, about, that the directions are fitted to."""
ENCODED_AT_ONCE, COMPARED_AT_ONCE = 256, 1 << 16
"""Sentences."""
KEPT_AT_ONCE = 1 << 13
"""Sentences, some 20 s of encoding, that are put into a file of their own as soon as they are encoded, beside the one
that is being made: whoever makes it again after a kill takes them from there."""
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
        basis: the directions, float32 [d, W].

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
        self.basis = self._container.map("basis", "<f4", (self.width,))
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
        wanted, unrelated = self.basis @ query, min(float(self._generic[:, 0] @ query), 0.99)
        parts = [np.empty(0, np.float32)]
        for start in range(0, len(self.ids), COMPARED_AT_ONCE):
            rows = slice(start, start + COMPARED_AT_ONCE)
            parts.append(self._vectors[rows].view(np.int8).astype(np.float32) @ wanted * self._scale[rows])
        return (np.concatenate(parts) - unrelated) / (1 - unrelated)

    def holds(self, hashes: np.ndarray) -> np.ndarray:
        """Which texts, by their hashes uint64 [n], have a vector here, bool [n]."""
        return self._rows(hashes) >= 0

    def known(self, hashes: np.ndarray) -> np.ndarray:
        """The vectors of texts that have one here, by their hashes uint64 [n]: float32 [n, W]."""
        numbers, steps = self.stored(hashes)
        return np.asarray(numbers.view(np.int8) * steps[:, None] @ self.basis)

    def stored(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same as they are kept: uint8 [n, d], and the steps float32 [n]."""
        rows = self._rows(hashes)
        return self._vectors[rows], self._scale[rows]

    def _rows(self, hashes: np.ndarray) -> np.ndarray:
        """The rows of texts, int64 [n]; -1 for those that are not here."""
        if self._order is None:
            self._order = np.argsort(self._hashes)
        if not len(self.ids):
            return np.full(len(hashes), -1)
        at = np.minimum(np.searchsorted(self._hashes, hashes, sorter=self._order), len(self.ids) - 1)
        rows = self._order[at]
        return np.where(self._hashes[rows] == hashes, rows, -1)


def write_sentence_vectors(
    path: Path,
    table: WordsTable,
    encoder: ExportedTextEncoder,
    earlier: Sequence[SentenceVectors] = (),
    encoding: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write the vectors of the captions and telling names of a table of words.

    Args:
        path: of the file; beside it what is encoded is kept until `clear_kept`.
        table: of the segment.
        encoder: of the index.
        earlier: files of the same model, for texts that are there already.
        encoding: told how many sentences are encoded, of how many.

    Returns:
        how many there are; with none, no file is written.
    """
    count = sum(1 for _ in _telling_sentences(table))
    if not count:
        return 0
    kept = [each for each in _kept(path.parent) if each.model_hash == encoder.hash]
    earlier = [*kept, *(each for each in earlier if each.model_hash == encoder.hash)]
    step = -(-count // SAMPLED)
    sampled = [text for number, (_, text) in enumerate(_telling_sentences(table)) if number % step == 0]
    # In the same directions as what was kept of these sentences, so that nothing is rounded twice; those of others,
    # of the segment before this one for example, do not suit.
    same = f"{KEPT_NAME}{digest_bytes(PackedStrings.of(sampled).hashes().tobytes())[:16]}-"
    bases = (each.basis for each in kept if each.path.name.startswith(same))
    basis = next(bases, None)
    if basis is None:
        basis = _directions(_encoded(sampled, encoder, earlier))
    waiting = _telling_sentences(table)
    for done in range(0, count - KEPT_AT_ONCE + 1, KEPT_AT_ONCE):
        some = list(islice(waiting, KEPT_AT_ONCE))
        encoding(done, count)
        hashes = PackedStrings.of([text for _, text in some]).hashes()
        new = ~np.any([each.holds(hashes) for each in earlier], axis=0) if earlier else np.ones(len(some), bool)
        if new.any():
            place = path.parent / f"{same}{secrets.token_hex(8)}.hcq"
            _write(place, [some[at] for at in np.flatnonzero(new).tolist()], encoder, basis)
            earlier.append(SentenceVectors(place))
    _write(path, _telling_sentences(table), encoder, basis, earlier)
    return count


def _write(
    path: Path,
    sentences: Iterable[tuple[int, str]],
    encoder: ExportedTextEncoder,
    basis: np.ndarray,
    earlier: Sequence[SentenceVectors] = (),
) -> None:
    """Write the vectors of sentences, each with its id, in the directions `basis`."""
    waiting = iter(sentences)
    same = [held.basis is basis or np.array_equal(held.basis, basis) for held in earlier]
    copied, others = ([held for held, is_same in zip(earlier, same, strict=True) if is_same == way] for way in (1, 0))
    with ContainerWriter(path, FORMAT, {"model_hash": encoder.hash}) as writer:
        writer.add("basis", basis, "<f4")
        writer.add("generic", _generic(encoder)[:, None], "<f4")
        ids, hashes = writer.section("ids", "<u8"), writer.section("hashes", "<u8")
        vectors, scale = writer.section("vectors", "|u1", (len(basis),)), writer.section("scale", "<f4")
        while some := list(islice(waiting, ENCODED_AT_ONCE)):
            texts = [text for _, text in some]
            ids.write(np.array([id for id, _ in some], np.uint64))
            hashes.write(keys := PackedStrings.of(texts).hashes())
            numbers, steps = np.empty((len(texts), len(basis)), np.uint8), np.empty(len(texts), np.float32)
            missing = np.ones(len(texts), bool)
            for held in copied:
                places = np.flatnonzero(missing)
                places = places[held.holds(keys[places])]
                numbers[places], steps[places] = held.stored(keys[places])
                missing[places] = False
            if missing.any():
                new = _encoded([texts[at] for at in np.flatnonzero(missing).tolist()], encoder, others) @ basis.T
                steps[missing] = np.maximum(np.abs(new).max(1), 1e-12) / 127
                numbers[missing] = np.round(new / steps[missing, None]).astype(np.int8).view(np.uint8)
            vectors.write(numbers)
            scale.write(steps)


def _kept(folder: Path) -> list[SentenceVectors]:
    """The files of a writer that was killed; one that is damaged goes."""
    found = []
    for path in sorted(folder.glob(f"{KEPT_NAME}*.hcq")):
        try:
            need_regular(path)
            (vectors := SentenceVectors(path)).verify()
            found.append(vectors)
        except HcqError:
            path.unlink(missing_ok=True)
    return found


def clear_kept(folder: Path) -> None:
    """Delete what was kept for the case of a kill."""
    for path in folder.glob(f"{KEPT_NAME}*.hcq"):
        path.unlink(missing_ok=True)


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
    return of_unit_length(encoder.encode(texts))


def of_unit_length(levels: np.ndarray) -> np.ndarray:
    """Vectors float32 [n, W], or levels [n, L+1, D] one after another, each of length 1; n ≥ 1."""
    vectors = levels.reshape(len(levels), -1)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def _generic(encoder: ExportedTextEncoder) -> np.ndarray:
    """The mean of generic sentences as unit vectors, float32 [W]."""
    generic = encoder.generic_queries()
    if generic is None:
        return np.zeros(encoder.header.levels * encoder.header.width, np.float32)
    return np.asarray(of_unit_length(generic).mean(0), np.float32)


def _encoded(texts: Sequence[str], encoder: ExportedTextEncoder, earlier: Iterable[SentenceVectors]) -> np.ndarray:
    """The vectors of texts, float32 [n, W]: those of earlier files, and of the encoder where they have none."""
    hashes, missing = PackedStrings.of(texts).hashes(), np.ones(len(texts), bool)
    vectors = np.empty((len(texts), encoder.header.levels * encoder.header.width), np.float32)
    for held in earlier:
        places = np.flatnonzero(missing)
        places = places[held.holds(hashes[places])]
        if len(places):
            vectors[places], missing[places] = held.known(hashes[places]), False
    if missing.any():
        vectors[missing] = unit_vectors([texts[at] for at in np.flatnonzero(missing).tolist()], encoder)
    return vectors


def _directions(vectors: np.ndarray) -> np.ndarray:
    """The main directions of vectors [n, W], float32 [d, W], orthonormal: d ≤ `KEPT` (by the Gram matrix, as n is
    small beside W)."""
    strengths, combined = np.linalg.eigh((vectors @ vectors.T).astype(np.float64))
    kept = np.flatnonzero(strengths > 1e-6 * strengths[-1])[::-1][:KEPT]
    return np.asarray((combined[:, kept] / np.sqrt(strengths[kept])).T @ vectors, np.float32)
