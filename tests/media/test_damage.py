"""Which pictures are left out behind a broken packet, without a film."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hcq_cli.media.damage import MOST_BROKEN_PACKETS, PATIENCE_S, FilmDamage


def frame(*, key: bool = False, corrupt: bool = False) -> Any:
    return SimpleNamespace(key_frame=key, is_corrupt=corrupt)


def test_pictures_are_left_out_up_to_the_next_key_frame() -> None:
    damage = FilmDamage()
    assert damage.is_shown(frame(key=True), 0.0, 0.0) and damage.is_shown(frame(), 1.0, 1.0)
    damage.count("picture", 1.0)
    shown = [damage.is_shown(frame(key=second == 4), second, 1.0) for second in (2.0, 3.0, 4.0, 5.0)]
    assert shown == [False, False, True, True]
    assert damage.warnings == [
        "the picture is broken at 1.0 s (1 piece could not be decoded, 2 frames after it left out)"
    ]


def test_where_no_key_frame_comes_the_rest_of_the_film_is_shown() -> None:
    damage = FilmDamage()
    damage.count("picture", 0.0)
    seconds = [0.5 * step for step in range(20)]
    shown = [damage.is_shown(frame(), second, 0.0) for second in seconds]
    assert shown == [second > PATIENCE_S for second in seconds]
    assert "11 taken that may be smeared" in damage.warnings[0]


def test_a_corrupt_picture_counts_as_a_broken_packet() -> None:
    damage = FilmDamage()
    assert [damage.is_shown(frame(corrupt=second == 1), second, second) for second in (0.0, 1.0, 2.0)] == [
        True,
        False,
        False,
    ]
    assert "broken at 1.0 s" in damage.warnings[0]


def test_a_track_is_given_up_after_many_and_the_other_one_is_not() -> None:
    damage = FilmDamage()
    for _ in range(MOST_BROKEN_PACKETS):
        damage.count("sound", 0.0)
    assert damage.gives_up("sound") and not damage.gives_up("picture")


def test_a_decoder_is_begun_anew_with_a_key_packet_of_h264_after_a_broken_one() -> None:
    damage = FilmDamage()
    packet = SimpleNamespace(is_keyframe=True, stream=SimpleNamespace(codec=SimpleNamespace(name="h264")))
    assert not damage.begins_anew(packet)
    damage.count("picture", 0.0)
    assert damage.begins_anew(packet) and not damage.begins_anew(packet)
    assert damage.is_shown(frame(), 1.0, 0.0)
