"""What a container says of a film besides its pictures and its sound: how large and how long they are, when they
begin, and when the film was taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

DATE_TAGS = ("com.apple.quicktime.creationdate", "creation_time", "date_utc", "date")
"""Where cameras and phones write when a film was taken, the most exact one first."""
EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""Anything before is a clock that was never set: 1904 and 1970 are where the clocks of containers start."""
UNTIMED = {"avi"}
"""Containers without presentation times: what FFmpeg makes up for them is late, and out of order with B-frames."""
CHUNK_BYTES, MOST_MISSING = 8, 100
"""A frame of an AVI takes at least so many bytes; no more than so many times the file is believed to be missing."""
FROM_ZERO = {"matroska,webm", "asf"}
"""Containers that say when they end, and not how long they are: the same only where they start at 0."""


@dataclass(frozen=True)
class ContainerFacts:
    """What is known of a file before anything is decoded.

    Args:
        width: pixels of a stored picture; 0 if unknown.
        height: the same.
        taken_s: when it was taken, seconds since 1970 (UTC); None if the container does not say.
    """

    width: int = 0
    height: int = 0
    taken_s: float | None = None

    def shown_as(self, width: int, height: int) -> ContainerFacts:
        """The same, turned if an upright picture of it has this shape."""
        turned = (self.width > self.height) == (width < height) and width != height and self.width != self.height
        return replace(self, width=self.height, height=self.width) if turned else self


def container_facts(container: Any, video: Any) -> ContainerFacts:
    """What an open file says.

    Args:
        container: of PyAV.
        video: its stream of pictures, or None.
    """
    width, height = (video.width or 0, video.height or 0) if video is not None else (0, 0)
    tags = {key.lower(): value for part in (video, container) if part for key, value in part.metadata.items()}
    taken = next((seconds for tag in DATE_TAGS if (seconds := date_s(tags.get(tag, ""))) is not None), None)
    return ContainerFacts(width, height, taken)


def date_s(text: str) -> float | None:
    """Seconds since 1970 of a whole date as containers write it, UTC where it has no zone; None for anything else."""
    try:
        found = datetime.fromisoformat(text.strip())
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if EARLIEST <= found <= datetime.now(UTC) + timedelta(days=1):
            return found.timestamp()
    except (ValueError, OverflowError):
        pass
    return None


def said_duration_s(container: Any, video: Any) -> float | None:
    """How long the file says it is, seconds; None if it does not.

    Of an AVI that is cut off FFmpeg tells how long the rest is; its header still has how many frames there were.
    """
    # A container counts its own times in microseconds, whatever its streams count in.
    seconds = container.duration / 1e6 if container.duration else None
    if seconds is not None and container.format.name in FROM_ZERO and 0 < container_start_s(container) < seconds:
        seconds -= container_start_s(container)
    if container.format.name not in UNTIMED or video is None:
        return seconds
    if video.frames * CHUNK_BYTES <= container.size * MOST_MISSING:  # a broken header may say anything
        # In ticks of its own clock, not at the rate of the pictures: that may be a half of it, where every other
        # chunk is empty.
        seconds = max(seconds or 0.0, float(video.frames * video.time_base))
    return seconds


def container_start_s(container: Any) -> float:
    """When the file starts on its own clock, seconds: the first frame or sample of any track."""
    if container.start_time is not None:
        return float(container.start_time) / 1e6
    starts = [float(s.start_time * s.time_base) for s in container.streams if s.start_time is not None]
    return min(starts, default=0.0)
