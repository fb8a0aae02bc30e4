"""A stretch of a video as a file of its own.

Where a key frame lies just before the wanted second the packets are copied as they are; else pictures and sound are
encoded anew, from the very second on. An AVI is always encoded anew: it has no times, so that a packet of sound that
does not begin with its picture would be heard too early. Decoders crash and hang on some files, so that a process of
its own does it: `cut_clip` is the parent's side, `main` the child, and `cut_here` what it does.
"""

from __future__ import annotations

import math
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
ROUNDING_S = 1e-4
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
    with atomic_path(target, exclusive=True) as temporary:
        asked = {"start_s": start_s, "end_s": end_s, "target": str(temporary), "format": target.suffix.lower()}
        return _ask(path, DEADLINE_S + DEADLINE_FACTOR * (end_s - start_s), asked)


def keeps_clock(path: str | os.PathLike[str], until_s: float) -> bool:
    """Whether a player shows what hits name: not where several recordings lie in one file, or its clock leaps.

    Args:
        path: of the video.
        until_s: how far it is asked for, seconds.

    Raises:
        HcqError: it cannot be read.
    """
    return _ask(path, DEADLINE_S, {"end_s": until_s})


def _ask(path: str | os.PathLike[str], timeout_s: float, asked: dict[str, Any]) -> bool:
    """What a child answers, yes or no. Raises HcqError, and OSError of the disk that is written to."""
    deadline = time.monotonic() + timeout_s
    with closing(ChildProcess("hcq_cli.media.cutting", environment=ONE_THREAD)) as process:
        try:
            process.send({**asked, "path": os.fspath(path)})
            said: dict[str, Any] = {}
            while not {"answer", "error"} & said.keys():
                said = process.receive(deadline)
        except ChildDied as death:
            raise HcqError(f"{path}: no clip of it (the decoder {death})") from None
    if said.get("errno"):
        raise OSError(int(said["errno"]), str(said["error"]))
    if "error" in said:
        raise HcqError(f"{path}: no clip of it ({said['error']})")
    return bool(said["answer"])


def cut_here(path: str, start_s: float, end_s: float, target: str, container: ClipFormat) -> bool:
    """What `cut_clip` does, in this process and straight into `target`."""
    import av

    from hcq_cli.media.pyav import PyAVDecoder
    from hcq_cli.media.tracks import open_film

    with open_film(path) as film:
        # Packets are copied by the file's own clock, which has to be that of hits.
        like_film = container.format in film.format.name.split(",") and container.format != "avi"
        if like_film and _keeps_clock(path, end_s):
            copy = _Copy(film, start_s, end_s)
            if copy.key_s is not None and copy.start_s - copy.key_s <= NEAR_S:
                with av.open(target, "w", format=container.format) as out:
                    copy.write(out, copy.key_s)
                return True
    with (
        closing(PyAVDecoder().open(path, True, [SOUND_HZ], from_s=start_s, until_s=end_s, stereo=True)) as media,
        av.open(target, "w", format=container.format) as out,
    ):
        if container.format == "avi" and media.has_picture:
            # Between two pictures there is no place for a third: it begins with the one that is on.
            rate = media.rate or RATE
            start_s = math.floor(start_s * rate + ROUNDING_S) / float(rate)
        _encode(media, out, container, start_s, end_s)
    return False


def _keeps_clock(path: str, until_s: float) -> bool:
    from hcq_cli.media.pyav import PyAVDecoder

    with closing(PyAVDecoder().open(path, True, [], until_s=until_s)) as media:
        return media.keeps_clock(until_s)


