"""Made-up clips for probing the experts: things that move, sounds, coloured shapes; and a linear probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from experts.base import Clip, Expert, Frames, Sampling, Waveform

WIDTH, HEIGHT = 160, 120
HZ = 16_000
MOTIONS = ("left", "right", "up", "down", "clockwise", "anticlockwise", "zigzag", "bounce", "spin", "grow", "shrink")
MOTIONS += ("still", "flash", "pan", "zoom", "shake")
COLOURS = {
    "red": (215, 35, 40),
    "orange": (245, 135, 25),
    "yellow": (240, 220, 40),
    "green": (40, 165, 65),
    "blue": (40, 80, 220),
    "purple": (135, 45, 175),
}
SHAPES = ("disc", "square", "triangle", "star", "ring", "cross")


def ground(rng: Generator, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A background: a gradient, blotches or stripes of dull random colours, with grain."""
    a, b = rng.integers(60, 190, (2, 3))
    kind = rng.integers(3)
    y, x = np.mgrid[:height, :width]
    if kind == 0:
        share = y / height
    elif kind == 1:
        share = cv2.resize(rng.random((9, 12)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    else:
        share = 0.5 + 0.5 * np.sin((x * rng.uniform(-1, 1) + y) / rng.uniform(3, 9))
    picture = a * (1 - share[..., None]) + b * share[..., None]
    return np.clip(picture + rng.normal(0, 3, (height, width, 1)), 0, 255).astype(np.uint8)


def pose(motion: str, s: float, rng_values: Sequence[float]) -> tuple[float, float, float, float]:
    """Middle x, y (0..1), size and turn (degrees) of the thing at the share `s` of a second."""
    x, y, extra = rng_values
    x, y, size, turn = 0.5 + 0.1 * x, 0.5 + 0.1 * y, 0.16, 0.0
    along = (s - 0.5) * (0.4 + 0.1 * extra)
    angle = 2 * np.pi * (s + extra)
    if motion in ("left", "right"):
        x += along if motion == "right" else -along
    elif motion in ("up", "down"):
        y += along if motion == "down" else -along
    elif motion in ("clockwise", "anticlockwise"):
        x += 0.14 * np.cos(angle if motion == "clockwise" else -angle)
        y += 0.18 * np.sin(angle if motion == "clockwise" else -angle)
    elif motion == "zigzag":
        x, y = x + along, y + 0.15 * (2 * abs((2.5 * s + extra) % 1 * 2 - 1) - 1)
    elif motion == "bounce":
        y += 0.2 - 0.35 * abs(np.sin(np.pi * (2 * s + extra)))
    elif motion == "spin":
        turn = (150 + 60 * extra) * s
    elif motion in ("grow", "shrink"):
        size = 0.08 + 0.16 * (s if motion == "grow" else 1 - s)
    return x, y, size, turn


def moving(motion: str, rng: Generator, rate: float = 10.0, seconds: float = 1.0) -> Frames:
    """A second of something moving before a background; "pan", "zoom" and "shake" move the camera instead."""
    large, paint = ground(rng, HEIGHT * 2, WIDTH * 2), rng.integers(0, 255, 3)
    corners = rng.integers(3, 7)
    values = rng.uniform(-1, 1, 3)
    way = rng.uniform(0, 2 * np.pi)
    images, times = [], np.arange(0, seconds, 1 / rate)
    for s in times / seconds:
        shift, scale = np.zeros(2), 1.0
        if motion == "pan":
            shift = np.array([np.cos(way), np.sin(way)]) * (s - 0.5) * 40
        elif motion == "zoom":
            scale = 1 + 0.4 * (s if way < np.pi else 1 - s)
        elif motion == "shake":
            shift = rng.normal(0, 3, 2)
        view = np.array(
            [[scale, 0, WIDTH / 2 - scale * WIDTH + shift[0]], [0, scale, HEIGHT / 2 - scale * HEIGHT + shift[1]]]
        )
        picture = cv2.warpAffine(large, view, (WIDTH, HEIGHT))
        draw_thing(picture, pose(motion, float(s), values), int(corners), paint, shift, scale)
        if motion == "flash" and int(s * 10 + way) % 4 == 0:
            picture = np.clip(picture.astype(int) + 70, 0, 255).astype(np.uint8)
        images.append(picture)
    return Frames(np.stack(images), times.astype(np.float32))


def draw_thing(
    picture: NDArray[np.uint8],
    where: tuple[float, float, float, float],
    corners: int,
    paint: NDArray,
    shift: NDArray,
    scale: float,
) -> None:
    """A polygon with a mark off its middle, so that its turning is seen."""
    x, y, size, turn = where
    middle = np.array([(x - 0.5) * WIDTH, (y - 0.5) * HEIGHT]) * scale + shift + (WIDTH / 2, HEIGHT / 2)
    angles = np.radians(turn) + np.arange(corners) * 2 * np.pi / corners
    points = middle + np.stack([np.cos(angles), np.sin(angles)], 1) * size * scale * WIDTH
    cv2.fillPoly(picture, [points.round().astype(np.int32)], [int(v) for v in paint], cv2.LINE_AA)
    mark = (middle + (points[0] - middle) * 0.55).round().astype(int)
    cv2.circle(
        picture, (int(mark[0]), int(mark[1])), max(2, int(size * 40)), [int(255 - v) for v in paint], -1, cv2.LINE_AA
    )


def painted(shape: str, colour: str, rng: Generator) -> NDArray[np.uint8]:
    """A coloured shape somewhere before a background."""
    picture = ground(rng)
    paint = np.clip(np.array(COLOURS[colour]) * rng.uniform(0.85, 1.1), 0, 255)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    radius = int(rng.integers(18, 34))
    centre = (int(rng.integers(radius + 3, WIDTH - radius - 3)), int(rng.integers(radius + 3, HEIGHT - radius - 3)))
    fill_shape(mask, shape, centre, radius, rng.uniform(-0.3, 0.3))
    share = mask[..., None] / 255
    return (picture * (1 - share) + paint * share).astype(np.uint8)


def fill_shape(mask: NDArray[np.uint8], shape: str, centre: tuple[int, int], radius: int, turn: float) -> None:
    if shape in ("disc", "ring"):
        cv2.circle(mask, centre, radius, 255, -1, cv2.LINE_AA)
        if shape == "ring":
            cv2.circle(mask, centre, radius // 2, 0, -1, cv2.LINE_AA)
        return
    radii = {"square": [1.0] * 4, "triangle": [1.1] * 3, "star": [1.1, 0.45] * 5, "cross": [1.0, 1.0, 0.38] * 4}[
        shape
    ]
    if shape == "cross":
        steps = np.array([at * np.pi / 2 + off for at in range(4) for off in (-0.27, 0.27, np.pi / 4)])
    else:
        steps = np.arange(len(radii)) * 2 * np.pi / len(radii) - np.pi / 2 + (np.pi / 4 if shape == "square" else 0)
    points = np.stack([np.cos(steps + turn), np.sin(steps + turn)], 1) * np.array(radii)[:, None] * radius + centre
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 255, cv2.LINE_AA)


def _tone(hz: NDArray | float, t: NDArray, harmonics: int = 1) -> NDArray:
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, t.shape)) / HZ
    return sum(np.sin(n * phase) / n for n in range(1, harmonics + 1))


