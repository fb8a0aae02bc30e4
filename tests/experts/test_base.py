"""What a clip gives an expert where something is missing, and what tokens are."""

import numpy as np
import pytest

from experts.base import SEGMENT_S, Clip, Frames, Sampling, State, Tokens, Waveform

SAMPLING = Sampling(2.0, 64)


def test_frames_that_were_not_sampled_are_empty_and_have_a_reason():
    nothing = Clip(0.0, 2.0, has_picture=True, has_sound=False)
    assert nothing.frames(SAMPLING).images.shape == (0, 0, 0, 3) and len(nothing.frames(SAMPLING)) == 0
    assert nothing.seen(SAMPLING) is State.NO_FRAMES
    assert Clip(0.0, 2.0, has_picture=False, has_sound=True).seen(SAMPLING) is State.NO_STREAM
    frames = Frames(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.float32))
    shown = Clip(0.0, 2.0, True, False, frames_by_sampling={SAMPLING: frames})
    assert shown.seen(SAMPLING) is frames and shown.seen(Sampling(1.0, 64)) is State.NO_FRAMES


def test_sound_of_another_rate_is_empty_and_begins_with_the_clip():
    heard = Clip(60.0, 62.0, False, True, sound_by_hz={8000: Waveform(np.ones(3, np.float32), 8000, 60.5)})
    assert heard.sound(8000).start_s == 60.5 and len(heard.sound(8000).samples) == 3
    assert (heard.sound(16_000).start_s, len(heard.sound(16_000).samples), heard.sound(16_000).hz) == (
        60.0,
        0,
        16_000,
    )


@pytest.mark.parametrize("state", [state for state in State if state is not State.TOKENS])
def test_no_tokens_have_their_width_and_reason(state):
    none = Tokens.none(5, state)
    assert none.features.shape == (0, 5) and len(none) == 0 and none.state is state and none.words == ()


def test_segments_are_whole_seconds_and_keep_their_older_name():
    from experts import base

    assert isinstance(SEGMENT_S, int) and base.STRETCH_S == SEGMENT_S
