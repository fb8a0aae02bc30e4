"""Renders the demo's clips: an object moving before a background, perhaps a person looking on, and a sound.

DemoClip → sprite, background, face → a place, size and angle for every frame → H.264 and AAC in MP4. Every random
detail comes from the seed and the clip's number, so that clips are equal however many processes draw them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hcq_cli.demo.clips import NOBODY, SILENCE, DemoClip
from hcq_cli.demo.drawing import HEIGHT, SPRITE, WIDTH, draw_background, draw_object
from hcq_cli.demo.faces import draw_face
from hcq_cli.demo.sounds import HZ, synthesise
from hcq_cli.errors import HcqError
from hcq_cli.files import atomic_path
from hcq_cli.process import python_command

RENDERER = "1"
"""Change it when the clips change; a demo folder of another renderer is not mixed with this one's."""
FPS = 10
LEAST_CLIPS = 8
"""So many pay for starting one process more."""


@dataclass(frozen=True)
class Pose:
    """Where an object is in one frame: its middle (pixels), its size (1 is SPRITE) and its turn (degrees)."""

    x: float
    y: float
    size: float
    turn: float = 0.0


def motion_path(motion: str, frames: int, rng: Generator, lean: int = 0) -> list[Pose]:
    """The poses of an object over a clip.

    Args:
        motion: a value of the attribute "motion".
        frames: how many.
        rng: varies place, size and speed.
        lean: -1 to keep to the left, 1 to the right (away from somebody who stands in the way), 0 to the middle.

    Returns:
        One pose a frame.
    """
    size, reach = rng.uniform(0.54, 0.64), rng.uniform(0.85, 1.0)
    x, y = WIDTH / 2 + 26 * lean + rng.uniform(-14, 14), HEIGHT * 0.44 + rng.uniform(-10, 10)
    share = np.linspace(0, 1, frames)
    across = (share - 0.5) * reach
    sign = {"right": 1, "left": -1, "fall": 1, "rise": -1}.get(motion, 0)
    if motion in ("right", "left"):
        return [Pose(WIDTH / 2 + sign * a * (WIDTH - 56), y, size) for a in across]
    if motion in ("fall", "rise"):
        return [Pose(x, HEIGHT / 2 + sign * a * (HEIGHT - 50), size) for a in across]
    if motion == "spin":
        way = rng.choice((-1, 1)) * rng.uniform(200, 300)
        return [Pose(x, y, size, way * s) for s in share]
    if motion in ("grow", "shrink"):
        growing = share if motion == "grow" else share[::-1]
        return [Pose(x, y, 0.3 + 0.62 * reach * s) for s in growing]
    if motion == "bounce":
        jumps = np.abs(np.sin(np.pi * rng.uniform(2.6, 3.4) * share))
        return [Pose(x, HEIGHT * 0.66 - 52 * reach * j, size) for j in jumps]
    return [Pose(x, y, size)] * frames


def draw_frames(scene: DemoClip, rng: Generator, frames: int) -> Iterator[NDArray[np.uint8]]:
    """Draw a scene, one uint8 [HEIGHT, WIDTH, 3] RGB after the other."""
    back = draw_background(scene.values["background"], rng).astype(np.float32)
    sprite = draw_object(scene.values["object"], scene.values["colour"], rng)
    person, mask, lean = _onlooker(scene.values["person"], rng)
    front, hidden = person * mask, 1 - mask
    path = motion_path(scene.values["motion"], frames, rng, lean)
    empty = (back * hidden + front).astype(np.uint8)
    for pose in path:
        layer, box = _placed(sprite, pose)
        picture = back[box] * (1 - layer[..., 3:]) + layer[..., :3]
        frame = empty.copy()
        frame[box] = np.clip(picture * hidden[box] + front[box], 0, 255)
        yield frame


