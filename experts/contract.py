"""The promises of an expert, put to the test. Run it on your own:

    from experts.contract import check_expert
    check_expert(MyExpert())

It feeds made-up clips (colours, movement, tones; nothing at all; a single pixel; an hour into a film) and raises
`BrokenContract` with every promise that does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Expert, Frames, Sampling, State, Tokens, Waveform

HOUR_S = 3600.0
LATEST_S = 1.0
"""A token may lie this far outside its piece (frames of low-rate videos do)."""


class BrokenContract(AssertionError):
    """An expert does not keep what `experts.base.Expert` promises; the message has a line for each promise."""


def check_expert(expert: Expert, device: str = "cpu") -> None:
    """Put every promise of the contract to the test.

    Args:
        expert: a fresh one; it is prepared here.
        device: where it shall run.

    Raises:
        BrokenContract: with all the promises that do not hold.
    """
    broken = list(_attribute_faults(expert))
    if not broken:  # without its attributes no clip can be made for it
        expert.prepare(device)
        for faults in (_clip_faults, _absence_faults, _repetition_faults, _clock_faults):
            broken += faults(expert)
    if broken:
        raise BrokenContract("\n".join([f"{getattr(expert, 'name', expert)!r} breaks the contract:", *broken]))


def example_clip(
    sampling: Sampling, seconds: float = 3.0, size: tuple[int, int] = (90, 160), start_s: float = 0.0, seed: int = 0
) -> Clip:
    """A made-up piece: a bright square crosses a coloured, grainy ground while a tone rises in pulses.

    Args:
        sampling: what the expert asks for.
        seconds: how long it lasts.
        size: height and width of the picture, pixels.
        start_s: where it begins in the video, seconds.
        seed: of colours and tone.
    """
    frames: dict[Sampling, Frames] = {}
    sounds: dict[int, Waveform] = {}
    if sampling.frames_per_second:
        shrink = min(1.0, sampling.max_side / max(size))
        height, width = (max(1, round(side * shrink)) for side in size)
        count = max(1, int(np.ceil(seconds * sampling.frames_per_second)))
        times = (start_s + np.arange(count) / sampling.frames_per_second).astype(np.float32)
        frames[sampling] = Frames(_moving_square(count, height, width, seed), times)
    if sampling.audio_hz:
        at = np.arange(int(seconds * sampling.audio_hz)) / sampling.audio_hz
        tone = 0.4 * np.sin(2 * np.pi * (200 + 100 * seed + 80 * at) * at) * (np.sin(8 * np.pi * at) > 0)
        sounds[sampling.audio_hz] = Waveform(tone.astype(np.float32), sampling.audio_hz, start_s)
    return Clip(
        start_s,
        start_s + seconds,
        has_picture=True,
        has_sound=True,
        frames_by_sampling=frames,
        sound_by_hz=sounds,
    )


def _moving_square(count: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Frames in which a grainy square goes from left to right: uint8 [count, height, width, 3]."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 60, (height, width, 3)) + rng.integers(0, 120, 3)
    images = np.repeat(ground[None], count, 0).astype(np.uint8)
    side = max(1, min(height, width) // 3)
    for at, image in enumerate(images):
        left = (width - side) * at // count
        image[(height - side) // 2 :, left : left + side][:side] = rng.integers(180, 255, 3)
    return images


def token_faults(tokens: Tokens, dim: int, clip: Clip) -> Iterator[str]:
    """What is wrong with the tokens of a piece; nothing if all is well.

    Args:
        tokens: what the expert answered.
        dim: its width of a vector.
        clip: what it was given.
    """
    count = len(tokens.times)
    if not isinstance(tokens.state, State):
        yield f"state is a State, not {tokens.state!r}"
    elif (tokens.state is State.TOKENS) != (count > 0):
        yield f"state is {tokens.state.value!r} with {count} tokens"
    if tokens.features.dtype != np.float32 or tokens.times.dtype != np.float32:
        yield f"features and times are float32, not {tokens.features.dtype} and {tokens.times.dtype}"
    if tokens.features.shape != (count, dim) or tokens.times.shape != (count,):
        shapes = list(tokens.features.shape), list(tokens.times.shape)
        yield f"features are [{count}, {dim}] and times [{count}], not {shapes[0]} and {shapes[1]}"
    if tokens.words and len(tokens.words) != count:
        yield f"words are none, or one text a token: not {len(tokens.words)} for {count}"
    if tokens.spans and (len(tokens.spans) != len(tokens.words) or not all(0 <= a <= b for a, b in tokens.spans)):
        yield f"spans are none, or begin and end of each of the words: not {tokens.spans[:3]}"
    if not np.isfinite(tokens.features).all() or not np.isfinite(tokens.times).all():
        yield "features and times are finite"
    elif count and not clip.start_s - LATEST_S <= tokens.times.min() <= tokens.times.max() <= clip.end_s + LATEST_S:
        span = f"{tokens.times.min()}..{tokens.times.max()}"
        yield f"times lie in the piece {clip.start_s}..{clip.end_s} s, not {span}"


def _attribute_faults(expert: Expert) -> Iterator[str]:
    name, sampling = getattr(expert, "name", None), getattr(expert, "sampling", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        yield f"name is a lower-case word, not {name!r}"
    dim = getattr(expert, "dim", None)
    if not isinstance(dim, int) or dim < 1:
        yield f"dim is a positive int, not {dim!r}"
    if not isinstance(getattr(expert, "version", None), str) or not expert.version:
        yield "version is a string that is not empty"
    if not isinstance(getattr(expert, "weights", None), str):
        yield "weights is a string (empty without any)"
    if not isinstance(sampling, Sampling):
        yield "sampling is a Sampling"
    elif sampling.frames_per_second is None and sampling.audio_hz is None:
        yield "sampling asks for frames or for sound"
    for method in ("prepare", "extract"):
        if not callable(getattr(expert, method, None)):
            yield f"{method} can be called"


def _edge_clips(sampling: Sampling) -> dict[str, Clip]:
    """Clips that experts stumble over, by what they are."""
    silence = {hz: np.zeros(hz * 2, np.float32) for hz in [sampling.audio_hz] if hz}
    black = example_clip(sampling, 2.0)
    dark = {
        key: replace(frames, images=np.zeros_like(frames.images)) for key, frames in black.frames_by_sampling.items()
    }
    quiet = {hz: Waveform(samples, hz, 0.0) for hz, samples in silence.items()}
    return {
        "a clip of three seconds": example_clip(sampling),
        "an upright clip": example_clip(sampling, 2.4, (160, 90)),
        "a piece of thirty seconds": example_clip(sampling, 30.0, (45, 80)),
        "a tenth of a second": example_clip(sampling, 0.1),
        "frames of one pixel": example_clip(sampling, 2.0, (1, 1)),
        "frames one pixel high": example_clip(sampling, 2.0, (1, 300)),
        "black and silence": replace(black, frames_by_sampling=dark, sound_by_hz=quiet),
    }


def _clip_faults(expert: Expert) -> Iterator[str]:
    """Every clip gives sound tokens, and is left as it was: the other experts get the same arrays."""
    for what, clip in _edge_clips(expert.sampling).items():
        before = [array.copy() for array in _arrays(clip)]
        tokens, trouble = _attempt(expert, clip)
        if tokens is None:
            yield f"{what}: {trouble}"
            continue
        yield from (f"{what}: {fault}" for fault in token_faults(tokens, expert.dim, clip))
        if any(not np.array_equal(old, new) for old, new in zip(before, _arrays(clip), strict=True)):
            yield f"{what}: extract must leave the clip as it is"


def _attempt(expert: Expert, clip: Clip) -> tuple[Tokens | None, str]:
    """The tokens of a clip, or None and what the expert raised."""
    try:
        return expert.extract(clip), ""
    except Exception as error:  # any failure is what is to be told
        return None, f"extract raised {type(error).__name__}: {error}"


def _arrays(clip: Clip) -> list[NDArray[np.generic]]:
    pictures = [array for frames in clip.frames_by_sampling.values() for array in (frames.images, frames.times)]
    return [*pictures, *(sound.samples for sound in clip.sound_by_hz.values())]


def _absence_faults(expert: Expert) -> Iterator[str]:
    """No track and nothing decoded are told apart, and neither is an error."""
    nothing = Clip(0.0, 2.0, has_picture=True, has_sound=True)
    no_track = replace(nothing, has_picture=False, has_sound=False)
    for what, clip, state in (
        ("nothing could be decoded", nothing, State.NO_FRAMES),
        ("the file has no track it needs", no_track, State.NO_STREAM),
    ):
        tokens, trouble = _attempt(expert, clip)
        if tokens is None:
            yield f"{what}: {trouble}"
        elif len(tokens) or tokens.state != state:
            yield f"{what}: {len(tokens)} tokens, state {tokens.state!r}, where none and {state.value!r} are due"


def _repetition_faults(expert: Expert) -> Iterator[str]:
    """Equal clips give equal tokens, whatever came between."""
    clip = example_clip(expert.sampling)
    first, _ = _attempt(expert, clip)
    _attempt(expert, example_clip(expert.sampling, 2.0, (160, 90), seed=1))
    again, _ = _attempt(expert, clip)
    if not first or not again:
        return  # what it raised, and why it found nothing, is told with the clips
    if not (np.array_equal(first.features, again.features) and np.array_equal(first.times, again.times)):
        yield "equal clips give equal tokens, bit for bit, whatever was seen between them"


def _clock_faults(expert: Expert) -> Iterator[str]:
    """Times count from the start of the video, not of the piece."""
    early, _ = _attempt(expert, example_clip(expert.sampling))
    late, _ = _attempt(expert, example_clip(expert.sampling, start_s=HOUR_S))
    if early is None or late is None:
        return
    if len(early) != len(late) or not np.allclose(early.times + HOUR_S, late.times, atol=0.01):
        yield "the same piece an hour later has the same tokens an hour later"
    elif not np.allclose(early.features, late.features, atol=0.02):
        # Not bit for bit: float32 times an hour into a video are coarser, and so are speeds computed from them.
        yield "the same piece an hour later has the same features"