def _pulses(t: NDArray, every_s: float, start_s: float, decay: float) -> NDArray:
    since = np.where(t < start_s, 9.0, (t - start_s) % every_s)
    return np.exp(-since * decay)


SOUNDS: dict[str, Callable[[NDArray, Generator], NDArray]] = {
    "high beep": lambda t, r: _tone(r.uniform(1000, 1700), t) * (np.sin(2 * np.pi * (2 * t + r.uniform())) > 0),
    "low beep": lambda t, r: _tone(r.uniform(180, 320), t) * (np.sin(2 * np.pi * (2 * t + r.uniform())) > 0),
    "white noise": lambda t, r: r.normal(size=len(t)),
    "rumble": lambda t, r: np.convolve(r.normal(size=len(t)), np.ones(60) / 60, "same"),
    "chirp up": lambda t, r: _tone(r.uniform(250, 500) * 2 ** (2 * t), t),
    "chirp down": lambda t, r: _tone(r.uniform(1000, 2000) * 2 ** (-2 * t), t),
    "slow clicks": lambda t, r: r.normal(size=len(t)) * _pulses(t, r.uniform(0.3, 0.4), r.uniform(0, 0.2), 120),
    "fast clicks": lambda t, r: r.normal(size=len(t)) * _pulses(t, r.uniform(0.08, 0.12), r.uniform(0, 0.1), 120),
    "drum": lambda t, r: _tone(r.uniform(60, 110), t) * _pulses(t, r.uniform(0.3, 0.5), r.uniform(0, 0.2), 12),
    "major chord": lambda t, r: sum(_tone(h, t, 4) for h in r.uniform(180, 360) * np.array([1, 1.26, 1.5])),
    "minor second": lambda t, r: sum(_tone(h, t, 4) for h in r.uniform(180, 360) * np.array([1, 1.06])),
    "single note": lambda t, r: _tone(r.uniform(180, 360), t, 4),
    "vibrato": lambda t, r: _tone(r.uniform(400, 600) * 2 ** (0.1 * np.sin(2 * np.pi * 6 * t)), t, 3),
    "tremolo": lambda t, r: _tone(r.uniform(400, 600), t, 3) * (1 + np.sin(2 * np.pi * 8 * t)),
    "fading": lambda t, r: _tone(r.uniform(300, 600), t, 3) * np.exp(-t * 4),
    "swelling": lambda t, r: _tone(r.uniform(300, 600), t, 3) * np.exp((t - 1) * 4),
}


def sounding(sound: str, rng: Generator, seconds: float = 1.0) -> Waveform:
    """A second of a sound of random pitch, phase and loudness, with a little noise."""
    wave = SOUNDS[sound](np.arange(int(seconds * HZ)) / HZ, rng)
    wave = wave / np.abs(wave).max() * rng.uniform(0.1, 0.8) + rng.normal(0, 0.002, len(wave))
    return Waveform(wave.astype(np.float32), HZ, 0.0)


def clip_of(expert: Expert, frames: Frames | None = None, sound: Waveform | None = None) -> Clip:
    """A clip that gives `expert` these frames or this sound."""
    pictures: dict[Sampling, Frames] = {} if frames is None else {expert.sampling: frames}
    end_s = 1.0 if frames is None else float(frames.times[-1]) + 0.1
    return Clip(0.0, end_s, frames is not None, sound is not None, pictures, {HZ: sound} if sound else {})


def probe(train: NDArray, labels: Sequence[str], test: NDArray, ridge: float = 0.02) -> list[str]:
    """Labels that a linear probe (ridge regression on one-hot labels, dual form) gives to `test`."""
    names = sorted(set(labels))
    targets = np.array([[label == name for name in names] for label in labels], np.float64)
    mean = train.mean(0)
    kernel = (train - mean) @ (train - mean).T
    kernel += ridge * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    scores = (test - mean) @ (train - mean).T @ np.linalg.solve(kernel, targets - targets.mean(0)) + targets.mean(0)
    return [names[at] for at in scores.argmax(1)]
