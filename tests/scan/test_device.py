"""The scan by torch, tried on the CPU device: the same answer, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import names, plain_scan, random_codes, write_codes

from hcq_cli.errors import UsageError
from hcq_cli.scan import device as device_scan
from hcq_cli.scan.blocks import Blocks, to_blocks
from hcq_cli.scan.kernels import kernel, scan


@pytest.mark.parametrize(
    ("videos", "subquantizers", "codewords", "k"),
    [(1, 1, 2, 3), (700, 8, 256, 10), (3000, 256, 256, 10), (2000, 16, 3, 500), (600, 1024, 16, 600)],
)
@pytest.mark.parametrize("magnitude", [1e-30, 1.0, 1e30])
def test_equals_the_plain_scan(videos: int, subquantizers: int, codewords: int, k: int, magnitude: float) -> None:
    rng = np.random.default_rng(videos)
    codes = rng.integers(0, codewords, (videos, subquantizers), np.uint8)
    tables = rng.normal(size=(5, subquantizers, codewords)).astype(np.float32) * np.float32(magnitude)
    order, dead = rng.permutation(videos).astype(np.uint32), rng.random(videos) < 0.1
    by = kernel("torch:cpu")
    for blocks, alive in [
        (to_blocks(codes), np.arange(videos)),
        (Blocks(to_blocks(codes[order]).codes, videos, dead, order), np.flatnonzero(~dead)),
    ]:
        found = scan([blocks], tables, k, by=by)
        for query, table in enumerate(tables):
            scores, rows = plain_scan(codes[alive], table, k)
            assert found.rows[query].tolist() == alive[rows].tolist()
            assert found.scores[query].tolist() == scores.tolist()


def test_of_each_video_the_best_row_is_found() -> None:
    rng = np.random.default_rng(0)
    codes, dead = rng.integers(0, 3, (3000, 8), np.uint8), rng.random(3000) < 0.3
    tables = rng.integers(0, 4, (5, 8, 3)).astype(np.float32)
    blocks = Blocks(to_blocks(codes).codes, 3000, dead, None, (np.arange(3000) // 21).astype(np.uint32))
    for k in (1, 10, 500):
        by_device, by_numpy = (scan([blocks], tables, k, by=kernel(name)) for name in ("torch:cpu", "numpy"))
        assert np.array_equal(by_device.rows, by_numpy.rows) and np.array_equal(by_device.scores, by_numpy.scores)


def test_sums_beyond_float32_and_small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_scan, "INDICES_AT_ONCE", 256 * 9)
    monkeypatch.setattr(device_scan, "SCORES_AT_ONCE", 1500)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (1000, 8), np.uint8)
    tables = (rng.normal(size=(3, 8, 4)) * 2e38).clip(-3e38, 3e38).astype(np.float32)
    found = scan([to_blocks(codes)], tables, 20, by=kernel("torch:cpu"))
    for query, table in enumerate(tables):
        assert found.rows[query].tolist() == plain_scan(codes, table, 20)[1].tolist()


@pytest.mark.long
def test_from_outside(hcq: Callable[..., Any], tmp_path: Path) -> None:
    write_codes(tmp_path / ".hcq" / "codes.hcq", names(300), random_codes(300))
    hcq("index", "build", "--partitions", "6")
    like = ("query", "--like", "v5.mp4", "--json", "--exact")
    assert hcq(*like, "--device", "cpu").json["hits"] == hcq(*like).json["hits"]
    assert "--device nonsense" in hcq("query", "--like", "v5.mp4", "--device", "nonsense", code=2).err


def test_no_such_device() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(UsageError, match="--device cuda"):
        kernel("torch:cuda")
