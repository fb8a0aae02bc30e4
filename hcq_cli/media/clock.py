"""The clock of a file: the times of all its tracks on one clock that only goes forward.

A file may be several recordings behind one another, each with a clock of its own: transport streams joined byte by
byte, recorders that reconnect, splices. Then the times go back in the middle, or leap an hour on with nothing in
between. Each stretch with a clock of its own is a part; a part goes on where the one before ends, for picture and
sound alike. Other programs do so too (FFmpeg's `-dts_delta_threshold`), but shift all tracks at the first packet of
a new part, which spoils those packets of the old one that come a little later: here each track changes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av

BACK_S = 0.1
"""The times at which packets are to be decoded never go back within a recording; this much is rounding, seconds."""
LEAP_S = 10.0
"""A step on of more than this, in all tracks, is a new part and not a pause; FFmpeg's own threshold, seconds."""
OVERLAP_S = 1.0
"""How far the sound of a part may reach into the next one's, where recordings were cut between packets, seconds."""
LAST_PARTS = 8
"""How many of the newest parts a track is matched with: a damaged file may have thousands."""
LIVE = {"flv", "live_flv"}
"""Formats whose clock may leap though FFmpeg does not say so."""


@dataclass
class _Track:
    """Where a track is.

    Args:
        part: which part its last packet belonged to.
        base_s: seconds a tick of its times.
        clock_s: of that packet, on the file's own clock, seconds.
        reached_s: how far its packets have come on the mended clock, seconds.
    """

    part: int
    base_s: float
    clock_s: float | None = None
    reached_s: float = 0.0


class FileClock:
    """Puts packets on one clock.

    Args:
        container: the open file.
        start_s: when it starts on its own clock, seconds.
    """

    def __init__(self, container: Any, start_s: float) -> None:
        self.is_stream = (
            bool(container.format.flags & av.format.Flags.ts_discont.value) or container.format.name in LIVE
        )
        """Whether it may leap, as FFmpeg says of the format."""
        self._start_s = start_s
        self._shifts_s = [0.0]  # one a part; the first keeps its times
        self._tracks: dict[int, _Track] = {}
        self.reached_s = 0.0
        """How far the packets of any track have come, seconds from the start of the file."""
        self._steps: list[str] = []
        self._pauses: list[str] = []

    def mend_times(self, packet: Any) -> float | None:
        """Change the times of a packet to those of the one clock; call for every packet of picture and sound.

        Returns:
            when it ends, seconds from the start of the file; None if it has no times: it follows the one before it.
        """
        decoded, shown, track = packet.dts, packet.pts, self._tracks.get(packet.stream_index)
        if track is None:
            # As a fraction, for every packet anew, the length of a tick would take time.
            track = _Track(len(self._shifts_s) - 1, float(packet.time_base))
            self._tracks[packet.stream_index] = track
        if shown is None or decoded is None:
            decoded = shown = decoded if shown is None else shown
            if shown is None:
                return None
        elif self.is_stream and abs(shown - decoded) * track.base_s > LEAP_S:
            packet.pts = None  # the last packet before a leap: FFmpeg guesses its time from the next one's
            shown = decoded
        # Streams have times of decoding, which never go back. Elsewhere FFmpeg makes them up, and not always so: but
        # no key picture is shown before one that came earlier.
        if self.is_stream:
            self._choose_part(track, decoded * track.base_s, shown * track.base_s)
        elif packet.is_keyframe:
            self._choose_part(track, shown * track.base_s, shown * track.base_s)
        shift_s = self._shifts_s[track.part]
        if shift_s:
            ticks = round(shift_s / track.base_s)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        end_s: float = (shown + (packet.duration or 0)) * track.base_s + shift_s - self._start_s
        if end_s > track.reached_s:
            track.reached_s = end_s
            if end_s > self.reached_s:
                self.reached_s = end_s
        return end_s

    def _choose_part(self, track: _Track, clock_s: float, shown_s: float) -> None:
        """Have a track take another part where its next packet says so.

        Args:
            track: of the packet.
            clock_s: its time that cannot go back within a part, on the file's own clock, seconds.
            shown_s: when it is shown or heard, on the file's own clock, seconds.
        """
        before_s, track.clock_s = track.clock_s, clock_s
        back = before_s is not None and clock_s < before_s - BACK_S
        pause_s = clock_s + self._shifts_s[track.part] - self._start_s - self.reached_s
        leaps = pause_s > LEAP_S
        if leaps and not self.is_stream:
            # A file that is not a stream may well show one picture for hours; where there is sound too, it is odd.
            if before_s is not None and len(self._tracks) > 1:
                self._pauses.append(f"{pause_s:.1f} s at {self.reached_s:.1f} s")
        elif back or leaps:
            known = self._part_that_goes_on(track, shown_s)
            track.part = known if known is not None else self._begin_part(shown_s)

    @property
    def mended(self) -> bool:
        """Whether there is more than one part: what the file says of its length is then of no use."""
        return len(self._shifts_s) > 1

    @property
    def warnings(self) -> list[str]:
        """What was mended, and what was odd and was left, for people."""
        told = []
        if self._steps:
            told.append(f"its clock {_first(self._steps)}: joined there to one that only goes forward")
        if self._pauses:
            told.append(f"its clock leaps on by {_first(self._pauses)}, with nothing in between: left as it is")
        return told

    def _part_that_goes_on(self, track: _Track, shown_s: float) -> int | None:
        """The part of another track in which this one goes on where it was; None if there is none.

        Also the one that the track left a moment ago, for a packet whose time was wrong.
        """
        gaps = {
            part: shown_s + self._shifts_s[part] - self._start_s - track.reached_s
            for part in range(max(0, len(self._shifts_s) - LAST_PARTS), len(self._shifts_s))
            if part != track.part
        }
        near = [
            part
            for part, gap in gaps.items()
            # An earlier part may be taken up again only where nothing would come to lie over what followed it.
            if (-OVERLAP_S if part > track.part else -BACK_S) <= gap
            and gap <= self.reached_s - track.reached_s + LEAP_S
        ]
        return min(near, key=lambda part: abs(gaps[part]), default=None)

    def _begin_part(self, shown_s: float) -> int:
        """The number of a new part, which begins where all tracks of those before it have ended."""
        shift_s = self.reached_s + self._start_s - shown_s
        step_s = self._shifts_s[-1] - shift_s
        turns = f"leaps {step_s:.1f} s on" if step_s > 0 else f"goes back {-step_s:.1f} s"
        self._steps.append(f"{turns} at {self.reached_s:.1f} s")
        self._shifts_s.append(shift_s)
        return len(self._shifts_s) - 1


def _first(of: list[str]) -> str:
    return of[0] + (f" (and {len(of) - 1} times more)" if len(of) > 1 else "")
