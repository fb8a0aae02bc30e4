"""What decord does otherwise than PyAV, and what it is not trusted with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from decoded_clips import decoder
from sample_videos import film, tone

from hcq_cli.media.decoder import CannotOpenError, Sound


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
