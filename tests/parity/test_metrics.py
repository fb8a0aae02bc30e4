"""metrics.npz: our own ranks and recalls are the reference's, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from parity.comparing import same

from hcq_cli.evaluation.metrics import summarise, text_to_video_ranks, video_to_text_ranks
from hcq_cli.scan.topk import best

CASES = ["plain", "multi", "multi_masked", "ties", "multi_masked_ties", "constant", "big"]


def captions_that_exist(golden: Any, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Their similarities [Q, N], and the video of each [Q]."""
    given = golden.arrays("metrics")
    scores = given[f"{case}/sims"]
    there = given.get(f"{case}/query_masks", np.ones(len(scores))).ravel().astype(bool)
    owner = np.arange(len(scores)) // (len(scores) // scores.shape[1])
    return scores[there], owner[there]


@pytest.mark.parametrize("way", ["t2v", "v2t"])
@pytest.mark.parametrize("case", CASES)
def test_metrics(golden: Any, case: str, way: str) -> None:
    scores, owner = captions_that_exist(golden, case)
    ranks = text_to_video_ranks(scores, owner) if way == "t2v" else video_to_text_ranks(scores.T, owner)
    wanted = golden.under("metrics", f"{case}/{way}/")
    same(ranks.astype(np.int64), wanted.pop("cols"), f"{case} {way} ranks")
    found = summarise(ranks).to_dict()
    found["geometric_mean_R1-R5-R10"] = found.pop("GM")
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        # The mean and the cube root end in the last bit of a double; recalls and the median are exact.
        assert found[name] == pytest.approx(float(value), rel=1e-14, abs=0), f"{case} {way} {name}"


def test_every_case_is_here(golden: Any) -> None:
    assert set(golden.groups("metrics")) == {*CASES, "ranking_export"}


def test_ranking_export(golden: Any) -> None:
    scores, _ = captions_that_exist(golden, "ranking_export")
    wanted = golden.arrays("metrics")["ranking_export/top10"]
    for query, row in zip(scores, wanted, strict=True):
        _, rows = best(query, np.arange(len(query)), wanted.shape[1])
        same(rows, row, "ranking_export")
