"""The PyAV decoder: picture and sound in one pass over the file, with FFmpeg's own times.

Every frame is decoded (skipping some would spoil those that refer to them), in one thread: the workers are what
runs in parallel, and one thread gives the same bytes every time. After a broken packet some pictures are left out
(damage.py); the sound goes on at once. When a picture is shown: picture_times.py. Only frames that an expert asks for
are converted, from the decoder's own format to RGB at the size asked for in one call of libswscale (pixels.py).
"""

from __future__ import annotations

import errno
import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.reformatter import VideoReformatter

from hcq_cli.media.audio import AudioConverter, decode_sound, without_own_order
from hcq_cli.media.clock import FileClock
from hcq_cli.media.container_facts import UNTIMED, container_facts, container_start_s, said_duration_s
from hcq_cli.media.damage import FilmDamage
from hcq_cli.media.decoder import CannotOpenError, NoVideoError, Picture, Sound
from hcq_cli.media.joined import JoinedMedia, begins_of, joined_media
from hcq_cli.media.picture_times import PictureTimes, TimesByOrder
from hcq_cli.media.pixels import PyAVPicture, mend_tags
from hcq_cli.media.sniffing import PROTECTED
from hcq_cli.media.tracks import best_video, describe_choice, heard_track, open_film, sound_tracks

NEAR_S = 1.0
"""A track that ends this near to the end of the file is what its length was taken from, seconds."""
NO_TAIL = {"flv", "asf", "matroska,webm"}
"""Containers whose packets go on to their end, or nearly."""
NO_FILMS = {"tty", "bin", "xbin", "adf", "idf", "subviewer", "lrc"}
"""What FFmpeg takes texts for by their names, some of which it draws as pictures."""
MOST_UNREAD = 0.3
"""More than this share of a file behind its last packet is no index, but something that was not read."""
MOST_READ_BYTES = 2 << 30
"""A larger stream is not read from its beginning for one of its later seconds: by its own clock one jumps there."""
AHEAD_S = 1.0
"""Packets of one second lie no farther apart in a file, seconds."""
LONGEST_HELD_S = 60.0
"""Key pictures may be farther apart, or there may be none: what follows is then taken as it comes, seconds."""
ROUNDING_S = 0.0005
"""Times are rounded on their way through ids and addresses, seconds."""
JUMPS_BACK_S = (0.0, 10.0, 60.0)
"""So long before the wanted second a jump is tried, before the file is read from its beginning."""


