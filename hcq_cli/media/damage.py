"""What of a film could not be decoded, and which pictures are left out for it.

After a broken packet FFmpeg gives the pictures up to the next key frame as if they were whole, grey or smeared with
what is not there. But where a camera sends no key frames, or seldom, one packet is not to cost the rest of the film.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PATIENCE_S = 4.0
"""So long, at least, pictures after a broken packet are left out while no key frame comes, seconds."""
MOST_BROKEN_PACKETS = 1000
"""A track is given up after so many packets that cannot be decoded."""


@dataclass
class TrackDamage:
    """What could not be decoded of a track.

    Args:
        first_s: how far the track had come before the first broken packet, seconds.
        packets: how many packets.
        waiting: whether no picture that refers to none has come since.
        since_s: when the first picture after that was to be shown, seconds; None before it has come.
        spoilt: how many pictures were left out because they may refer to a broken one.
        smeared: how many were shown all the same, because no whole one came for too long.
    """

    first_s: float
    packets: int = 0
    waiting: bool = False
    since_s: float | None = None
    spoilt: int = 0
    smeared: int = 0

    def describe(self, kind: str) -> str:
        """For people; `kind` is picture or sound."""
        many = "1 piece" if self.packets == 1 else f"{self.packets} pieces"
        spoilt = f", {self.spoilt} frames after it left out" if self.spoilt else ""
        smeared = f", {self.smeared} taken that may be smeared" if self.smeared else ""
        return f"the {kind} is broken at {self.first_s:.1f} s ({many} could not be decoded{spoilt}{smeared})"


class FilmDamage:
    """The damage of both tracks of a film, `picture` and `sound`, as it is decoded."""

    def __init__(self) -> None:
        self._tracks: dict[str, TrackDamage] = {}  # in the order in which they broke
        self._key_s = self._longest_gap_s = 0.0  # when the last key frame came, and how far apart they were

    @property
    def warnings(self) -> list[str]:
        """What is broken, for people."""
        return [damage.describe(kind) for kind, damage in self._tracks.items()]

    def gives_up(self, kind: str) -> bool:
        """Whether no more of a track is worth decoding."""
        return kind in self._tracks and self._tracks[kind].packets >= MOST_BROKEN_PACKETS

    def count(self, kind: str, reached_s: float) -> TrackDamage:
        """Count a broken packet of a track, which has come as far as `reached_s`."""
        damage = self._tracks.setdefault(kind, TrackDamage(reached_s))
        damage.packets += 1
        if kind == "picture" and not damage.waiting:
            damage.waiting, damage.since_s = True, None
        return damage

    def begins_anew(self, packet: Any) -> bool:
        """Whether the decoder of pictures is to be begun anew with a packet, after a broken one: then it is whole."""
        damage = self._tracks.get("picture")
        if damage is None or not damage.waiting or not packet.is_keyframe or packet.stream.codec.name != "h264":
            return False
        # It may be a recovery point only, from which the picture is refreshed bit by bit, and no key frame ever
        # comes. Begun anew there, FFmpeg itself holds the pictures back until they are whole.
        damage.waiting = False
        return True

    def is_shown(self, frame: Any, time_s: float | None, reached_s: float) -> bool:
        """Whether a picture can be shown: after a broken packet, from the next key frame on.

        Args:
            frame: as FFmpeg decoded it.
            time_s: when it is shown, as the file says.
            reached_s: how far the pictures have come, seconds.
        """
        damage = self._tracks.get("picture")
        if frame.is_corrupt and not (damage and damage.waiting):  # H.265 tells so, and raises nothing
            damage = self.count("picture", reached_s)
        if frame.key_frame and time_s is not None:
            self._longest_gap_s, self._key_s = max(self._longest_gap_s, time_s - self._key_s), time_s
        if damage is None or not damage.waiting:
            return True
        if frame.key_frame:
            damage.waiting = False
            return True
        if damage.since_s is None:
            damage.since_s = time_s
        # Twice as long as key frames were apart up to here.
        patience_s = max(2 * self._longest_gap_s, PATIENCE_S)
        if damage.since_s is not None and time_s is not None and time_s > damage.since_s + patience_s:
            damage.smeared += 1
            return True
        damage.spoilt += 1
        return False
