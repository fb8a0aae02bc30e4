"""The decoder protocol, and which decoder opens a file.

A decoder opens a file and gives its decoded pieces in the order in which they come out of the file: `Picture`s with
rising times, `Sound`s with rising times, the two interleaved as the file has them. All times are seconds on one clock
whose zero is the start of the file, so that sound and picture can be laid side by side.

Two are built in. Measured on the 56 real clips (478 s, one core, one thread): PyAV decodes all pictures and the
sound in 8.4 s and takes 11.1 s with every third frame converted at two sizes; decord with sound through PyAV takes
14.8 s for half of that conversion. PyAV also has the right times where decord has none (AVI), honours edit lists
(decord shows 74 of 56 frames of one clip) and opens AV1; of a transport stream decord loses the first pictures, and
is refused it, as it is joined recordings, mirrors, HDR and packets of no bytes. So `auto` is PyAV, on every platform;
decord stays as the alternative, and is tried where PyAV cannot open a file (and the other way round).

Any other decoder is named by `package.module:Class`; the class is called without arguments and must follow
`Decoder`. It is imported in the worker process, from PYTHONPATH. A minimal one:

    class Grey:
        name = "grey"

        def open(self, path: str, see: bool, hear_hz: Sequence[int]) -> Media: ...

tests/media/test_decoder.py runs any decoder through what is asked of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BUILT_IN = {"pyav": "hcq_cli.media.pyav:PyAVDecoder", "decord": "hcq_cli.media.decord:DecordDecoder"}
"""Decoders by name, in the order in which `auto` tries them."""


class CannotOpenError(Exception):
    """The decoder cannot make anything of the file; the message is the reason, without the file's name."""


class NoVideoError(CannotOpenError):
    """It is known to be something else, whatever another decoder would make of it."""


class CannotConvertError(Exception):
    """A decoded frame has no pixels that can be shown; the message is the reason."""


class Picture(Protocol):
    """One decoded frame, not converted yet: most frames are never asked for their pixels.

    Attributes:
        time_s: presentation time, seconds.
        duration_s: how long it is shown, seconds; 0 if the file does not say.
    """

    time_s: float
    duration_s: float

    def rgb(self, max_side: int) -> NDArray[np.uint8]:
        """Pixels [height, width, 3], upright and square, shrunk until the longer side is at most `max_side`.

        Raises:
            CannotConvertError: of this frame there are none.
        """
        ...


@dataclass(frozen=True)
class Sound:
    """A piece of the mono sound.

    Args:
        samples: float32 [n] in -1..1; where clips are cut, [2, n].
        hz: samples a second.
        start_s: time of the first sample, seconds.
    """

    samples: NDArray[np.float32]
    hz: int
    start_s: float


class Media(Protocol):
    """An open file.

    Attributes:
        duration_s: as the file itself says; None if it does not say.
        has_picture: whether there is a video track (cover art is none).
        has_sound: whether there is a sound track.
        warnings: what went wrong so far and did not end the decoding; grows while iterating.
        packets: how many packets of the file have been read, for those who count decodings.
    """

    duration_s: float | None
    has_picture: bool
    has_sound: bool
    warnings: list[str]
    packets: int

    def __iter__(self) -> Iterator[Picture | Sound]:
        """Decode from the beginning to the end, once. A broken piece is skipped with a warning."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Decoder(Protocol):
    """Opens files.

    Attributes:
        name: recorded in the feature store beside what it decoded.
    """

    name: str

    def open(self, path: str, see: bool, hear_hz: Sequence[int]) -> Media:
        """Open a file.

        Args:
            path: the file.
            see: whether pictures are wanted.
            hear_hz: the sample rates at which the sound is wanted; empty if it is not.

        Raises:
            CannotOpenError: nothing in it can be decoded; says why.
        """
        ...


def decoders_for(choice: str) -> list[Decoder]:
    """The decoders to try, in this order, for `--decoder CHOICE`.

    Raises:
        ValueError: there is no such decoder.
    """
    if choice in ("auto", *BUILT_IN):
        # Sorting is stable: the chosen one, then the others in their order.
        first, *others = sorted(BUILT_IN, key=lambda name: name != choice)
        try:
            return [_load(BUILT_IN[first]), *map(LazyDecoder, others)]
        except ImportError:  # decord has no wheel for some platforms
            return [_load(BUILT_IN[name]) for name in others]
    if ":" not in choice:
        raise ValueError(f"no decoder {choice!r} (auto, {', '.join(BUILT_IN)}, or package.module:Class)")
    return [_load(choice)]


def _load(dotted: str) -> Decoder:
    # Imported when a worker asks for it: nothing of a stranger's decoder runs in the process of the command.
    module, _, attribute = dotted.partition(":")
    decoder: Any = getattr(importlib.import_module(module), attribute)
    return decoder()


class LazyDecoder:
    """A built-in decoder that is imported when the one before it could not open a file, which is seldom.

    Each brings an FFmpeg of its own, of tens of megabytes.

    Args:
        name: of the decoder.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._decoder: Decoder | None = None

    def open(self, path: str, see: bool, hear_hz: Sequence[int]) -> Media:
        """See `Decoder.open`."""
        try:
            self._decoder = self._decoder or _load(BUILT_IN[self.name])
        except ImportError as error:
            raise CannotOpenError(f"{self.name} is not installed") from error
        return self._decoder.open(path, see, hear_hz)


def open_media(decoders: Sequence[Decoder], path: str, see: bool, hear_hz: Sequence[int]) -> tuple[str, Media]:
    """Open a file with the first decoder that can.

    Returns:
        The decoder's name and the open file.

    Raises:
        CannotOpenError: none can; the reason is the first one's.
    """
    reasons: list[CannotOpenError] = []
    for decoder in decoders:
        try:
            media = decoder.open(path, see, hear_hz)
            if reasons:
                media.warnings.append(f"read by {decoder.name}: {reasons[0]}")
            return decoder.name, media
        except CannotOpenError as error:
            reasons.append(error)
    raise reasons[0]  # the others are only a second opinion


def upright_size(width: int, height: int, pixel_aspect: Fraction | None, max_side: int) -> tuple[int, int]:
    """The size at which a stored frame has square pixels and its longer side is at most `max_side`.

    Never larger than stored in either direction: pixels that are wider than high shrink the height instead.

    Args:
        width: of the stored frame, pixels (before rotation).
        height: of the stored frame, pixels.
        pixel_aspect: width of a pixel over its height; None or 0 if unknown.
        max_side: pixels.

    Returns:
        width, height; at least 1 each.
    """
    aspect = float(pixel_aspect) if pixel_aspect else 1.0
    # One direction is kept as stored and the other shrinks: no pixel is made up, and no frame takes more memory.
    wide, high = (width, height / aspect) if aspect > 1 else (width * aspect, float(height))
    scale = min(1.0, max_side / max(wide, high))
    return max(1, round(wide * scale)), max(1, round(high * scale))
