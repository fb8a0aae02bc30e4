"""Features of strangers that share intros and black pictures, with copies and parts planted among them.

A video is a walk through a space of pictures: it stays near a scene for some seconds, then cuts to another. Its
tokens are those of the walk at the instants at which frames are sampled, so a trimmed or faster copy has other tokens
than the original, near to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experts.base import Tokens
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.writer import FeatureWriter

DIM = 48
STEP_S = 0.5
INTRO_S = 4.0
BLACK_S = 3.0
VARIANTS = ("re-encoded", "rescaled", "cropped", "trimmed", "mirrored", "faster")


@dataclass
class Film:
    """Scenes with their starts, seconds; in each a picture that moves slowly."""

    starts: np.ndarray
    scenes: np.ndarray
    drifts: np.ndarray
    duration_s: float

    def at(self, times: np.ndarray) -> np.ndarray:
        """Tokens [n, DIM] of the instants [n], seconds."""
        scene = np.maximum(np.searchsorted(self.starts, times, "right") - 1, 0)
        return self.scenes[scene] + self.drifts[scene] * (times - self.starts[scene])[:, None]


def film(rng: np.random.Generator, duration_s: float) -> Film:
    cuts = np.cumsum(rng.uniform(1.5, 5, int(duration_s)))
    starts = np.append(0.0, cuts[cuts < duration_s])
    scenes = rng.normal(size=(len(starts), DIM))
    return Film(starts, scenes, 0.12 * rng.normal(size=scenes.shape), duration_s)


def joined(films: list[Film]) -> Film:
    """One film after another."""
    begins = np.cumsum([0.0, *(each.duration_s for each in films)])
    return Film(
        np.concatenate([each.starts + begin for each, begin in zip(films, begins, strict=False)]),
        np.concatenate([each.scenes for each in films]),
        np.concatenate([each.drifts for each in films]),
        float(begins[-1]),
    )


@dataclass(frozen=True)
class Planted:
    """What was planted: pairs of ids (original, copy), and (container, part)."""

    copies: dict[tuple[str, str], str]
    parts: set[tuple[str, str]]


def plant(folder: Path, strangers: int, planted: int, seed: int = 0) -> Planted:
    """Write a store of so many strangers, `planted` copies of each kind and as many parts.

    Every second video begins with one of three intros, and every fourth ends in black.
    """
    rng = np.random.default_rng(seed)
    intros = [film(rng, INTRO_S) for _ in range(3)]
    black = Film(np.zeros(1), rng.normal(size=(1, DIM)), np.zeros((1, DIM)), BLACK_S)
    sounds = {}
    videos, copies, parts, films = [], {}, set(), {}

    def write(id: str, pictures: np.ndarray, sound: np.ndarray, noise: float) -> None:
        kinds = {"appearance": (pictures, STEP_S), "audio": (sound, 1.0)}
        tokens = {
            name: Tokens(
                (array + noise * rng.normal(size=array.shape)).astype(np.float32),
                np.arange(len(array), dtype=np.float32) * np.float32(step),
            )
            for name, (array, step) in kinds.items()
        }
        duration_s = len(pictures) * STEP_S
        identities = dict.fromkeys(tokens, "1")
        videos.append(
            VideoFeatures(id, f"/v/{id}", id, 1, 1, duration_s=duration_s, tokens=tokens, identities=identities)
        )

    def frames(of: Film, start_s: float, end_s: float, speed: float = 1.0, phase_s: float = 0.0) -> np.ndarray:
        return of.at(start_s + phase_s + speed * np.arange(0, (end_s - start_s) / speed, STEP_S))

    def heard(of: Film, start_s: float, end_s: float, speed: float = 1.0) -> np.ndarray:
        return of.at(start_s + speed * np.arange(0, (end_s - start_s) / speed, 1.0))

    for number in range(strangers):
        id, length = f"s{number:06d}.mp4", float(rng.uniform(15, 45))
        before, after = [intros[number % 3]] * (number % 2), [black] * (number % 4 == 0)
        films[id] = joined([*before, film(rng, length), *after])
        sounds[id], end = film(rng, films[id].duration_s), films[id].duration_s
        write(id, frames(films[id], 0, end), heard(sounds[id], 0, end), 0.15)
    mirror = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    for kind in VARIANTS:
        for original in rng.choice(list(films), planted, replace=False).tolist():
            of, sound, length = films[original], sounds[original], films[original].duration_s
            first, last, speed = (0.1 * length, length, 1.0) if kind == "trimmed" else (0.0, length, 1.0)
            speed = 1.05 if kind == "faster" else 1.0
            pictures = frames(of, first, last, speed, phase_s=0.2)
            # A mirrored picture is like its original in colours alone.
            pictures = 0.5 * pictures + 0.85 * pictures @ mirror if kind == "mirrored" else pictures
            id = f"{kind}-{original}"
            noise = {"re-encoded": 0.2, "cropped": 0.5}.get(kind, 0.3)
            write(id, pictures, heard(sound, first, last, speed), noise)
            copies[original, id] = kind
    for number, (inside, of) in enumerate(rng.choice(list(films), (planted, 2), replace=False).tolist()):
        latest = films[of].duration_s - 10 - BLACK_S
        start = float(rng.uniform(min(INTRO_S, latest), latest))
        host = frames(films[inside], 0, films[inside].duration_s)
        id = f"part{number}.mp4"
        mine = film(rng, 20)
        pictures = np.concatenate(
            [frames(mine, 0, 8), frames(films[of], start, start + 10, phase_s=0.1), host[10:34]]
        )
        write(id, pictures, heard(film(rng, 60), 0, len(pictures) * STEP_S), 0.3)
        parts |= {(of, id), (inside, id)}
    rng.shuffle(videos)  # type: ignore[arg-type]
    with FeatureWriter(folder) as writer:
        writer.add_videos(videos)
    return Planted(copies, parts)
