"""When each picture of a file is shown, and how long: by the times that the file says, and never back.

Some files say no times, some say one time for many pictures, and where recordings overlap the times go back a little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hcq_cli.media.clock import BACK_S

STANDS = 2
"""So many pictures with the time of one before them: their clock stands still."""
PACE_S, SLOWEST_S = 0.04, 0.1
"""How far apart such pictures are where nothing tells; and at most, seconds."""


class PictureTimes:
    """The times of the pictures of a file, in the order in which they come out of the decoder.

    Args:
        video: their stream; None where there is none.
        start_s: when the file starts on its own clock, seconds.
        warn: told what was odd, for people.

    Attributes:
        reached_s: when the last picture ends, seconds from the start of the file.
    """

    def __init__(self, video: Any, start_s: float, warn: Callable[[str], None]) -> None:
        self.reached_s = 0.0
        self._video, self._start_s, self._warn = video, start_s, warn
        self._last_s: float | None = None  # when the last picture is shown
        self._said_s: float | None = None  # and when the file says that it is
        self._same_time = 0  # how many pictures came with the time `_said_s` of one before them
        self._stood = False  # whether that were too many anywhere
        self._pace_s, self._halts = 0.0, False  # between such pictures, seconds; whether the last ones were such

    def feed(self, packet: Any) -> None:
        """Call for each packet before it is decoded."""

    def lose(self) -> None:
        """Call where a packet could not be decoded."""

    def stamp(self, frame: Any) -> int | None:
        """When a picture is shown, in ticks of the file's own clock; None if the file does not say. Call once."""
        stamp: int | None = frame.pts if frame.pts is not None else frame.dts
        return stamp

    def said_s(self, frame: Any) -> float | None:
        """When the file says that a picture is shown, seconds from its start; None if it does not. Call once."""
        stamp = self.stamp(frame)
        return None if stamp is None else float(stamp * (frame.time_base or self._video.time_base)) - self._start_s

    def place(self, frame: Any, said_s: float | None) -> tuple[float, float]:
        """When the next picture is shown and how long, seconds; the time is not before that of the last one.

        Args:
            frame: of the picture.
            said_s: as `said_s` gives it.
        """
        duration_s = float(frame.duration * (frame.time_base or self._video.time_base)) if frame.duration else 0.0
        if not duration_s and self._video.average_rate:
            duration_s = float(1 / self._video.average_rate)
        time_s, duration_s = self._forward(said_s, duration_s)
        self._last_s, self.reached_s = time_s, time_s + duration_s
        return time_s, duration_s

    def _forward(self, time_s: float | None, duration_s: float) -> tuple[float, float]:
        """Time and duration of a picture, by those that the file says."""
        before_s, self._said_s = self._said_s, time_s
        last_s = self._last_s
        if time_s is None or last_s is None or before_s is None:
            return (self.reached_s if time_s is None else max(time_s, last_s or time_s)), duration_s
        if time_s == before_s:
            self._same_time += 1
        else:
            if self._same_time >= STANDS and time_s > before_s:
                self._pace_s, self._halts = (time_s - before_s) / (self._same_time + 1), True
            self._same_time, self._halts = 0, self._halts and time_s > before_s
        if self._same_time >= STANDS and not self._stood:  # told once: times rounded to seconds stand still in each
            self._stood = True
            self._warn(f"pictures from {time_s:.1f} s on have one time: they follow one another")
        if self._same_time >= STANDS or (self._same_time and self._halts):
            # Where such times go on now and then, they tell how fast; the rate that the file says is made of them.
            duration_s = next((each for each in (self._pace_s, duration_s) if 0 < each <= SLOWEST_S), PACE_S)
            time_s += self._same_time * duration_s
        elif time_s < last_s - BACK_S and not self._halts:
            time_s = self.reached_s
        # Where parts overlap a little it is shown at once, or all later ones would come late by as much.
        return max(time_s, last_s), duration_s


class TimesByOrder(PictureTimes):
    """Of a file without presentation times: pictures come out of the decoder in the order in which they are shown, at
    the pace of the packets that went in, and later than these by what the decoder holds back.

    Args:
        video, start_s, warn: as `PictureTimes`.
    """

    def __init__(self, video: Any, start_s: float, warn: Callable[[str], None]) -> None:
        super().__init__(video, start_s, warn)
        self._fed = list[int]()  # times of the packets that the decoder got before the first picture came out
        self._late: int | None = None  # how much later pictures come out, ticks

    def feed(self, packet: Any) -> None:
        """See `PictureTimes.feed`."""
        if self._late is None and packet.dts is not None and (self._fed or packet.is_keyframe):
            self._fed.append(packet.dts)

    def lose(self) -> None:
        """See `PictureTimes.lose`: the first picture will be another one."""
        self._fed.clear()

    def stamp(self, frame: Any) -> int | None:
        """See `PictureTimes.stamp`."""
        if frame.dts is None:  # the last ones, that the decoder held back
            return None
        if self._late is None:  # the first to come out is the first key picture: what lies before it is lost
            held = self._fed.index(frame.dts) if frame.dts in self._fed else 0
            self._late = frame.dts - self._fed[0] if held else 0
            usual = held * (self._fed[held] - self._fed[held - 1]) if held > 1 else self._late
            if self._late > 2 * usual:  # a gap behind the first one, as cutting leaves it, is no delay
                self._late = usual
        stamp: int = frame.dts - self._late
        return stamp
