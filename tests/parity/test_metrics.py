"""metrics.npz: ranks and recalls, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from parity.comparing import same

from hcq_cli.compat import metrics

CASES = ["plain", "multi", "multi_masked", "ties", "multi_masked_ties", "constant", "big"]


def present(golden: Any, case: str) -> np.ndarray | None:
    masks = golden.arrays("metrics").get(f"{case}/query_masks")
    return None if masks is None else masks.ravel().astype(bool)


@pytest.mark.parametrize("way", ["t2v", "v2t"])
@pytest.mark.parametrize("case", CASES)
def test_metrics(golden: Any, case: str, way: str) -> None:
    wanted = golden.under("metrics", f"{case}/{way}/")
    rank = metrics.text_to_video_ranks if way == "t2v" else metrics.video_to_text_ranks
    ranks = rank(golden.arrays("metrics")[f"{case}/sims"], present(golden, case))
    same(ranks.astype(np.int64), wanted.pop("cols"), f"{case} {way} ranks")
    found = metrics.summarise(ranks)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        # The mean and the cube root end in the last bit of a double; recalls and the median are exact.
        assert found[name] == pytest.approx(float(value), rel=1e-14, abs=0), f"{case} {way} {name}"


def test_every_case_is_here(golden: Any) -> None:
    assert set(golden.groups("metrics")) == {*CASES, "ranking_export"}


def test_ranking_export(golden: Any) -> None:
    given = golden.under("metrics", "ranking_export/")
    found = metrics.best_videos(given["sims"], given["query_masks"].ravel().astype(bool), given["top10"].shape[1])
    same(found, given["top10"], "ranking_export")
