"""Renders the demo's clips: an object moving before a background, perhaps a person looking on, and a sound.

DemoClip → sprite, background, face → a place, size and angle for every frame → H.264 and AAC in MP4. Every random
detail comes from the seed and the clip's number, so that clips are equal however many processes draw them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hcq_cli.demo.clips import NOBODY, SILENCE, DemoClip
from hcq_cli.demo.drawing import HEIGHT, SPRITE, WIDTH, draw_background, draw_face, draw_object
from hcq_cli.demo.sounds import HZ, synthesise
from hcq_cli.errors import HcqError
from hcq_cli.files import atomic_path
from hcq_cli.process import die_with_parent, python_command

RENDERER = "1"
"""Change it when the clips change; a demo folder of another renderer is not mixed with this one's."""
FPS = 10
AAC_SAMPLES = 1024
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
    # The ranges keep every object wholly or mostly in the frame, whatever it does, and large enough to be told apart.
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
        # |sin| has sharp turns below and round ones above, as a ball has.
        jumps = np.abs(np.sin(np.pi * rng.uniform(2.6, 3.4) * share))
        return [Pose(x, HEIGHT * 0.66 - 52 * reach * j, size) for j in jumps]
    return [Pose(x, y, size)] * frames


def draw_frames(clip: DemoClip, rng: Generator, frames: int) -> Iterator[NDArray[np.uint8]]:
    """Draw a clip, one frame uint8 [HEIGHT, WIDTH, 3] RGB after the other.

    Args:
        clip: what it shows.
        rng: of every random detail; background, object, person and motion take from it in this order.
        frames: how many.
    """
    back = draw_background(clip.values["background"], rng).astype(np.float32)
    sprite = draw_object(clip.values["object"], clip.values["colour"], rng)
    person, mask, lean = _onlooker(clip.values["person"], rng)
    front, hidden = person * mask, 1 - mask
    path = motion_path(clip.values["motion"], frames, rng, lean)
    empty = (back * hidden + front).astype(np.uint8)
    for pose in path:
        # Only the box that the object covers is put together anew: the rest of the frame is the same in all.
        layer, box = _placed(sprite, pose)
        picture = back[box] * (1 - layer[..., 3:]) + layer[..., :3]
        frame = empty.copy()
        frame[box] = np.clip(picture * hidden[box] + front[box], 0, 255)
        yield frame


def _placed(sprite: NDArray[np.float32], pose: Pose) -> tuple[NDArray[np.float32], tuple[slice, slice]]:
    """The object turned and sized, float32 RGBA, and the part of the frame that it covers."""
    reach = SPRITE * pose.size * 0.72 + 1  # half the diagonal: enough however it is turned
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


def render_clip(clip: DemoClip, seed: int, path: Path) -> None:
    """Render one clip of 2 to 3 s to `path`, whole or not at all.

    A silent clip has no sound track if its number is even, and a track of zeros if it is odd: two different ways
    of not being heard, which the experts must tell apart.
    """
    # A generator of its own for every clip: it is the same whichever process renders it, and after whichever others.
    rng = np.random.default_rng((seed, clip.number))
    frames = int(rng.integers(2 * FPS, 3 * FPS + 1))
    sound = synthesise(clip.values["sound"], frames / FPS, rng)
    has_track = clip.values["sound"] != SILENCE or clip.number % 2 == 1
    with (
        atomic_path(path, durable=False) as unfinished,
        av.open(str(unfinished), "w", format="mp4", options={"fflags": "+bitexact"}) as out,
    ):
        # bitexact, one thread: neither the encoder's version nor the number of cores is written into the file.
        picture = out.add_stream("libx264", rate=FPS)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.options = {"preset": "ultrafast", "crf": "20", "threads": "1"}
        voice = out.add_stream("aac", rate=HZ, layout="mono", options={"aac_coder": "fast"}) if has_track else None
        for image in draw_frames(clip, rng, frames):
            out.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(picture.encode(None))
        if voice is not None:
            out.mux([packet for frame in _audio_frames(sound) for packet in voice.encode(frame)])
            out.mux(voice.encode(None))


def _audio_frames(sound: NDArray[np.int16]) -> Iterator[av.AudioFrame]:
    """The sound in frames of as many samples as AAC codes at once."""
    for start in range(0, len(sound), AAC_SAMPLES):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + AAC_SAMPLES], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = HZ, start, Fraction(1, HZ)
        yield frame


def render_all(
    clips: Sequence[DemoClip], seed: int, folder: Path, workers: int, progress: Callable[[int], None] | None = None
) -> int:
    """Render every clip that is not there yet.

    Args:
        clips: what to render.
        seed: see `render_clip`.
        folder: where the clips go, named after `DemoClip.file`.
        workers: processes that draw at once.
        progress: told how many clips are finished, after each.

    Returns:
        How many clips were rendered.

    Raises:
        HcqError: a clip cannot be rendered.
    """
    missing = [clip for clip in clips if not (folder / clip.file).exists()]
    if not missing:
        return 0
    workers = min(workers, -(-len(missing) // LEAST_CLIPS))
    shares = [missing[at::workers] for at in range(workers)]
    # Closed at once: an interrupt in here would else leave the children to render on until the very end.
    with closing(_render_in_children(shares, seed, folder)) as counts:
        for finished in counts:
            if progress is not None:
                progress(len(clips) - len(missing) + finished)
    return len(missing)


def _render_in_children(
    shares: Sequence[Sequence[DemoClip]], seed: int, folder: Path
) -> abc.Generator[int, None, None]:
    """Render each share in a process of its own (`main`); counts the clips as they are finished.

    Raises:
        HcqError: a process cannot render a clip, or ended.
    """
    # One pipe for all of them: a line is short enough to arrive whole, and the end comes when the last has ended.
    listening, telling = os.pipe()
    children: list[subprocess.Popen[bytes]] = []
    try:
        with os.fdopen(listening, encoding="utf-8") as lines:
            try:
                command = python_command("hcq_cli.demo.render")
                for _ in shares:
                    # A session of its own: an interrupt at the terminal is for the parent, which ends them.
                    children.append(
                        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=telling, start_new_session=True)
                    )
            finally:
                os.close(telling)  # or the end of the pipe would never come: this process would hold it open
            for child, share in zip(children, shares, strict=True):
                assert child.stdin is not None
                listed = [[clip.number, clip.split, clip.values] for clip in share]
                asked = json.dumps({"seed": seed, "folder": str(folder), "clips": listed})
                # A child that has ended already is told from its exit code, not from this pipe.
                with suppress(BrokenPipeError), child.stdin as asking:
                    asking.write(asked.encode())
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


def main() -> None:
    """Render what is asked for, as a process of its own: `python -P -m hcq_cli.demo.render`.

    Over stdin comes one JSON document: seed, folder, and the clips as [number, split, values]. Over stdout goes one
    JSON line a finished clip: {"clip"}; or {"error"}, and it ends.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody listens any more: the parent is gone
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr: stdout is for the answers alone
    cv2.setNumThreads(1)
    asked = json.load(sys.stdin)
    for clip in (DemoClip(*fields) for fields in asked["clips"]):
        try:
            render_clip(clip, asked["seed"], Path(asked["folder"]) / clip.file)
        except Exception as error:
            reason = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else f"{type(error).__name__}: {error}"
            )
            told.write(json.dumps({"error": f"{clip.file}: {reason}"}) + "\n")
            sys.exit(1)
        told.write(json.dumps({"clip": clip.file}) + "\n")


if __name__ == "__main__":
    main()