def reason(error: Exception) -> str:
    """What FFmpeg says, without the number and the name of the file."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "not enough memory to decode it"
    if isinstance(error, av.EOFError):
        return "it ends before anything can be read"
    return str(getattr(error, "strerror", None) or error)


class PyAVMedia:
    """A file opened with PyAV; see `Media`.

    Args:
        path: the file.
        see: whether pictures are wanted.
        hear_hz: wanted sample rates.
        from_s: what comes before may be left out, seconds.
        stereo: whether the sound is wanted in two channels.
    """

    def __init__(
        self, path: str, see: bool, hear_hz: Sequence[int], from_s: float = 0.0, stereo: bool = False
    ) -> None:
        self.warnings: list[str] = []
        self.packets = 0
        self.container = _opened(path)
        self.video = best_video(self.container)
        sounds = sound_tracks(self.container, self.video)
        self.audio = next(iter(sounds), None)
        self.has_picture, self.has_sound = self.video is not None, self.audio is not None
        if not (self.has_picture or self.has_sound):
            self.close()
            raise CannotOpenError("neither a video nor an audio track in it")
        if hear_hz and len(sounds) > 1:
            self.audio = heard_track(path, sounds)
            self.warnings.append(describe_choice(sounds, self.audio))
        self.duration_s = said_duration_s(self.container, self.video)
        self.facts = container_facts(self.container, self.video)
        self.start_s = container_start_s(self.container)
        self.rate = self.video.average_rate if self.video is not None else None
        self._from_s = from_s
        self._clock = FileClock(self.container, self.start_s)
        self._wanted = [
            *([self.video] if see and self.video else []),
            *([self.audio] if hear_hz and self.audio else []),
        ]
        self._converter = AudioConverter(hear_hz, stereo)
        self._reformatters: dict[int, VideoReformatter] = {}
        self._damage = FilmDamage()
        self._untimed = self.container.format.name in UNTIMED
        times = TimesByOrder if self._untimed else PictureTimes
        self._times = times(self.video, self.start_s, self.warnings.append)
        self._last: PyAVPicture | None = None
        self._aspects: tuple[Fraction | None, Fraction | None] | None = None
        self._repeated_s = 0.0  # how long empty packets show the last picture
        self._heard_s = 0.0  # how far the sound has come

    @property
    def is_stream(self) -> bool:
        """Whether its clock may leap, and its length is a guess."""
        return self._clock.is_stream

    @property
    def reached_s(self) -> float:
        """How far it has been read, seconds from its start: of all tracks, whatever was asked for."""
        return self._clock.reached_s or max(self.duration_s or 0.0, self._times.reached_s, self._heard_s)

    def close(self) -> None:
        """See `Media.close`."""
        self.container.close()

    def __iter__(self) -> Iterator[Picture | Sound]:
        """See `Media.__iter__`."""
        streams = []
        for stream in self._wanted:
            if stream.codec_context is None:
                self.warnings.append(f"no decoder for the {_kind(stream)} track")
                continue
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1  # why: see the top of this file
            if stream.codec.name == "hevc":  # it would leave out all that follows a lost picture, and not say so
                stream.codec_context.flags |= av.codec.context.Flags.output_corrupt.value
            if stream.type == "audio":
                without_own_order(stream)
            streams.append(stream)
        try:
            packets = self._from_key(streams) if self._from_s else self._packets(streams)
            for packet in packets if streams else ():
                yield from self._decode(packet)
            yield from self._converter.finish()
            if self._last is not None:
                self._last.duration_s = max(self._last.duration_s, self._repeated_s - self._last.time_s)
        finally:  # also when the caller has seen enough
            self.warnings += self._clock.warnings
            if self._clock.mended:  # by its own clock the file is some hours longer or shorter
                self.duration_s = None
            self.warnings += self._damage.warnings

    def keeps_clock(self, until_s: float) -> bool:
        """Whether its own clock is the right one up to here, seconds; a stream is read so far."""
        if not self.is_stream or self.container.size > MOST_READ_BYTES:
            return True
        for _ in self._packets([]):
            if self._clock.reached_s > until_s + AHEAD_S:
                break
        return not self._clock.mended

    def _from_key(self, streams: list[Any]) -> Iterator[Any]:
        """The packets from the last key picture that is shown by `from_s` on."""
        if self._untimed and self.video in streams:
            self._find_delay()
        jumps_s = JUMPS_BACK_S if not self.is_stream or self.container.size > MOST_READ_BYTES else ()
        for back_s in (*jumps_s, self._from_s):
            if back_s < self._from_s or jumps_s:
                with suppress(av.FFmpegError, OSError):  # what cannot be jumped in is read from where it is
                    self.container.seek(int((self._from_s - back_s + self.start_s) * 1e6))  # microseconds
            self._clock = FileClock(self.container, self.start_s)
            packets, found = self._packets(streams), False
            held = deque[tuple[float, Any]]()
            for packet in packets:
                stamp = packet.dts if packet.pts is None else packet.pts
                at_s = self._from_s if stamp is None else float(stamp * packet.time_base) - self.start_s
                if packet.is_keyframe and packet.stream is streams[0] and at_s <= self._from_s + ROUNDING_S:
                    # Sound may lie a little before its pictures in the file.
                    held = deque(
                        one for one in held if one[1].stream is not packet.stream and one[0] > at_s - AHEAD_S
                    )
                    found = True
                held.append((at_s, packet))
                while held[0][0] < at_s - LONGEST_HELD_S:
                    held.popleft()
                if at_s > self._from_s + AHEAD_S:  # packets come in the order of decoding
                    break
            if found:
                break
        yield from (packet for _, packet in held)
        yield from packets

    def _find_delay(self) -> None:
        """How late pictures come out, by the first of the file: behind a jump the decoder may leave some out."""
        with suppress(av.FFmpegError, ValueError, OSError):  # what is wrong with them is told when they are wanted
            for packet in self.container.demux(self.video):
                self._times.feed(packet)
                if frames := self.video.decode(packet):
                    self._times.stamp(frames[0])
                    break
        self._times.lose()
        self.video.codec_context.flush_buffers()

    def oddities(self) -> list[str]:
        """What of the picture a plainer decoder would get wrong, for people; reads the file to its end."""
        pictures = (frame for packet in self._packets([self.video]) for frame in self._decode(packet))
        first = next((picture for picture in pictures if isinstance(picture, PyAVPicture)), None)
        for _ in self._packets([self.video]):  # from here on packets alone: that takes a hundredth of the time
            pass
        found = {
            "several recordings behind one another": self._clock.mended
            or len(begins_of(self.container.name, self.container.format.name)) > 1,
            "packets of no bytes": self._repeated_s > 0,
            "a picture that is mirrored": first is not None and first.is_mirrored,
            "HDR": first is not None and first.is_hdr,
        }
        return [name for name, is_there in found.items() if is_there]

    def _packets(self, streams: list[Any]) -> Iterator[Any]:
        """The packets of `streams` on the one clock, then an empty one each: decoders give what they hold back."""
        wanted = {stream.index for stream in streams}
        timed = {stream.index for stream in (self.video, self.audio) if stream is not None and not self._untimed}
        silent = {stream.index for stream in self.container.streams if stream.type not in ("video", "audio")}
        others_s, last_byte = 0.0, 0
        try:
            # Of all tracks, asked for or not: the clock of what is decoded must not depend on what is asked for.
            for packet in self._demux():
                index = packet.stream_index
                if packet.pos is not None:
                    last_byte = packet.pos + packet.size
                end_s = self._clock.mend_times(packet) if index in timed else None
                if index in silent and packet.pts is not None:
                    others_s = max(others_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if index not in wanted:
                    continue
                self.packets += 1
                if packet.size:
                    yield packet
                elif end_s is not None and packet.stream is self.video:
                    # No bytes: the picture before it stays, by the specification of Theora, and in QuickTime too.
                    self._repeated_s = end_s
            self._leave_out_others(others_s - self.start_s)
            self._warn_of_rest(last_byte)
        except (av.FFmpegError, OSError) as error:
            self.warnings.append(f"the file breaks off: {reason(error)}")
        for stream in streams:
            packet = av.Packet()
            packet.stream = stream
            yield packet

    def _demux(self) -> Iterator[Any]:
        try:
            yield from self.container.demux()
        except IndexError:  # PyAV at the end of a file in which a further track had come up on the way
            return

    def _warn_of_rest(self, read_bytes: int) -> None:
        size = self.container.size
        rest = size - read_bytes
        if self.container.format.name in NO_TAIL and read_bytes and rest > MOST_UNREAD * size:
            self.warnings.append(f"of its {size} bytes the last {rest} hold no packets: was it written to its end?")

    def _leave_out_others(self, others_s: float) -> None:
        """At the end of the file: where its length is that of its subtitles or data, take that of its pictures."""
        reached_s = self._clock.reached_s
        if reached_s and self.duration_s and reached_s < self.duration_s <= others_s + NEAR_S:
            self.duration_s = reached_s

    def _decode(self, packet: Any) -> Iterator[Picture | Sound]:
        stream, kind = packet.stream, _kind(packet.stream)
        if self._damage.gives_up(kind):
            return
        if packet.has_sidedata("encryption_info"):  # it would be decoded to noise, where it can be at all
            if PROTECTED not in self.warnings:
                self.warnings.append(PROTECTED)
            return
        if self._damage.begins_anew(packet):
            stream.codec_context.flush_buffers()
        try:
            if kind == "sound":
                frames = decode_sound(packet)
            else:
                self._times.feed(packet)
                frames = stream.decode(packet if packet.size else None)
        except (av.FFmpegError, ValueError) as error:
            self._count_broken(kind, error)
            return
        for frame in frames:
            if kind == "sound":
                yield from self._sounds(frame)
                continue
            said_s = self._times.said_s(frame)
            if self._damage.is_shown(frame, said_s, self._times.reached_s):
                yield self._picture(frame, said_s)

    def _count_broken(self, kind: str, error: Exception) -> None:
        if isinstance(error, MemoryError):  # the limit of this process, and not a fault of the packet
            raise error
        if kind == "picture":
            self._times.lose()
        self._damage.count(kind, self._heard_s if kind == "sound" else self._times.reached_s)

    def _sounds(self, frame: Any) -> Iterator[Sound]:
        try:
            sounds = list(self._converter.convert(frame, self.start_s))
        except (av.FFmpegError, ValueError) as error:  # decoded, and of a form that cannot be
            self._count_broken("sound", error)
            return
        for sound in sounds:
            self._heard_s = sound.start_s + sound.samples.shape[-1] / sound.hz
            yield sound

    def _picture(self, frame: Any, said_s: float | None) -> PyAVPicture:
        time_s, duration_s = self._times.place(frame, said_s)
        odd = mend_tags(frame)
        if odd is not None and odd not in self.warnings:
            self.warnings.append(odd)
        self._last = PyAVPicture(frame, time_s, duration_s, self._pixel_aspect(), self._reformatters)
        return self._last

    def _pixel_aspect(self) -> Fraction | None:
        """Width of a pixel over its height: what the container says, until the pictures say something new."""
        coded: Fraction | None = self.video.codec_context.sample_aspect_ratio
        if self._aspects is None:
            self._aspects = coded, self.video.sample_aspect_ratio or coded
        first, said = self._aspects
        return said if coded == first else coded


class PyAVDecoder:
    """See `Decoder`."""

    name = "pyav"

    def open(
        self,
        path: str,
        see: bool,
        hear_hz: Sequence[int],
        *,
        from_s: float = 0.0,
        until_s: float = math.inf,
        stereo: bool = False,
    ) -> PyAVMedia | JoinedMedia:
        """See `Decoder.open`.

        Args:
            from_s: the first pieces may be any by here, seconds.
            until_s: no later ones are asked for.
            stereo: whether the sound is wanted in two channels.
        """

        def opened(name: str, from_s: float = from_s) -> PyAVMedia:
            return PyAVMedia(name, see, hear_hz, from_s, stereo)

        try:
            media = opened(path)
        except NoVideoError:
            raise
        except CannotOpenError:  # of the first recording in it, maybe
            if not Path(path).is_file() or len(begins := begins_of(path)) == 1:
                raise
        else:
            # For its length alone the whole file is not read, nor for a stretch of the first recording.
            first = until_s < (media.duration_s or 0.0) and not media.is_stream
            begins = begins_of(path, media.container.format.name) if (see or hear_hz) and not first else [0]
            if len(begins) == 1:
                return media
            media.close()
        return joined_media(path, begins, opened, from_s)


def _opened(path: str) -> Any:
    """The container at `path`. Raises CannotOpenError, and NoVideoError of what is no film for certain."""
    try:
        container = open_film(path)
    except av.InvalidDataError as error:
        raise CannotOpenError(f"no video, or a damaged one ({reason(error)})") from error
    except (av.FFmpegError, ValueError, OSError) as error:
        raise CannotOpenError(reason(error)) from error
    if container.format.name in NO_FILMS:
        container.close()
        raise NoVideoError("no video, but a text")
    return container


def _kind(stream: Any) -> str:
    """`picture` or `sound`, for messages."""
    return "sound" if stream.type == "audio" else "picture"
