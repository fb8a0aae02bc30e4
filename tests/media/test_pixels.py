"""Pixels as a player shows them: odd matrices, HDR, mirrors, and sizes that change on the way."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from decoded_clips import clips_of, decoder
from PIL import ExifTags, Image, ImageOps
from sample_videos import film, tone, turn

from experts.base import Sampling
from hcq_cli.media.clips import ClipAssembler
from hcq_cli.media.decoder import CannotConvertError, open_media
from hcq_cli.media.pixels import tone_mapped

COLOURS = np.array([[(200, 30, 40), (30, 180, 60), (40, 60, 200)], [(220, 200, 40), (128, 128, 128), (180, 60, 180)]])
SEE = Sampling(5.0, 192)
PQ, HLG, BT2020, P3 = 16, 18, 9, 12


def patches(image: np.ndarray) -> np.ndarray:
    """The mean colours [2, 3, 3] of the middles of six patches."""
    high, wide = image.shape[0] // 2, image.shape[1] // 3
    parts = [[image[y * high :, x * wide :][:high, :wide] for x in range(3)] for y in range(2)]
    middles = [[part[high // 4 : -high // 4, wide // 4 : -wide // 4].mean((0, 1)) for part in row] for row in parts]
    return np.array(middles)


def picture_of(colours: np.ndarray) -> np.ndarray:
    return np.kron(colours, np.ones((64, 64, 1))).astype(np.uint8)


def tagged(path: Path, matrix: int) -> Path:
    """A film of the six colours in BT.601, whose header names another matrix."""
    images = [picture_of(COLOURS)] * 5
    plain = film(path.with_stem("plain"), np.arange(5) / 5, images, tone(1.0), options={"qp": "2"})
    with av.open(str(plain)) as source, av.open(str(path), "w") as container:
        copies = {stream: container.add_stream_from_template(stream) for stream in source.streams}
        rewrite = av.bitstream.BitStreamFilterContext(
            f"h264_metadata=matrix_coefficients={matrix}", source.streams.video[0], copies[source.streams.video[0]]
        )
        for packet in source.demux():
            if packet.size:
                stream = packet.stream
                for changed in rewrite.filter(packet) if stream.type == "video" else [packet]:
                    changed.stream = copies[stream]
                    container.mux(changed)
    return path


@pytest.mark.parametrize("matrix", [8, 10, 11, 12, 13, 14])
def test_a_matrix_that_cannot_be_converted_costs_nothing(tmp_path: Path, matrix: int) -> None:
    path = tagged(tmp_path / "odd.mkv", matrix)
    (clip,) = clips_of(path, SEE, Sampling(None, audio_hz=16_000))
    assert len(clip.frames(SEE)) == 5 and len(clip.sound(16_000).samples) == 16_000
    if matrix != 10:  # which is BT.2020, and the film is not
        np.testing.assert_allclose(patches(clip.frames(SEE).images[0]), COLOURS, atol=12)
    _, media = open_media(decoder("pyav"), str(path), True, [])
    assert len(list(media)) == 5
    (warning,) = media.warnings
    assert f"matrix {matrix} of" in warning


def coded(curve: int, light: np.ndarray) -> np.ndarray:
    """Light, 1 for white, as the samples 0..1 that PQ and HLG have for it: plain formulas of BT.2100."""
    if curve == PQ:
        power = (light * 203 / 10_000) ** (2610 / 16384)
        return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    scene = (light * 203 / 1000) ** (1 / 1.2)
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )


def in_bt2020(colours: np.ndarray) -> np.ndarray:
    """Linear light of the colours in the primaries of BT.2020 (ITU-R BT.2087)."""
    matrix = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    return (colours / 255) ** 2.4 @ matrix.T


@pytest.mark.parametrize(("curve", "name"), [(PQ, "smpte2084"), (HLG, "arib-std-b67")])
def test_hdr_is_shown_in_the_colours_it_was_made_of(tmp_path: Path, curve: int, name: str) -> None:
    image = picture_of(255 * coded(curve, in_bt2020(COLOURS)))
    tags = f"colorprim=bt2020:transfer={name}:colormatrix=smpte170m"  # the matrix of film()'s own conversion
    options = {"x264-params": f"qp=4:{tags}"}
    path = film(tmp_path / "hdr.mkv", [0, 0.2], [image] * 2, options=options, pixels="yuv420p10le")
    (clip,) = clips_of(path, SEE)
    np.testing.assert_allclose(patches(clip.frames(SEE).images[0]), COLOURS, atol=15)


@pytest.mark.parametrize("curve", [PQ, HLG])
def test_highlights_are_pressed_together_and_keep_their_order_and_colour(curve: int) -> None:
    grey = np.geomspace(0.01, 4.0, 60)
    light = np.stack([grey, grey, grey], 1)
    image = np.round(65535 * coded(curve, light)).astype(np.uint16)[None]
    mapped = tone_mapped(image, curve, BT2020)[0].astype(int)
    assert (np.diff(mapped[:, 0]) >= 0).all() and mapped.max() <= 255 and np.ptp(mapped, axis=1).max() <= 1
    below = grey < 0.75
    np.testing.assert_allclose(mapped[below, 0], 255 * grey[below] ** (1 / 2.4), atol=1.5)
    assert 235 <= np.interp(1.0, grey, mapped[:, 0]) <= 250  # white has room above it
    warm = np.array([[4.0, 2.0, 1.0]])
    red, green, blue = tone_mapped(np.round(65535 * coded(curve, warm)).astype(np.uint16)[None], curve, 1)[0, 0] / 255
    np.testing.assert_allclose([(green / red) ** 2.4, (blue / red) ** 2.4], [0.5, 0.25], atol=0.02)


MIRRORED = {
    "left and right": "GR/YB",
    "top and bottom": "BY/RG",
    "transposed": "RB/GY",
    "transposed the other way": "YG/BR",
    90: "BR/YG",
    180: "YB/GR",
    270: "GY/RB",
}


@pytest.mark.parametrize("way", MIRRORED)
def test_a_picture_is_mirrored_and_turned_as_its_matrix_says(tmp_path: Path, way: int | str) -> None:
    letters = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "Y": (255, 255, 0)}
    stored = np.array([[letters["R"], letters["G"]], [letters["B"], letters["Y"]]])
    image = np.kron(stored, np.ones((48, 80, 1))).astype(np.uint8)
    path = turn(film(tmp_path / "mirrored.mp4", [0, 0.2], [image] * 2), way)
    shown = clips_of(path, SEE)[0].frames(SEE).images[0].astype(int)
    high, wide = shown.shape[:2]
    corners = [[shown[y * high // 4, x * wide // 4] for x in (1, 3)] for y in (1, 3)]
    near = [[min(letters, key=lambda name: abs(corner - letters[name]).sum()) for corner in row] for row in corners]
    assert "/".join("".join(row) for row in near) == MIRRORED[way]
    assert (high, wide) == ((160, 96) if way in (90, 270) or str(way).startswith("trans") else (96, 160))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_that_writes_exif_into_each_picture(tmp_path: Path, orientation: int) -> None:
    """As those with Motion JPEG do; it is a kind of side data that PyAV has no name for."""
    stored = Image.fromarray(
        np.kron([[[250, 0, 0], [0, 0, 0]], [[0, 0, 250]] * 2], np.ones((48, 80, 1))).astype("u1")
    )
    stored.getexif()[ExifTags.Base.Orientation] = orientation
    jpeg = io.BytesIO()
    stored.save(jpeg, "JPEG", exif=stored.getexif(), quality=95)
    path = tmp_path / "camera.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=5, width=160, height=96, pix_fmt="yuvj420p")
        for at in range(2):
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, at, at, Fraction(1, 5)
            container.mux(packet)
    shown = clips_of(path, SEE)[0].frames(SEE).images[0].astype(int)
    expected = np.asarray(ImageOps.exif_transpose(stored)).astype(int)
    assert shown.shape == expected.shape and np.abs(shown - expected).mean() < 5


def test_a_picture_whose_size_changes_keeps_its_shape(tmp_path: Path) -> None:
    """As a telephone that is turned while it sends writes it: black at the sides, and nothing distorted."""
    wide, high = np.full((96, 160, 3), 255, np.uint8), np.full((160, 96, 3), 255, np.uint8)
    parts = [
        film(tmp_path / f"{at}.ts", np.arange(5) / 5, [image] * 5, options={"bf": "0"})
        for at, image in enumerate((wide, high, wide[:48, :80]))
    ]
    path = tmp_path / "changing.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    (clip,) = clips_of(path, SEE)
    frames = clip.frames(SEE)
    assert frames.images.shape[1:] == (96, 160, 3)
    lit = (frames.images > 128).all(3)
    widths = {(int(image.any(1).sum()), int(image.any(0).sum())) for image in lit}
    assert widths == {(96, 160), (96, 58)}


def test_pixels_that_change_their_shape_on_the_way(tmp_path: Path) -> None:
    """As a broadcast between 4:3 and 16:9: the size of the stored picture stays."""
    image = np.full((96, 160, 3), 255, np.uint8)
    parts = [
        film(tmp_path / f"{at}.ts", np.arange(5) / 5, [image] * 5, options={"bf": "0"}, pixel_aspect=Fraction(aspect))
        for at, aspect in enumerate((1, 2))
    ]
    path = tmp_path / "changing.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    (clip,) = clips_of(path, SEE)
    lit = (clip.frames(SEE).images > 128).all(3)
    assert lit[0].all() and (int(lit[-1].any(1).sum()), int(lit[-1].any(0).sum())) == (48, 160)


def test_a_frame_without_pixels_is_left_out(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", np.arange(5) / 5, sound=tone(1.0))
    _, media = open_media(decoder("pyav"), str(path), True, [16_000])
    sampling = Sampling(5.0, 64, 16_000)
    assembler = ClipAssembler([sampling], True, True)

    class Refused:
        time_s, duration_s = 0.4, 0.2

        def rgb(self, max_side: int) -> np.ndarray:
            raise CannotConvertError("of no kind that there is")

    clips = []
    for piece in media:
        odd = not hasattr(piece, "samples") and abs(piece.time_s - 0.4) < 0.01
        clips += assembler.add(Refused() if odd else piece)
    clips += assembler.finish()
    assert len(clips[0].frames(sampling)) == 4 and len(clips[0].sound(16_000).samples) == 16_000
    assert assembler.not_converted == ["of no kind that there is"]
