"""A model is measured by its codes and by its dense vectors; HCT, which has no codes, by the latter alone."""

from __future__ import annotations

import numpy as np
from small_models import CAPTIONS, batch, model

from hcq_cli.evaluation.metrics import Metrics
from hcq_cli.evaluation.retrieval import RetrievalMetrics, RetrievalResult, evaluate_vectors
from hcq_cli.model.encoding import Encoded


def figures(R1: float) -> RetrievalMetrics:
    one = Metrics(R1, R1 + 10, R1 + 20, R1 + 30, 3.0, 9.0, R1)
    return RetrievalMetrics(one, one)


def test_codes_and_dense_vectors_are_two_points_where_there_are_codes() -> None:
    measured = RetrievalResult(figures(20), figures(30), 64, 4096, 10, 20)
    points = measured.points()
    assert [(point.name, point.bytes_per_video) for point in points] == [("codes", 64), ("dense", 4096)]
    dense = RetrievalResult(figures(30), figures(30), 4096, 4096, 10, 20)
    assert [point.name for point in dense.points()] == ["dense"]


def test_codes_rank_as_the_vectors_that_they_stand_for() -> None:
    """The codewords of one video are its own vectors: then codes and floats rank alike."""
    known = model()
    videos = known.encode_videos(batch({"appearance": [4, 2, 1], "audio": [3, 0, 2]}))
    encoded = Encoded(videos, known.encode_texts(CAPTIONS), np.arange(3))
    found = evaluate_vectors(known, encoded)
    assert (found.videos, found.texts, found.bytes_per_video) == (3, 3, 16)
    assert found.dense_bytes_per_video == 4 * videos[0].size
    assert found.dense.t2v.R5 == found.quantized.v2t.R5 == 100.0  # of three
    copies = evaluate_vectors(known, Encoded(videos, videos, np.arange(3)))
    assert copies.dense.t2v == copies.dense.v2t and copies.dense.t2v.R1 == 100.0
