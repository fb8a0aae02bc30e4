"""A stretch of a video as a file of its own.

Where a key frame lies just before the wanted second the packets are copied as they are; else pictures and sound are
encoded anew, from the very second on. Decoders crash and hang on some files, so that a process of its own does it:
`cut_clip` is the parent's side, `main` the child, and `_Cut` what it does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from hcq_cli.errors import HcqError
from hcq_cli.files import atomic_path
from hcq_cli.process import ONE_THREAD, ChildDied, ChildProcess, ParentConnection, die_with_parent, limit_memory

NEAR_S = 1.0
"""A key frame so near before the wanted second will do: the packets are copied from there on."""
REORDER_S = 1.0
"""Packets come in the order of decoding: what is shown earlier comes no more than so much later."""
BACK_S = (0.0, 10.0, 60.0)
"""So long before the wanted second a jump is tried, before the file is read from its beginning."""
DEADLINE_S, DEADLINE_FACTOR = 60.0, 30.0
"""So long a clip may take, and so many times its own length more."""
MEMORY_BYTES = 4 << 30
LARGEST_SIDE = 8192
QUALITY = {
    "libx264": {"crf": "20", "preset": "fast"},
    "libvpx": {"crf": "10", "b": "4M", "deadline": "realtime", "cpu-used": "4"},
    "mpeg4": {"b": "6M"},
}
SOUND_HZ = 48_000
RATE = Fraction(25)
"""Pictures a second, where the file does not say."""


@dataclass(frozen=True)
class ClipFormat:
    """How clips are written in files of one ending.

    Args:
        format: FFmpeg's name of it.
        video, audio: codecs for what is encoded anew.
    """

    format: str
    video: str = "libx264"
    audio: str = "aac"


CONTAINERS = {
    ".mp4": ClipFormat("mp4"),
    ".m4v": ClipFormat("mp4"),
    ".mov": ClipFormat("mov"),
    ".mkv": ClipFormat("matroska"),
    ".webm": ClipFormat("webm", "libvpx", "libopus"),
    ".avi": ClipFormat("avi", "mpeg4", "pcm_s16le"),
    ".ts": ClipFormat("mpegts"),
    ".m2ts": ClipFormat("mpegts"),
}
"""By the ending of the file; of what has another one clips become mp4."""


def ending_of_clip(path: str | os.PathLike[str]) -> str:
    """The ending that a clip of this video has: that of the video where such files can be written, else .mp4."""
    ending = Path(path).suffix.lower()
    return ending if ending in CONTAINERS else ".mp4"


def cut_clip(path: str | os.PathLike[str], start_s: float, end_s: float, target: Path) -> bool:
    """Write a stretch of a video into a new file; nothing is there before it is whole.

    Args:
        path: of the video.
        start_s, end_s: from where to where, on the clock of hits: the file begins at second 0.
        target: the new file, with the ending of `ending_of_clip`.

    Returns:
        whether the packets were copied; else they were encoded anew.

    Raises:
        FileExistsError: there is such a file already.
        HcqError: the video gives no such stretch, or the disk is full.
    """
    deadline = time.monotonic() + DEADLINE_S + DEADLINE_FACTOR * (end_s - start_s)
    with atomic_path(target, exclusive=True) as temporary:
        asked = {"path": os.fspath(path), "start_s": start_s, "end_s": end_s, "target": str(temporary)}
        with closing(ChildProcess("hcq_cli.media.cutting", environment=ONE_THREAD)) as process:
            try:
                process.send({**asked, "format": target.suffix.lower()})
                said: dict[str, Any] = {}
                while not {"copied", "error"} & said.keys():
                    said = process.receive(deadline)
            except ChildDied as death:
                raise HcqError(f"{path}: no clip of it (the decoder {death})") from None
        if said.get("errno"):
            raise OSError(int(said["errno"]), str(said["error"]))
        if "error" in said:
            raise HcqError(f"{path}: no clip of it ({said['error']})")
    return bool(said["copied"])


class _Cut:
    """One stretch of an open film on its way into another file.

    Args:
        film: opened with PyAV.
        start_s, end_s: seconds on the film's own clock.
    """

    def __init__(self, film: Any, start_s: float, end_s: float) -> None:
        from hcq_cli.media.tracks import best_video, sound_tracks

        self.film, self.start_s, self.end_s = film, start_s, end_s
        self._held: list[Any] = []
        self.video = best_video(film)
        self.audio = next(iter(sound_tracks(film, self.video)), None)
        self.tracks = [track for track in (self.video, self.audio) if track is not None]
        if not self.tracks:
            raise ValueError("neither a video nor an audio track in it")

    def run(self, target: str, container: ClipFormat) -> bool:
        """Write it; says whether the packets were copied."""
        import av

        key_s = self._jump()
        near = key_s is not None and self.start_s - key_s <= NEAR_S
        with av.open(target, "w", format=container.format) as out:
            if near and container.format in self.film.format.name.split(","):
                self._copy(out, self.start_s if key_s is None else key_s)
            else:
                near = False
                self._encode(out, container)
        return near

    def _jump(self) -> float | None:
        """Go to where the film can be read from; gives the second of the last key frame before the start."""
        for back_s in BACK_S:
            self._seek(self.start_s - back_s)
            keys = [second for second in self._keys() if second <= self.start_s + self._frame_s() / 2]
            if keys:
                self._seek(self.start_s - back_s)
                return keys[-1]
        self.film.seek(0, any_frame=False)
        return None

    def _seek(self, second: float) -> None:
        self.film.seek(int(max(second, 0.0) * 1e6))  # microseconds, to the key frame before

    def _frame_s(self) -> float:
        rate = self.video.average_rate if self.video is not None else None
        return float(1 / rate) if rate else float(1 / RATE)

    def _keys(self) -> Iterator[float]:
        """The seconds of the key frames from here to the start; of a file without pictures those of its packets."""
        for packet in self.film.demux(self.tracks[0]):
            second = _second(packet)
            if second is None:
                continue
            if packet.is_keyframe:
                yield second
            if second > self.start_s + REORDER_S:
                return

    def _copy(self, out: Any, key_s: float) -> None:
        """Copy the packets from a key frame on."""
        copies = {track.index: out.add_stream_from_template(track) for track in self.tracks}
        undated: dict[int, list[Any]] = {track.index: [] for track in self.tracks}
        begun: set[int] = set()
        for packet in self._wanted(key_s):
            index = packet.stream.index
            if index not in begun and not packet.is_keyframe:
                continue
            begun.add(index)
            shift = round(key_s / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            # After a jump a Matroska file says when the first few are shown, and not when they are decoded.
            undated[index].append(packet)
            if packet.dts is None:
                continue
            packet.dts -= shift
            for earlier, one in enumerate(reversed(undated[index])):
                one.dts = packet.dts - earlier * (packet.duration or round(self._frame_s() / packet.time_base))
            for one in undated[index]:
                one.stream = copies[index]
                out.mux(one)
            undated[index].clear()
        if not begun:
            raise ValueError(f"nothing in it from second {key_s:.1f} on")

    def _wanted(self, key_s: float) -> Iterator[Any]:
        """The packets from the key frame to the end of the stretch."""
        late: dict[int, list[Any]] = {track.index: [] for track in self.tracks}
        for packet in self.film.demux(self.tracks):
            second, held = _second(packet), late[packet.stream.index]
            if second is None:
                continue
            if second >= self.end_s - 1e-4:
                held.append(packet)
                if second > self.end_s + REORDER_S:
                    return
            # What is shown before the key frame may refer to pictures that are left out.
            elif second >= key_s - 1e-4:
                # A picture of the stretch that comes behind a later one may refer to that.
                yield from held
                held.clear()
                yield packet

    def _encode(self, out: Any, container: ClipFormat) -> None:
        """Decode the stretch and encode it anew."""
        makers: dict[int, _Pictures | _Sounds] = {}
        if self.video is not None:
            makers[self.video.index] = _Pictures(out, container, self)
        if self.audio is not None:
            makers[self.audio.index] = _Sounds(out, container, self)
        for packet in self.film.demux(self.tracks):
            second = _second(packet)
            if second is not None and second > self.end_s + REORDER_S:
                break
            for frame in _decoded(packet):
                makers[packet.stream.index].take(frame)
        # All of them, whatever the first one says.
        finished = [maker.finish() for maker in makers.values()]
        if not any(finished):
            raise ValueError(f"nothing in it from second {self.start_s:.1f} on")
        out.mux(self._held)

    def mux(self, out: Any, packets: list[Any], track: Any) -> None:
        """Write encoded packets; of the sound only when there is a picture, whose size the file begins with."""
        self._held += packets
        if self.video is None or track.type == "video":
            out.mux(self._held)
            self._held = []


def _second(packet: Any) -> float | None:
    """When a packet is to be shown, seconds; an AVI says only when it is decoded."""
    at = packet.dts if packet.pts is None else packet.pts
    return None if at is None else float(at * packet.time_base)


def _decoded(packet: Any) -> list[Any]:
    """The frames of a packet, none of a broken one."""
    import av

    try:
        return list(packet.decode())
    except av.FFmpegError:
        return []


class _Pictures:
    """Encodes the pictures of a stretch, upright and in the colours of a common screen.

    Args:
        out: the new file.
        container: its kind.
        cut: the stretch.
    """

    def __init__(self, out: Any, container: ClipFormat, cut: _Cut) -> None:
        self._out, self._cut = out, cut
        rate = cut.video.average_rate or RATE
        self._rate = Fraction(rate).limit_denominator(60_000)
        self._track = out.add_stream(container.video, rate=self._rate, options=QUALITY[container.video])
        # An AVI has no times, only pictures of one rate; the others keep the times of the film.
        self._clock = 1 / self._rate if container.format == "avi" else Fraction(1, 90_000)
        self._track.codec_context.time_base = self._track.time_base = self._clock
        self._size: tuple[int, int] | None = None
        self._last = -1
        self._waiting: Any = None

    def take(self, frame: Any) -> None:
        """Encode a frame, if it is shown within the stretch; the one that is on when the stretch begins is, too."""
        if frame.time is None or frame.is_corrupt or frame.time >= self._cut.end_s - 1e-4:
            return
        if frame.time < self._cut.start_s - 1e-4:
            self._waiting = frame
            return
        if self._waiting is not None and self._last < 0 and frame.time > self._cut.start_s + 1e-3:
            self._write(self._waiting, 0)
        self._write(frame, round((frame.time - self._cut.start_s) / self._clock))

    def _write(self, frame: Any, at: int) -> None:
        import av

        from hcq_cli.media.pixels import PyAVPicture, mend_tags

        if at <= self._last:
            return
        mend_tags(frame)
        image = PyAVPicture(frame, 0.0, 0.0, self._cut.video.sample_aspect_ratio, {}).rgb(LARGEST_SIDE)
        if self._size is None:
            self._size = (max(2, image.shape[1] // 2 * 2), max(2, image.shape[0] // 2 * 2))
            self._track.width, self._track.height = self._size
            self._track.pix_fmt = "yuv420p"
        made = av.VideoFrame.from_ndarray(image, "rgb24").reformat(*self._size, "yuv420p")
        self._last = made.pts = at
        made.time_base = self._clock
        self._cut.mux(self._out, self._track.encode(made), self._track)

    def finish(self) -> bool:
        """Write what the encoder holds; says whether there was any picture."""
        if self._last < 0 and self._waiting is not None:
            self._write(self._waiting, 0)
        if self._last >= 0:
            self._cut.mux(self._out, self._track.encode(None), self._track)
        return self._last >= 0


class _Sounds:
    """Encodes the sound of a stretch, cut to the sample.

    Args: those of `_Pictures`.
    """

    def __init__(self, out: Any, container: ClipFormat, cut: _Cut) -> None:
        import av

        self._out, self._cut = out, cut
        self._track = out.add_stream(container.audio, rate=SOUND_HZ, layout="stereo")
        self._resampler = av.AudioResampler("fltp", "stereo", SOUND_HZ)
        self._fifo = av.AudioFifo()
        self._next = 0  # the sample that comes next, counted from the start of the stretch
        self._from_s: float | None = None

    def take(self, frame: Any) -> None:
        """Encode what of a frame lies within the stretch."""
        if frame.time is None:
            return
        if self._from_s is None:
            self._from_s = frame.time
        for piece in self._resampler.resample(frame):
            self._add(piece)

    def _add(self, piece: Any) -> None:
        import av
        import numpy as np

        samples = piece.to_ndarray()
        first = round((float(piece.pts * piece.time_base) - self._cut.start_s) * SOUND_HZ)
        last = round((self._cut.end_s - self._cut.start_s) * SOUND_HZ)
        if abs(first - self._next) < SOUND_HZ // 100:  # times are rounded: what follows on follows on
            first = self._next
        samples = samples[:, max(0, self._next - first) : max(0, last - first)]
        if not samples.shape[1]:
            return
        # A gap is silence, so that what comes behind it stays in step.
        silent = max(0, first - self._next)
        samples = np.concatenate([np.zeros((len(samples), silent), samples.dtype), samples], axis=1)
        made = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", "stereo")
        made.sample_rate, made.pts, made.time_base = SOUND_HZ, self._next, Fraction(1, SOUND_HZ)
        self._next += samples.shape[1]
        self._fifo.write(made)
        self._encode(partial=False)

    def _encode(self, partial: bool) -> None:
        size = self._track.codec_context.frame_size or 1024
        while (frame := self._fifo.read(size, partial=partial)) is not None:
            self._cut.mux(self._out, self._track.encode(frame), self._track)

    def finish(self) -> bool:
        """Write what the encoder holds; says whether there was any sound."""
        if self._next:
            self._encode(partial=True)
            self._cut.mux(self._out, self._track.encode(None), self._track)
        return self._next > 0


def cut_here(path: str, start_s: float, end_s: float, target: str, container: ClipFormat) -> bool:
    """What `cut_clip` does, in this process and straight into `target`."""
    from hcq_cli.media.pyav import start_s as film_start_s
    from hcq_cli.media.tracks import open_film

    with open_film(path) as film:
        zero_s = film_start_s(film)
        if film.duration and start_s >= film.duration / 1e6:
            raise ValueError(f"it ends before second {start_s:.1f}")
        return _Cut(film, start_s + zero_s, end_s + zero_s).run(target, container)


def main() -> None:
    """Answer the one question of the parent."""
    die_with_parent()
    parent = ParentConnection()
    limit_memory(MEMORY_BYTES)
    asked = parent.receive()
    try:
        container = CONTAINERS[asked["format"]]
        copied = cut_here(asked["path"], asked["start_s"], asked["end_s"], asked["target"], container)
    except Exception as error:  # whatever a library makes of a file
        number = getattr(error, "errno", None)
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        # Of the disk that is written to, not of the file that is read.
        full = {"errno": number} if number in (28, 122, 27, 5, 30) else {}
        parent.send({"error": said, **full})
    else:
        parent.send({"copied": copied})


if __name__ == "__main__":
    main()
    os._exit(0)
