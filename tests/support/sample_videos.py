"""Makes small real video files with PyAV: every frame carries its number, the sound is what one asks for."""

from __future__ import annotations

import csv
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

BITS = 10
TICKS = 90_000


def numbered(number: int, width: int = 160, height: int = 96) -> NDArray[np.uint8]:
    """A frame that shows its number in binary, a column a bit; the upper half is red where the bit is 0."""
    image = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[:, left:right] = 255 if number >> bit & 1 else 0
    return image


def read_number(image: NDArray[np.uint8]) -> int:
    """The number that a decoded frame shows."""
    width = image.shape[1]
    columns = [image[:, (2 * bit + 1) * width // (2 * BITS)] for bit in range(BITS)]
    return sum(int(column.mean() > 127) << bit for bit, column in enumerate(columns))


def film(
    path: Path,
    times_s: Sequence[float] = (),
    images: Sequence[NDArray[np.uint8]] | None = None,
    sound: NDArray[np.float32] | None = None,
    hz: int = 16_000,
    sound_at_s: float = 0.0,
    codec: str = "libx264",
    sound_codec: str = "pcm_s16le",
    options: dict[str, str] | None = None,
    pixel_aspect: Fraction | None = None,
    pixels: str = "yuv420p",
    container_options: dict[str, str] | None = None,
    ticks: int = TICKS,
) -> Path:
    """Write a file whose frame i is shown at times_s[i]; `sound` is float [n] or [n, channels].

    `ticks` a second is the clock of the pictures: an AVI has one of exactly its frame rate.
    """
    images = [numbered(at) for at in range(len(times_s))] if images is None else images
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        picture = None
        if len(times_s):
            picture = container.add_stream(codec, rate=30, options=options or {})
            picture.height, picture.width = images[0].shape[:2]
            picture.pix_fmt = pixels
            picture.codec_context.time_base = Fraction(1, ticks)
            picture.time_base = Fraction(1, ticks)
            if pixel_aspect:
                picture.codec_context.sample_aspect_ratio = pixel_aspect
        voice = None
        if sound is not None:
            sound = sound[:, None] if sound.ndim == 1 else sound
            layout = "mono" if sound.shape[1] == 1 else "stereo"
            voice = container.add_stream(sound_codec, rate=hz, layout=layout)
        if voice is not None:
            _speak(container, voice, sound, hz, sound_at_s)
        if picture is not None:
            for time_s, image in zip(times_s, images, strict=True):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts, frame.time_base = round(time_s * ticks), Fraction(1, ticks)
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
    return path


def _speak(container, voice, sound, hz, at_s) -> None:
    size = voice.codec_context.frame_size or 1024
    for start in range(0, len(sound), size):
        piece = np.ascontiguousarray(sound[start : start + size].T.astype(np.float32))
        frame = av.AudioFrame.from_ndarray(piece, "fltp", voice.layout.name)
        frame.sample_rate = hz
        frame.pts, frame.time_base = start + round(at_s * hz), Fraction(1, hz)
        container.mux(voice.encode(frame))
    container.mux(voice.encode(None))


def remux(source: Path, path: Path, contents: Callable[[int, bytes], bytes]) -> Path:
    """Copy the packets of a film with one track into another file, with other contents: of (number, bytes)."""
    with av.open(str(source)) as film, av.open(str(path), "w") as container:
        copy = container.add_stream_from_template(film.streams[0])
        for number, packet in enumerate(packet for packet in film.demux() if packet.size):
            changed = av.Packet(contents(number, bytes(packet)))
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.duration, changed.is_keyframe, changed.stream = packet.duration, packet.is_keyframe, copy
            container.mux(changed)
    return path


MATRICES: dict[int | str, tuple[int, int, int, int]] = {
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
    "left and right": (-1, 0, 0, 1),
    "top and bottom": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transposed the other way": (0, -1, -1, 0),
}
"""Display matrices (a, b, c, d) of QuickTime's track header: turns clockwise by degrees, and mirrors."""


def turn(path: Path, way: int | str) -> Path:
    """Write a display matrix into the track header of an mp4, as a telephone held on its side does."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = MATRICES[way]
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def tone(seconds: float, hz: int = 16_000, pitch_hz: float = 440.0) -> NDArray[np.float32]:
    """A sine, float32 [n]."""
    at = np.arange(round(seconds * hz)) / hz
    return (0.4 * np.sin(2 * np.pi * pitch_hz * at)).astype(np.float32)


def clip(path: Path, seconds: float = 1.0, fps: float = 10.0, seed: int = 0, with_sound: bool = True) -> Path:
    """A small clip of moving noise, with a tone."""
    rng = np.random.default_rng(seed)
    ground = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    images = [np.roll(ground, 3 * at, axis=1) for at in range(max(1, round(seconds * fps)))]
    times = [at / fps for at in range(len(images))]
    sound = tone(seconds, pitch_hz=220 + 40 * seed) if with_sound else None
    aac = path.suffix in (".mp4", ".mov")
    return film(path, times, images, sound, sound_codec="aac" if aac else "pcm_s16le")


def real_clips(shared: Path) -> dict[str, dict[str, str]]:
    """What the manifest says of each of the 56 clips, by path."""
    rows = csv.DictReader((shared / "videos" / "MANIFEST.csv").open())
    return {str(shared / "videos" / row["file"]): row for row in rows if "/" not in row["file"]}
