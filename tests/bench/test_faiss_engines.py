"""What Faiss finds in the same codes."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import HEADER, quantizer, random_codes, random_levels

from hcq_cli.bench.faiss_engines import all_engines, available
from hcq_cli.scan.blocks import to_blocks
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import tables


@pytest.mark.skipif(not available(), reason="Faiss is not installed")
def test_the_same_codes_and_the_float_vectors_give_our_answers() -> None:
    codes, levels = random_codes(9000), random_levels(20)
    codebooks, scale = quantizer()
    table = tables(levels, codebooks, scale)
    named = {engine.engine: engine for engine in all_engines(codes, HEADER, codebooks, scale, threads=1)}
    assert list(named) == ["faiss-indexpq", "faiss-fastscan", "dense"]
    for name in ("faiss-indexpq", "dense"):
        engine = named[name]
        ours = scan([to_blocks(codes[: engine.videos])], table, 10).rows
        shared = [len({*a} & {*b}) for a, b in zip(ours.tolist(), engine.search(levels, 10).tolist(), strict=True)]
        assert np.mean(shared) > 9.8, name
    assert named["faiss-fastscan"].judged(levels, 10).shape == (20, 10)
