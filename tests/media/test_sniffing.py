"""Files by their first bytes."""

from __future__ import annotations

import os
import random
from pathlib import Path

import av
import numpy as np
import pytest
from sample_videos import clip, film

from hcq_cli.media.sniffing import (
    is_moving_gif,
    is_text,
    is_transport_stream,
    is_video,
    read_head,
    what_instead,
    what_is_missing,
)

NOISE = random.Random(0).randbytes(1 << 14)


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska", "avi", "mpeg", "mpegts", "flv", "asf", "mxf", "vob"])
def test_videos_are_known_whatever_their_names(tmp_path: Path, container: str) -> None:
    head = read_head(str(film_in(tmp_path / "video", container)))
    assert is_video(head) and what_instead(head) is None


def film_in(path: Path, container: str) -> Path:
    codecs = {"mp4": "mpeg4", "mov": "mpeg4", "matroska": "mpeg4", "avi": "mpeg4", "asf": "wmv2", "flv": "flv"}
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codecs.get(container, "mpeg2video"), rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for at in range(10):
            image = np.full((48, 64, 3), at * 20, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><title>403 Forbidden</title></html>", "a web page"),
        (b"\n <html>\n", "a web page"),
        (b'<?xml version="1.0"?><Error/>', "XML"),
        (b'{"error":"unavailable"}', "JSON"),
        (b"export const x = 1;\n", "text"),
        (b"#EXTM3U\n", "a playlist"),
        (b"PK\x03\x04" + NOISE, "unpack"),
        (b"Salted__" + NOISE, "encrypted"),
        (NOISE, "encrypted"),
        (bytes(4096), "zeros"),
        (b"\x00\x05\x16\x07" + bytes(90), "AppleDouble"),
        (b"\x00\x00\x00\x20ftypM4V " + b"drms" + bytes(60), "DRM"),
    ],
)
def test_what_lies_in_the_place_of_a_video_is_named(head: bytes, told: str) -> None:
    assert told in (what_instead(head) or "") and not is_transport_stream(head)


def test_nothing_is_said_of_what_may_be_a_damaged_video(tmp_path: Path) -> None:
    whole = clip(tmp_path / "a.mp4").read_bytes()
    assert what_instead(whole[:3000]) is None and what_instead(b"") is None and what_instead(b"\0\1\2\3") is None


def test_an_mp4_that_lacks_a_part_is_told_which(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.mp4", np.arange(10) / 10).read_bytes()
    pieces = film(
        tmp_path / "b.mp4", np.arange(10) / 10, container_options={"movflags": "frag_keyframe+empty_moov"}
    ).read_bytes()
    begin = pieces.index(b"moof") - 4
    cut, path = whole.index(b"moov") - 4, tmp_path / "c.mp4"
    for content, told in (
        (whole[:cut], "without its index"),
        (whole[: cut // 2], "without its index"),
        (pieces[begin:], "1.m4s"),
        (b"\0\0\0\x10stypmsdh\0\0\0\0" + pieces[begin:], "a piece of a stream"),
        (pieces[:begin], "the beginning of a stream"),
        (whole, None),
        (pieces, None),
        (b"\0\0\0\0mdat", "without its index"),
        (b"\0\0\0\1mdat" + b"\xff" * 8 + bytes(100), "without its index"),
        (b"\0\0\0\1mdat\0\0\0\0\0\0\0\x10" + whole[cut:], None),
        (NOISE, None),
        (b"", None),
    ):
        path.write_bytes(content)
        assert told in (what_is_missing(str(path)) or "") if told else what_is_missing(str(path)) is None
    assert what_is_missing(str(tmp_path)) is None


def test_transport_streams_may_be_cut_anywhere() -> None:
    packets = b"".join(b"\x47" + bytes([at]) * 187 for at in range(8))
    assert is_transport_stream(packets) and is_transport_stream(packets[100:])
    timed = b"".join(bytes(4) + b"\x47" + bytes([at]) * 187 for at in range(8))
    assert is_transport_stream(timed) and not is_transport_stream(b"G" + bytes(600)) and not is_transport_stream(b"")


def test_text_and_moving_pictures() -> None:
    assert is_text("größer\t\n".encode()) and not is_text(b"") and not is_text(b"a\0b")
    assert is_text("ö".encode() * (1 << 16))
    assert is_moving_gif(b"GIF89a" + bytes(20) + b"NETSCAPE2.0") and not is_moving_gif(b"GIF89a" + bytes(50))


def test_nothing_is_read_of_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_head(str(tmp_path / "pipe")) == read_head(str(tmp_path)) == read_head(str(tmp_path / "none")) == b""