class _Copy:
    """The packets of one stretch of a film on their way into another file.

    Args:
        film: opened with PyAV.
        start_s, end_s: seconds from the start of the film.
    """

    def __init__(self, film: Any, start_s: float, end_s: float) -> None:
        from hcq_cli.media.container_facts import container_start_s
        from hcq_cli.media.tracks import best_video, sound_tracks

        zero_s = container_start_s(film)
        self.film, self.start_s, self.end_s = film, start_s + zero_s, end_s + zero_s
        self.video = best_video(film)
        audio = next(iter(sound_tracks(film, self.video)), None)
        self.tracks = [track for track in (self.video, audio) if track is not None]
        self.key_s = self._jump()
        """Of the last key frame before the start; None if there is none."""

    def _frame_s(self) -> float:
        rate = self.video.average_rate if self.video is not None else None
        return float(1 / rate) if rate else float(1 / RATE)

    def _jump(self) -> float | None:
        """Go to where the film can be read from; gives the second of the last key frame before the start."""
        from hcq_cli.media.pyav import JUMPS_BACK_S

        for back_s in JUMPS_BACK_S:
            to = int(max(self.start_s - back_s, 0.0) * 1e6)  # microseconds; the key frame before is taken
            self.film.seek(to)
            keys = [second for second in self._keys() if second <= self.start_s + self._frame_s() / 2]
            if keys:
                self.film.seek(to)
                return keys[-1]
        return None

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

    def write(self, out: Any, key_s: float) -> None:
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


def _second(packet: Any) -> float | None:
    """When a packet is to be shown, seconds; of some a file says only when they are decoded."""
    at = packet.dts if packet.pts is None else packet.pts
    return None if at is None else float(at * packet.time_base)


def _encode(media: Any, out: Any, container: ClipFormat, start_s: float, end_s: float) -> None:
    """Encode a stretch anew, in the colours and times in which experts get it.

    Args:
        media: decodes it, from `start_s` on at the latest.
        out: the new file.
        container: its kind.
        start_s, end_s: seconds from the start of the film.
    """
    from hcq_cli.media.decoder import Sound

    pictures: Any = _Pictures(out, container, media.rate or RATE, start_s) if media.has_picture else None
    sounds: Any = _Sounds(out, container, start_s, end_s) if media.has_sound else None
    held, reached_s = list[Any](), 0.0
    for piece in media:
        if isinstance(piece, Sound):
            at_s, length_s, maker = piece.start_s, piece.samples.shape[1] / piece.hz, sounds
        else:
            at_s, length_s, maker = piece.time_s, piece.duration_s, pictures
        if at_s > end_s + REORDER_S:
            break
        if at_s < end_s - ROUNDING_S:
            held += maker.take(piece)
        reached_s = max(reached_s, at_s + length_s)
        # Sound is written only when there is a picture, whose size the file begins with.
        if pictures is None or pictures.begun:
            out.mux(held)
            held = []
    if reached_s <= start_s:
        raise ValueError(f"it ends before second {start_s:.1f}")
    makers = [maker for maker in (pictures, sounds) if maker is not None]
    out.mux(held + [packet for maker in makers for packet in maker.finish()])
    if not any(maker.begun for maker in makers):
        raise ValueError(f"nothing in it from second {start_s:.1f} on")


