"""Kernel order against a plain transpose, with and without the compiled one."""

from __future__ import annotations

import numpy as np
import pytest

from hcq_cli.scan import blocks as blocks_module
from hcq_cli.scan.blocks import WIDTH, Blocks, RowMajorCodes, to_blocks


@pytest.fixture(params=["native", "numpy"], autouse=True)
def transpose(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(blocks_module, "_native", lambda: None)


@pytest.mark.parametrize("videos", [0, 1, 15, 16, 255, 256, 257, 1000])
@pytest.mark.parametrize("subquantizers", [1, 16, 33])
def test_every_code_lies_at_its_block_sub_quantizer_and_slot(videos: int, subquantizers: int) -> None:
    codes = np.random.default_rng(videos).integers(0, 256, (videos, subquantizers), np.uint8)
    found = to_blocks(codes)
    padded = np.zeros((-(-videos // WIDTH) * WIDTH, subquantizers), np.uint8)
    padded[:videos] = codes
    assert np.array_equal(found.codes, padded.reshape(-1, WIDTH, subquantizers).transpose(0, 2, 1))
    for first, stop in ((0, videos), (videos // 3, videos // 2)):
        assert np.array_equal(found.between(first, stop), codes[first:stop])
        assert np.array_equal(found.at(np.arange(first, stop)), codes[first:stop])


def test_a_part_knows_its_rows_and_who_is_dead() -> None:
    codes = np.arange(600, dtype=np.uint16).astype(np.uint8)[:, None]
    dead = np.arange(600) % 7 == 0
    part = Blocks(to_blocks(codes).codes, 600, dead).part(1, 3)
    assert (part.videos, part.order) == (344, None)
    assert np.array_equal(part.alive(np.arange(344)), ~dead[256:])
    order = np.random.default_rng(0).permutation(600).astype(np.uint32)
    part = Blocks(to_blocks(codes[order]).codes, 600, dead, order).part(1, 3)
    rows = part.rows_of(np.arange(344))
    assert part.order is not None and np.array_equal(rows, order[256:])
    assert np.array_equal(part.alive(rows), ~dead[rows])
    assert np.array_equal(part.at(np.arange(344)), codes[rows])
    assert not part.alive(np.array([600, 2**32 - 1])).any(), "rows that are not there count as dead"


def test_blocks_that_do_not_fit_are_refused() -> None:
    for shape, videos in (((2, 3, 256), 256), ((1, 3, 255), 255), ((1, 256), 256)):
        with pytest.raises(ValueError, match="do not lie in blocks"):
            Blocks(np.zeros(shape, np.uint8), videos)


def test_rows_of_a_code_file_come_in_parts() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (700, 5), np.uint8)
    part = RowMajorCodes(codes, len(codes)).part(1, 3)
    assert part.videos == 444 and np.array_equal(part.between(0, 444), codes[256:])
