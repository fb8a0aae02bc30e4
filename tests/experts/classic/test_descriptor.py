"""Windows, pooling and scaling, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.classic import descriptor


@given(st.floats(0, 7200), st.floats(0.01, 40))
@settings(max_examples=200, deadline=None)
def test_windows_cover_the_stretch_in_whole_seconds(start_s, length_s):
    edges = descriptor.second_edges(start_s, start_s + length_s)
    widths = np.diff(edges)
    assert edges[0] == start_s
    assert edges[-1] == pytest.approx(start_s + length_s, abs=1e-6)
    assert np.allclose(widths[:-1], 1)
    assert 0 < widths[-1] <= 1.5 + 1e-6


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(12, 8, 4, 4), (7, 9, 4, 3), (3, 2, 4, 4)])
def test_cell_means_share_the_pixels_on_an_edge(height, width, rows, columns):
    maps = np.random.default_rng(0).random((height, width, 2)).astype(np.float32)
    fine = maps.repeat(rows, 0).repeat(columns, 1)  # every cell is now a whole number of pixels
    plain = fine.reshape(rows, height, columns, width, 2).mean((1, 3))
    assert np.allclose(descriptor.cell_means(maps, rows, columns), plain, atol=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_blocks_never_exceed_unit_norm(values):
    row = np.array(values)
    assert np.linalg.norm(descriptor.soft_unit(row)) <= 1.0001
    assert np.abs(descriptor.compress(row, 0.1, 2.0)).max() <= 1
    assert np.linalg.norm(descriptor.join([descriptor.soft_unit(row), descriptor.soft_unit(row)])) <= 1.0001
