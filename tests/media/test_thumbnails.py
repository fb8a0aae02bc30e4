"""A thumbnail shows the picture that a player shows at that second, and a file that gives none costs only itself."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_videos import film, numbered, read_number, turn

from hcq_cli.errors import HcqError
from hcq_cli.media.thumbnails import Thumbnailer

FPS = 10


@pytest.fixture(scope="module")
def thumbnailer() -> Iterator[Thumbnailer]:
    with Thumbnailer() as made:
        yield made


def shown(jpeg: bytes) -> int:
    return read_number(np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")))


def numbers(path: Path, frames: int = 100, **options: object) -> Path:
    return film(path, [at / FPS for at in range(frames)], [numbered(at) for at in range(frames)], **options)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", 'odd "name"\n#t=1,2 ünï.mp4'])
def test_it_shows_the_frame_of_its_second(tmp_path: Path, thumbnailer: Thumbnailer, name: str) -> None:
    path = numbers(tmp_path / name)
    for second, number in ((0, 0), (3.2, 32), (3.29, 32), (9.9, 99)):
        assert shown(thumbnailer.make(path, second)) == number


def test_past_the_end_it_shows_the_last_one(tmp_path: Path, thumbnailer: Thumbnailer) -> None:
    assert shown(thumbnailer.make(numbers(tmp_path / "a.mp4", 20), 3600)) == 19


def test_it_is_small_and_upright(tmp_path: Path, thumbnailer: Thumbnailer) -> None:
    path = turn(numbers(tmp_path / "a.mp4", 5), 90)
    assert Image.open(io.BytesIO(thumbnailer.make(path, 0, max_side=80))).size == (48, 80)


def test_recordings_joined_byte_by_byte_go_on_one_clock(tmp_path: Path, thumbnailer: Thumbnailer) -> None:
    first, second = numbers(tmp_path / "a.ts", 30), numbers(tmp_path / "b.ts", 30)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    assert shown(thumbnailer.make(joined, 5.0)) in (19, 20, 21)


def test_a_file_without_pictures_says_so_and_the_next_one_comes(tmp_path: Path, thumbnailer: Thumbnailer) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(HcqError, match=r"a\.mp4: no picture of it"):
        thumbnailer.make(tmp_path / "a.mp4", 0)
    with pytest.raises(HcqError, match="no picture of it"):
        thumbnailer.make(tmp_path / "gone.mp4", 0)
    assert shown(thumbnailer.make(numbers(tmp_path / "b.mp4", 5), 0)) == 0


def test_a_decoder_that_was_killed_is_started_again(tmp_path: Path, thumbnailer: Thumbnailer) -> None:
    path = numbers(tmp_path / "a.mp4", 5)
    thumbnailer.make(path, 0)
    assert thumbnailer._process is not None
    thumbnailer._process.kill()
    with pytest.raises(HcqError, match="the decoder crashed: SIGKILL"):
        thumbnailer.make(path, 0)
    assert shown(thumbnailer.make(path, 0)) == 0