def _placed(sprite: NDArray[np.float32], pose: Pose) -> tuple[NDArray[np.float32], tuple[slice, slice]]:
    """The object turned and sized, float32 RGBA, and the part of the frame that it covers."""
    reach = SPRITE * pose.size * 0.72 + 1  # half the diagonal
    left, top = max(0, int(pose.x - reach)), max(0, int(pose.y - reach))
    right, bottom = min(WIDTH, int(pose.x + reach) + 1), min(HEIGHT, int(pose.y + reach) + 1)
    place = cv2.getRotationMatrix2D((SPRITE / 2, SPRITE / 2), pose.turn, pose.size)
    place[:, 2] += (pose.x - SPRITE / 2 - left, pose.y - SPRITE / 2 - top)
    layer = cv2.warpAffine(sprite, place, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    return layer, (slice(top, bottom), slice(left, right))


def _onlooker(person: str, rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """The person in the foreground: RGB [HEIGHT, WIDTH, 3], mask [HEIGHT, WIDTH, 1], and where there is room left."""
    picture, mask = np.zeros((HEIGHT, WIDTH, 3), np.float32), np.zeros((HEIGHT, WIDTH, 1), np.float32)
    if person == NOBODY:
        return picture, mask, 0
    side, room = int(rng.integers(76, 90)), int(rng.choice((-1, 1)))
    edge = int(rng.integers(0, 10))
    x = edge if room == 1 else WIDTH - side - edge
    face, shape = (cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA) for layer in draw_face(person, rng))
    picture[HEIGHT - side :, x : x + side] = face
    mask[HEIGHT - side :, x : x + side, 0] = shape
    return picture, mask, room


def render_clip(scene: DemoClip, seed: int, path: Path) -> None:
    """Render one clip of 2 to 3 s to `path`, whole or not at all.

    A silent clip has no sound track if its number is even, and a track of zeros if it is odd: two different ways
    of not being heard, which the experts must tell apart.
    """
    rng = np.random.default_rng((seed, scene.number))
    frames = int(rng.integers(2 * FPS, 3 * FPS + 1))
    sound = synthesise(scene.values["sound"], frames / FPS, rng)
    has_track = scene.values["sound"] != SILENCE or scene.number % 2 == 1
    with (
        atomic_path(path, durable=False) as unfinished,
        av.open(str(unfinished), "w", format="mp4", options={"fflags": "+bitexact"}) as out,
    ):
        picture = out.add_stream("libx264", rate=FPS)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.options = {"preset": "ultrafast", "crf": "20", "threads": "1"}
        voice = out.add_stream("aac", rate=HZ, layout="mono", options={"aac_coder": "fast"}) if has_track else None
        for image in draw_frames(scene, rng, frames):
            out.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(picture.encode(None))
        if voice is not None:
            out.mux([packet for frame in _audio_frames(sound) for packet in voice.encode(frame)])
            out.mux(voice.encode(None))


def _audio_frames(sound: NDArray[np.int16], samples: int = 1024) -> Iterator[av.AudioFrame]:
    for start in range(0, len(sound), samples):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + samples], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = HZ, start, Fraction(1, HZ)
        yield frame


def render_all(
    scenes: Sequence[DemoClip], seed: int, folder: Path, workers: int, progress: Callable[[int], None] | None = None
) -> int:
    """Render every clip that is not there yet.

    Args:
        scenes: what to render.
        seed: see `render_clip`.
        folder: where the clips go, named after `DemoClip.file`.
        workers: processes that draw at once.
        progress: told how many clips are finished, after each.

    Returns:
        How many clips were rendered.

    Raises:
        HcqError: a clip cannot be rendered.
    """
    missing = [scene for scene in scenes if not (folder / scene.file).exists()]
    if not missing:
        return 0
    workers = min(workers, -(-len(missing) // LEAST_CLIPS))
    for finished in _rendered([missing[at::workers] for at in range(workers)], seed, folder):
        if progress is not None:
            progress(len(scenes) - len(missing) + finished)
    return len(missing)


def _rendered(shares: Sequence[Sequence[DemoClip]], seed: int, folder: Path) -> Iterator[int]:
    """Render each share in a process of its own (child.py); counts the clips as they are finished.

    Raises:
        HcqError: a process cannot render a clip, or ended.
    """
    # One pipe for all of them: a line is short enough to arrive whole, and the end comes when the last has ended.
    listening, telling = os.pipe()
    children: list[subprocess.Popen[bytes]] = []
    try:
        with os.fdopen(listening, encoding="utf-8") as lines:
            try:
                for _ in shares:
                    children.append(_start_child(telling))
            finally:
                os.close(telling)
            for child, share in zip(children, shares, strict=True):
                _ask(child, share, seed, folder)
            for finished, line in enumerate(lines, start=1):
                said = json.loads(line)
                if "error" in said:
                    raise HcqError(f"a clip cannot be rendered: {said['error']}", "hcq doctor")
                yield finished
        if any(child.wait() for child in children):
            raise HcqError("a process that renders clips has ended", "run the same command again")
    finally:
        for child in children:
            child.kill()
            child.wait()


def _start_child(telling: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(python_command("hcq_cli.demo.child"), stdin=subprocess.PIPE, stdout=telling)


def _ask(child: subprocess.Popen[bytes], scenes: Sequence[DemoClip], seed: int, folder: Path) -> None:
    assert child.stdin is not None
    listed = [[scene.number, scene.split, scene.values] for scene in scenes]
    with suppress(BrokenPipeError), child.stdin as asking:  # one that has ended already is told from its exit code
        asking.write(json.dumps({"seed": seed, "folder": str(folder), "scenes": listed}).encode())
