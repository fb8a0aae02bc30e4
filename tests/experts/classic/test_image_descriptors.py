"""Descriptors of an image, against plain loops and known answers."""

from __future__ import annotations

import numpy as np
import pytest

from experts.classic import image_descriptors


def test_local_binary_patterns_by_a_plain_loop():
    gray = np.random.default_rng(1).integers(0, 255, (9, 11), dtype=np.uint8)
    numbers = image_descriptors.local_binary_patterns(gray)
    names = {}
    for y in range(1, 8):
        for x in range(1, 10):
            ring = [
                int(gray[y + dy, x + dx]) >= int(gray[y, x]) + image_descriptors.TOLERANCE
                for dy, dx in image_descriptors.NEIGHBOURS
            ]
            changes = sum(a != b for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
            number = int(numbers[y - 1, x - 1])
            assert (number == image_descriptors.PATTERNS - 1) == (changes > 2)
            if changes <= 2:
                assert names.setdefault(number, ring) == ring
                assert image_descriptors.pattern_families()[number] == sum(ring)
    assert len({tuple(ring) for ring in names.values()}) == len(names)


def test_a_ramp_has_gradients_of_one_direction():
    ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (32, 1))
    found = image_descriptors.oriented_gradients(ramp, 2, 2, 8)
    assert found[..., 0].sum() > 0.99 * found.sum()
    turned = image_descriptors.oriented_gradients(np.ascontiguousarray(ramp.T), 2, 2, 8)
    assert turned[..., 4].sum() > 0.99 * turned.sum()


def test_cells_count_every_pixel_once():
    numbers = np.random.default_rng(2).integers(0, 5, (13, 7))
    counts = image_descriptors.cell_histograms(numbers, 5, 1, 1)[0, 0]
    assert np.allclose(counts, np.bincount(numbers.ravel(), minlength=5) / numbers.size)
    assert np.allclose(image_descriptors.cell_histograms(np.zeros((8, 8), np.int64), 3, 4, 4), [1, 0, 0])


@pytest.mark.parametrize("name", image_descriptors.NAMES)
def test_each_shade_bears_its_own_name(name):
    for shade in image_descriptors.SHADES[name]:
        member = image_descriptors.colour_names(np.array([[shade]], np.uint8))[0, 0]
        assert image_descriptors.NAMES[int(member.argmax())] == name
        assert member.sum() == pytest.approx(1, abs=1e-5)


def test_a_figure_is_found_where_it_is():
    image = np.full((60, 80, 3), (30, 60, 90), np.uint8)
    image[10:30, 50:70] = (220, 40, 40)
    saliency = image_descriptors.saliency_map(image_descriptors.to_lab(image))
    (found,) = image_descriptors.find_figures(saliency, 2)
    x, y = found.place[0] * 80 + 40, found.place[1] * 60 + 30
    assert (x, y) == (pytest.approx(59.5, abs=1), pytest.approx(19.5, abs=1))
    assert found.place[2] == pytest.approx(found.place[3], rel=0.05)
    assert found.place[5] == pytest.approx(1, abs=0.05)
    assert image_descriptors.find_figures(np.zeros((60, 80), np.float32), 2) == []


@pytest.mark.parametrize(("corners", "harmonic"), [(3, 3), (4, 4), (5, 5)])
def test_the_outline_counts_corners(corners, harmonic):
    cv2 = pytest.importorskip("cv2")
    patch = np.zeros((image_descriptors.PATCH, image_descriptors.PATCH), np.float32)
    angles = np.arange(corners) * 2 * np.pi / corners + 0.3
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * 13 + 15.5
    cv2.fillPoly(patch, [points.round().astype(np.int32)], 1.0)
    assert image_descriptors.outline_harmonics(patch).argmax() + 1 == harmonic
