"""What every decoder must do. Run your own through it: HCQ_TEST_DECODER=package.module:Class pytest THIS_FILE."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sample_videos import film, tone

from hcq_cli.media.decoder import BUILT_IN, CannotOpenError, Decoder, Sound, decoders_for

NAMES = [*BUILT_IN, *filter(None, [os.environ.get("HCQ_TEST_DECODER")])]


@pytest.fixture(params=NAMES)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    first = decoders_for(request.param)[0]
    if request.param in BUILT_IN and first.name != request.param:
        pytest.skip(f"{request.param} is not installed here")
    return first


@pytest.fixture
def both(tmp_path: Path) -> str:
    """Two seconds of picture and sound."""
    return str(film(tmp_path / "both.mkv", np.arange(20) / 10, sound=tone(2.0)))


def test_it_has_a_name(decoder: Decoder) -> None:
    assert decoder.name and decoder.name == decoder.name.strip()


def test_all_pictures_and_all_sound_in_rising_order(decoder: Decoder, both: str) -> None:
    media = decoder.open(both, True, [16_000])
    assert media.has_picture and media.has_sound
    assert media.duration_s is None or media.duration_s == pytest.approx(2.0, abs=0.11)
    pieces = list(media)
    sounds = [piece for piece in pieces if isinstance(piece, Sound)]
    pictures = [piece for piece in pieces if not isinstance(piece, Sound)]
    np.testing.assert_allclose([picture.time_s for picture in pictures], np.arange(20) / 10, atol=2e-3)
    starts = [sound.start_s for sound in sounds]
    assert starts == sorted(starts) and {sound.hz for sound in sounds} == {16_000}
    samples = np.concatenate([sound.samples for sound in sounds])
    assert samples.dtype == np.float32 and len(samples) == 32_000 and np.abs(samples).max() <= 1
    assert media.warnings == [] and media.packets > 0
    media.close()


def test_pixels_are_rgb_and_never_enlarged(decoder: Decoder, both: str) -> None:
    media = decoder.open(both, True, [])
    picture = next(piece for piece in media if not isinstance(piece, Sound))
    for max_side, shape in ((80, (48, 80, 3)), (160, (96, 160, 3)), (4000, (96, 160, 3))):
        image = picture.rgb(max_side)
        assert image.dtype == np.uint8 and image.shape == shape and image.flags.c_contiguous
    media.close()


def test_only_what_is_asked_for(decoder: Decoder, both: str) -> None:
    for see, hear_hz in ((True, []), (False, [8000])):
        media = decoder.open(both, see, hear_hz)
        kinds = {isinstance(piece, Sound) for piece in media}
        assert kinds == {not see} and media.has_picture and media.has_sound
        media.close()


def test_missing_tracks_are_told(decoder: Decoder, tmp_path: Path) -> None:
    mute = decoder.open(str(film(tmp_path / "mute.mkv", [0, 0.1])), True, [16_000])
    assert (mute.has_picture, mute.has_sound) == (True, False) and len(list(mute)) == 2
    mute.close()
    blind = decoder.open(str(film(tmp_path / "blind.wav", sound=tone(0.1))), True, [16_000])
    assert (blind.has_picture, blind.has_sound) == (False, True) and len(list(blind)) > 0
    blind.close()


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 100, bytes(5000)])
@pytest.mark.parametrize("name", ["odd.mp4", "odd.txt", "odd.nfo", "odd.lrc"])
def test_what_is_no_video_cannot_be_opened(decoder: Decoder, tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CannotOpenError) as raised:
        decoder.open(str(path), True, [16_000])
    assert str(raised.value) and str(path) not in str(raised.value)