class _Pictures:
    """Encodes the pictures of a stretch, upright and in the colours of a common screen.

    Args:
        out: the new file.
        container: its kind.
        rate: pictures a second.
        start_s: when the stretch begins, seconds.
    """

    def __init__(self, out: Any, container: ClipFormat, rate: Fraction, start_s: float) -> None:
        self._start_s = start_s
        rate = Fraction(rate).limit_denominator(60_000)
        self._track = out.add_stream(container.video, rate=rate, options=QUALITY[container.video])
        # An AVI has no times, only pictures of one rate; the others keep the times of the film.
        self._clock = 1 / rate if container.format == "avi" else Fraction(1, 90_000)
        self._track.codec_context.time_base = self._track.time_base = self._clock
        self._size: tuple[int, int] | None = None
        self._last = -1
        self._waiting: Any = None

    @property
    def begun(self) -> bool:
        """Whether there is any."""
        return self._last >= 0

    def take(self, picture: Any) -> list[Any]:
        """The packets of a picture; the one that is on when the stretch begins is in it, too."""
        if picture.time_s < self._start_s - ROUNDING_S:
            self._waiting = picture
            return []
        packets = []
        if self._waiting is not None and not self.begun and picture.time_s > self._start_s + 1e-3:
            packets = self._write(self._waiting, 0)
        return packets + self._write(picture, round((picture.time_s - self._start_s) / self._clock))

    def _write(self, picture: Any, at: int) -> list[Any]:
        import av

        if at <= self._last:
            return []
        image = picture.rgb(LARGEST_SIDE)
        if self._size is None:
            self._size = (max(2, image.shape[1] // 2 * 2), max(2, image.shape[0] // 2 * 2))
            self._track.width, self._track.height = self._size
            self._track.pix_fmt = "yuv420p"
        made = av.VideoFrame.from_ndarray(image, "rgb24").reformat(*self._size, "yuv420p")
        self._last = made.pts = at
        made.time_base = self._clock
        return list(self._track.encode(made))

    def finish(self) -> list[Any]:
        """The packets that the encoder holds."""
        packets = self._write(self._waiting, 0) if self._waiting is not None and not self.begun else []
        return packets + list(self._track.encode(None)) if self.begun else []


class _Sounds:
    """Encodes the sound of a stretch, cut to the sample.

    Args:
        out: the new file.
        container: its kind.
        start_s, end_s: of the stretch, seconds.
    """

    def __init__(self, out: Any, container: ClipFormat, start_s: float, end_s: float) -> None:
        import av

        self._start_s, self._samples = start_s, round((end_s - start_s) * SOUND_HZ)
        self._track = out.add_stream(container.audio, rate=SOUND_HZ, layout="stereo")
        self._fifo = av.AudioFifo()
        self._next = 0  # the sample that comes next, counted from the start of the stretch

    @property
    def begun(self) -> bool:
        """Whether there is any."""
        return self._next > 0

    def take(self, sound: Any) -> list[Any]:
        """The packets of what of a sound [2, n] lies within the stretch."""
        import av
        import numpy as np

        first = round((sound.start_s - self._start_s) * SOUND_HZ)
        samples = sound.samples[:, max(0, self._next - first) : max(0, self._samples - first)]
        if not samples.shape[1]:
            return []
        # A gap is silence, so that what comes behind it stays in step.
        silent = max(0, first - self._next)
        samples = np.concatenate([np.zeros((2, silent), samples.dtype), samples], axis=1)
        made = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", "stereo")
        made.sample_rate, made.pts, made.time_base = SOUND_HZ, self._next, Fraction(1, SOUND_HZ)
        self._next += samples.shape[1]
        self._fifo.write(made)
        return self._encode(partial=False)

    def _encode(self, partial: bool) -> list[Any]:
        size, packets = self._track.codec_context.frame_size or 1024, list[Any]()
        while (frame := self._fifo.read(size, partial=partial)) is not None:
            packets += self._track.encode(frame)
        return packets

    def finish(self) -> list[Any]:
        """The packets that the encoder holds."""
        return self._encode(partial=True) + list(self._track.encode(None)) if self.begun else []


def main() -> None:
    """Answer the one question of the parent: a clip, where it says whereto, else whether a player shows the same."""
    die_with_parent()
    parent = ParentConnection()
    limit_memory(MEMORY_BYTES)
    asked = parent.receive()
    try:
        if "target" in asked:
            container = CONTAINERS[asked["format"]]
            answer = cut_here(asked["path"], asked["start_s"], asked["end_s"], asked["target"], container)
        else:
            answer = _keeps_clock(asked["path"], asked["end_s"])
    except Exception as error:  # whatever a library makes of a file
        number = getattr(error, "errno", None)
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        # Of the disk that is written to, not of the file that is read.
        full = {"errno": number} if number in (28, 122, 27, 5, 30) else {}
        parent.send({"error": said, **full})
    else:
        parent.send({"answer": answer})


if __name__ == "__main__":
    main()
    os._exit(0)
