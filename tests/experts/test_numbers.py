"""The measures the experts are made of, against plain NumPy or known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.base import Frames
from experts.classic import descriptor, image_descriptors, motion, optical_flow, spectrogram


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


def test_an_affine_flow_is_fitted_exactly():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-0.5, 0.5, (2, 200)).astype(np.float32)
    truth = rng.normal(size=(4, 3, 2)).astype(np.float32)
    flow = np.stack([np.ones_like(x), x, y], -1) @ truth
    model = optical_flow.fit_affine(flow, np.ones((4, 200), np.float32), x, y)
    assert np.allclose(model, truth, atol=0.05)


def _field(x, y):
    return np.stack(np.meshgrid(x, y), -1)


def test_the_camera_and_a_thing_are_kept_apart():
    """A panning camera, and a thing over a ninth of the frame that moves the other way."""
    fields = np.full((1, optical_flow.FIELD, optical_flow.FIELD, 2), (0.3, -0.1), np.float32)
    fields[0, 10:21, 10:21] = (-0.5, 0.4)
    x, y = optical_flow.point_coordinates(120, 160)
    model, thing = optical_flow.split_camera(fields, x, y)
    assert model[0, 0] == pytest.approx([0.3, -0.1], abs=0.02)
    assert thing[0, 15, 15] == pytest.approx([-0.8, 0.5], abs=0.05)
    assert np.abs(thing[0, :8]).max() < 0.03


def test_directions_by_a_plain_loop():
    rng = np.random.default_rng(4)
    vectors, weight, places = rng.normal(size=(50, 2)), rng.random(50), rng.integers(0, 3, 50)
    plain = np.zeros((3, motion.DIRECTIONS))
    for vector, value, place in zip(vectors, weight, places, strict=True):
        turn = np.arctan2(vector[1], vector[0]) / (2 * np.pi) * motion.DIRECTIONS % motion.DIRECTIONS
        low = int(turn)
        plain[place, low] += value * (1 - (turn - low))
        plain[place, (low + 1) % motion.DIRECTIONS] += value * (turn - low)
    assert np.allclose(motion.direction_counts(vectors, [weight], places, 3)[0], plain, atol=1e-4)


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (-2, 0), (0, 2), (0, -2)])
def test_a_shifted_picture_moves_at_its_speed(dx, dy):
    """2 pixels in a tenth of a second over 160 pixels are 0.125 frame sides a second, for the camera alone."""
    cv2 = pytest.importorskip("cv2")
    coarse = np.random.default_rng(5).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    large = cv2.resize(coarse, (200, 160), interpolation=cv2.INTER_CUBIC)
    images = np.stack([large[20 - at * dy : 140 - at * dy, 20 - at * dx : 180 - at * dx] for at in range(4)])
    expert = motion.Motion()
    expert.prepare("cpu")
    pairs = optical_flow.measure_pairs(Frames(images, (np.arange(4) / 10).astype(np.float32)), expert._flow)
    assert pairs.camera[:, :2] == pytest.approx(np.tile([dx / 16, dy / 16], (3, 1)), abs=0.02)
    assert np.abs(pairs.course[:, optical_flow.ENERGY]).max() < 0.02


@pytest.mark.parametrize("hz", [110, 220, 440, 880, 1500])
def test_the_pitch_of_a_tone_is_heard(hz):
    at = np.arange(spectrogram.HZ) / spectrogram.HZ
    wave = sum(np.sin(2 * np.pi * hz * n * at) / n for n in (1, 2, 3))
    pitch, voicing = spectrogram.measure_pitch((0.2 * wave).astype(np.float32))
    heard = spectrogram.PITCH_LOW_HZ * 2**pitch
    assert np.median(heard) == pytest.approx(hz, rel=0.03)
    assert voicing.mean() > 0.9
    noise = np.random.default_rng(6).normal(0, 0.2, spectrogram.HZ).astype(np.float32)
    assert spectrogram.measure_pitch(noise)[1].mean() < 0.4


def test_a_chord_shows_its_tones():
    at = np.arange(spectrogram.HZ) / spectrogram.HZ
    wave = sum(np.sin(2 * np.pi * 220 * 2 ** (step / 12) * at) for step in (0, 4, 7))
    tones = spectrogram.measure_semitones((0.2 * wave).astype(np.float32)).mean(0)
    assert sorted(np.argsort(tones)[-3:]) == [12, 16, 19]


def test_the_cosine_transform_is_orthonormal():
    basis = spectrogram.cosine_basis(64, 20)
    assert np.allclose(basis.T @ basis, np.eye(20), atol=1e-5)
    assert np.allclose(basis.sum(0), 0, atol=1e-4)
