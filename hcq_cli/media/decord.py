"""The decord decoder: pictures by decord, the rest (sound, clock, shape of pixels) by PyAV.

decord reads pictures only, in one go, and gives each its own time; its times are unusable for some containers
(AVI), and then the frame rate has to do. It turns pictures upright itself. See decoder.py for why it is not
the first choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import decord
import numpy as np
from numpy.typing import NDArray

from hcq_cli.media.container_facts import ContainerFacts, container_start_s
from hcq_cli.media.decoder import CannotOpenError, NoVideoError, Picture, Sound, upright_size
from hcq_cli.media.pyav import PyAVMedia
from hcq_cli.media.sniffing import is_video, read_head

LOST_IN = {"mpegts"}
"""Containers in which decord may begin at the second key frame, with the times of the first."""
LATEST_S = 1e7
"""A time beyond this is nonsense: four months, in seconds."""
LATER_S = 60.0
"""So is one that lies more than this beyond twice the length that the file says it has, seconds."""


@dataclass
class DecordPicture:
    """A frame as decord gives it; see `Picture`.

    Args:
        image: uint8 [height, width, 3], upright.
        time_s: seconds.
        duration_s: seconds.
        pixel_aspect: width of a pixel over its height, of the upright picture; None if unknown.
    """

    image: NDArray[np.uint8]
    time_s: float
    duration_s: float
    pixel_aspect: Fraction | None

    def rgb(self, max_side: int) -> NDArray[np.uint8]:
        """See `Picture.rgb`."""
        import cv2

        height, width = self.image.shape[:2]
        size = upright_size(width, height, self.pixel_aspect, max_side)
        if size == (width, height):
            return self.image
        # As pyav.py shrinks: the mean of the pixels that fall together.
        small: NDArray[np.uint8] = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        return small


class DecordMedia:
    """A file opened with decord, and with PyAV for its sound; see `Media`.

    Args:
        path: the file.
        see: whether pictures are wanted.
        hear_hz: wanted sample rates.
    """

    def __init__(self, path: str, see: bool, hear_hz: Sequence[int]) -> None:
        self.warnings: list[str] = []
        self.packets = 0
        reason = ""
        self._sound: PyAVMedia | None = None
        try:
            self._sound = PyAVMedia(path, False, hear_hz)
        except CannotOpenError as error:
            # decord's own FFmpeg, which is another one, may yet open the picture. But it draws texts, and a web page
            # under the name of a video has no silent sound.
            if not see or isinstance(error, NoVideoError) or not is_video(read_head(path)):
                raise
            reason = str(error)
            self.warnings.append(f"no sound: {error}")
        self.has_picture = self._sound is None or self._sound.has_picture
        self.has_sound = self._sound is not None and self._sound.has_sound
        self.duration_s = self._sound.duration_s if self._sound is not None else None
        self.facts = self._sound.facts if self._sound is not None else ContainerFacts()
        self._frames: Any = None
        self._aspect: Any = None
        self._shown: list[tuple[float, float]] = []
        if self._sound is not None and self._sound.container.format.name in LOST_IN:
            self.close()
            raise CannotOpenError(f"decord loses frames of {self._sound.container.format.long_name}")
        odd = self._oddities(path) if self._sound is not None and self.has_picture else []
        if odd:
            self.close()
            raise CannotOpenError(f"decord does not know {', '.join(odd)}")
        if see and self.has_picture:
            try:
                # One thread, on the CPU: see pyav.py. What else it may fail on is asked for now, while another
                # decoder can still be taken.
                self._frames = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
                self._aspect, self._shown = self._pixel_aspect(), self._times()
            except Exception as error:  # DECORDError, RuntimeError and others
                self.close()
                raise CannotOpenError(reason or f"decord: {type(error).__name__}") from error

    def _oddities(self, path: str) -> list[str]:
        whole = PyAVMedia(path, True, [])
        try:
            odd = whole.oddities()
            self.duration_s = whole.duration_s
            return odd
        finally:
            whole.close()

    def close(self) -> None:
        """See `Media.close`."""
        self._frames = None  # decord closes a file when nothing refers to it any more
        if self._sound is not None:
            self._sound.close()

    def __iter__(self) -> Iterator[Picture | Sound]:
        """Pictures and sound in the order of their times."""
        sounds = iter(self._sound) if self._sound is not None else iter(())
        sound = next(sounds, None)
        for picture in self._pictures():
            while isinstance(sound, Sound) and sound.start_s <= picture.time_s:
                yield sound
                sound = next(sounds, None)
            yield picture
        while sound is not None:
            yield sound
            sound = next(sounds, None)
        if self._sound is not None:
            self.warnings += self._sound.warnings

    def _pictures(self) -> Iterator[DecordPicture]:
        if self._frames is None:
            return
        for at, (shown_s, gone_s) in enumerate(self._shown):
            try:
                # Very narrow frames come with their padding as further colours.
                image = np.ascontiguousarray(self._frames.next().asnumpy()[:, :, :3])
            except Exception as error:  # StopIteration as decord's own kind, or a broken packet
                kind = type(error).__name__
                self.warnings.append(f"the picture is broken at {shown_s:.1f} s (frame {at}: decord {kind})")
                return
            self.packets += 1
            yield DecordPicture(image, shown_s, gone_s - shown_s, self._aspect)

    def _pixel_aspect(self) -> Any:
        """Width of a pixel over its height, of the picture as decord turns it; None if the file does not say."""
        video = self._sound.video if self._sound is not None else None
        if video is None or not video.sample_aspect_ratio:
            return None
        # Whether it was turned by a quarter, only a frame tells; then the reader goes back to the beginning.
        turned = self._frames[0].shape[:2] != (video.height, video.width)
        self._frames.seek(0)
        return 1 / video.sample_aspect_ratio if turned else video.sample_aspect_ratio

    def _times(self) -> list[tuple[float, float]]:
        """When each frame is shown and gone, seconds; by the frame rate if decord's times are nonsense."""
        count = len(self._frames)
        times = np.asarray(self._frames.get_frame_timestamp(range(count)), np.float64).reshape(count, 2)
        video = self._sound.video if self._sound is not None else None
        # decord's times start with the stream; the clock starts with the file.
        late_s = 0.0
        if self._sound is not None and video is not None and video.start_time is not None:
            late_s = float(video.start_time * video.time_base) - container_start_s(self._sound.container)
        latest_s = min(LATEST_S, 2 * self.duration_s + LATER_S) if self.duration_s else LATEST_S
        if not np.isfinite(times).all() or np.abs(times).max(initial=0) > latest_s:
            # PyAV's guess comes first: an AVI may count 600 ticks a second and show 25 frames.
            guess = video.guessed_rate if video is not None else None
            rate = float(guess or self._frames.get_avg_fps() or 1.0)
            times = np.arange(count)[:, None] / rate + np.array([[0.0, 1 / rate]])
        elif self._sound is not None:
            late_s -= float(times[0, 0]) if count else 0.0
        return [(float(shown) + late_s, float(gone) + late_s) for shown, gone in times]


class DecordDecoder:
    """See `Decoder`."""

    name = "decord"

    def __init__(self) -> None:
        decord.logging.set_level(decord.logging.QUIET)

    def open(self, path: str, see: bool, hear_hz: Sequence[int]) -> DecordMedia:
        """See `Decoder.open`."""
        return DecordMedia(path, see, hear_hz)
