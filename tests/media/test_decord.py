"""What decord does otherwise than PyAV, and what it is not trusted with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from decoded_clips import decoder
from sample_videos import film, numbered, tone, turn

from hcq_cli.media.decoder import CannotOpenError, Sound, decoders_for, open_media


def test_a_transport_stream_is_left_to_another_decoder(tmp_path: Path) -> None:
    path = film(tmp_path / "a.ts", np.arange(20) / 10)
    with pytest.raises(CannotOpenError, match="decord loses frames of MPEG-TS"):
        decoder("decord")[0].open(str(path), True, [])


def test_of_an_avi_the_frame_rate_tells_the_times(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", np.arange(20) / 10, codec="mpeg4", ticks=10)
    media = decoder("decord")[0].open(str(path), True, [])
    times = [piece.time_s for piece in media if not isinstance(piece, Sound)]
    media.close()
    np.testing.assert_allclose(times, np.arange(20) / 10, atol=0.02)


def test_sound_comes_before_the_picture_that_it_begins_with(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", np.arange(20) / 10, sound=tone(2.0))
    media = decoder("decord")[0].open(str(path), True, [16_000])
    starts = [piece.start_s if isinstance(piece, Sound) else piece.time_s for piece in media]
    media.close()
    assert starts == sorted(starts) and len(starts) > 20


def test_what_decord_gets_wrong_it_leaves_to_another_and_that_is_said(tmp_path: Path) -> None:
    image = [numbered(at) for at in range(5)]
    mirrored = turn(film(tmp_path / "mirrored.mp4", np.arange(5) / 5, image), "left and right")
    hdr = film(tmp_path / "hdr.mkv", np.arange(5) / 5, image, options={"x264-params": "transfer=smpte2084"})
    joined = tmp_path / "joined.mkv"
    joined.write_bytes(2 * film(tmp_path / "part.mkv", np.arange(20) / 10, sound=tone(2.0)).read_bytes())
    for path, what in ((mirrored, "mirrored"), (hdr, "HDR"), (joined, "several recordings")):
        with pytest.raises(CannotOpenError, match=what):
            decoder("decord")[0].open(str(path), True, [])
        name, media = open_media(decoders_for("decord"), str(path), True, [])
        assert name == "pyav" and media.warnings[-1].startswith("read by pyav: decord does not know")
        media.close()


def test_what_is_no_video_is_no_silent_sound_either(tmp_path: Path) -> None:
    page = tmp_path / "page.mp4"
    page.write_text("<!DOCTYPE html><html>")
    with pytest.raises(CannotOpenError, match="no video"):
        open_media(decoders_for("auto"), str(page), False, [16_000])
