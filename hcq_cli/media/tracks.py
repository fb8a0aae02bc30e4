"""A file opened with FFmpeg, and which of its tracks are seen and heard: those that a player would take, and of
several sounds one that is not silent.

Recorders and cameras write a track a microphone, of which the first may be empty. So where there are several tracks
of sound, they are listened to before the film is decoded, until one can be heard: as a rule a second or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import numpy as np

from hcq_cli.media.audio import AudioConverter, decode_sound, without_own_order

LOCAL = {"protocol_whitelist": "file,crypto,data,subfile"}
"""A play list that calls itself a video must not make FFmpeg reach for the network."""
LISTEN_HZ = 8000
HEARD = 1e-7
"""The mean square of a piece of sound that can be heard: -70 dBFS, as the audio expert has it."""
LISTEN_S = 600.0
"""Tracks that are all silent for so long are not listened to any further, seconds."""
PREFERENCE_S = 30.0
"""The track that a player takes may begin to be heard so much later than another, seconds."""


def open_film(path: str) -> Any:
    """A file, opened with FFmpeg, its headers read; a context manager.

    Raises:
        av.FFmpegError, ValueError, OSError: it cannot be.
    """
    # A title in some old code page is no reason to refuse a film.
    return av.open(path, metadata_errors="replace", options=LOCAL)


def best_video(container: Any) -> Any:
    """The video stream that a player would show; None if there is none (cover art is none)."""
    cover = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    real = [stream for stream in container.streams.video if not stream.disposition & cover]
    best = container.streams.best("video")  # FFmpeg takes a large cover for the film
    return best if best in real else next(iter(real), None)


def sound_tracks(container: Any, video: Any) -> list[Any]:
    """The tracks of sound that belong to the picture, the one that a player would take first; empty if none do.

    Args:
        container: the open file.
        video: the stream that is seen; None if none is.
    """
    streams = container.streams
    best = streams.best("audio", video) or streams.best("audio")
    if video is None or best is None:
        ours = list(streams.audio)
    else:
        # A transport stream may carry several programmes; a sound of the same one has the same picture.
        picture = streams.best("video", best)
        ours = [audio for audio in streams.audio if streams.best("video", audio) == picture]
    return sorted(ours, key=lambda audio: audio != best)


def heard_track(path: str, tracks: Sequence[Any]) -> Any:
    """The first of `tracks` if it can be heard, else the first of the others that can; the first if none can.

    Args:
        path: the file, which is opened once more.
        tracks: streams of sound, as `sound_tracks` gives them.
    """
    first = tracks[0]
    heard: dict[int, float] = {}
    with open_film(path) as container:
        streams = [container.streams[track.index] for track in tracks if track.codec_context is not None]
        converters = {stream.index: AudioConverter([LISTEN_HZ]) for stream in streams}
        listened_s = dict.fromkeys(converters, 0.0)
        try:
            for stream in streams:
                without_own_order(stream)
            for packet in container.demux(streams):
                index = packet.stream_index
                if not packet.size or index in heard:
                    continue
                for sound in _sounds(packet, converters[index]):
                    listened_s[index] += len(sound.samples) / sound.hz
                    if np.var(sound.samples) > HEARD:
                        heard[index] = listened_s[index]
                until_s = min(heard.values(), default=LISTEN_S) + PREFERENCE_S
                if first.index in heard or max(listened_s.values()) > until_s:
                    break
        except (av.FFmpegError, OSError):  # how far the file goes is told when it is decoded
            pass
    return next((track for track in tracks if track.index in heard), first)


def _sounds(packet: Any, converter: AudioConverter) -> list[Any]:
    try:
        return [sound for frame in decode_sound(packet) for sound in converter.convert(frame, 0.0)]
    except (av.FFmpegError, ValueError):
        return []


def describe_choice(tracks: Sequence[Any], chosen: Any) -> str:
    """What is heard of several tracks, and what is not, for people."""
    ordered = sorted(tracks, key=lambda track: track.index)

    def named(track: Any) -> str:
        return f"{ordered.index(track) + 1}" + (f" ({track.language})" if track.language not in (None, "und") else "")

    others = ", ".join(named(track) for track in ordered if track != chosen)
    silent = f"; {named(tracks[0])} is silent" if chosen != tracks[0] else ""
    return f"of its {len(tracks)} sound tracks {named(chosen)} is heard, not {others}{silent}"
