"""Every classic expert keeps the contract, and the contract suite notices those that do not."""

from dataclasses import replace

import numpy as np
import pytest

from experts import registry
from experts.base import Clip, Sampling, State, Tokens
from experts.contract import BrokenContract, check_expert, example_clip


@pytest.mark.parametrize("name", registry.presets["classic"])
def test_classic_experts_keep_the_contract(name):
    check_expert(registry.load([name])[0])


class Plain:
    """An expert that keeps the contract; each case below breaks one promise of it."""

    name, dim, version, weights = "plain", 2, "1", ""
    sampling = Sampling(frames_per_second=2.0, max_side=64)

    def prepare(self, device: str) -> None:
        self.seen = 0

    def extract(self, clip: Clip) -> Tokens:
        self.seen += 1
        if not clip.has_picture:
            return Tokens.none(self.dim, State.NO_STREAM)
        frames = clip.frames(self.sampling)
        if not len(frames):
            return Tokens.none(self.dim, State.NO_FRAMES)
        return self.look(frames, clip)

    def look(self, frames, clip):
        mean = frames.images.mean((1, 2, 3), dtype=np.float32) / 255
        return Tokens(np.stack([mean, 1 - mean], 1), frames.times)


def test_a_plain_expert_passes():
    check_expert(Plain())


class Doubles(Plain):
    def look(self, frames, clip):
        tokens = super().look(frames, clip)
        return replace(tokens, features=tokens.features.astype(np.float64))


class Narrow(Plain):
    def look(self, frames, clip):
        tokens = super().look(frames, clip)
        return replace(tokens, features=tokens.features[:, :1])


class Undefined(Plain):
    def look(self, frames, clip):
        tokens = super().look(frames, clip)
        return replace(tokens, features=tokens.features / np.float32(0))


class Forgetful(Plain):
    def look(self, frames, clip):
        tokens = super().look(frames, clip)
        return replace(tokens, features=tokens.features + np.float32(self.seen))


class OwnClock(Plain):
    def look(self, frames, clip):
        return replace(super().look(frames, clip), times=frames.times - np.float32(clip.start_s))


class Scribbler(Plain):
    def look(self, frames, clip):
        frames.images[:] = 7
        return super().look(frames, clip)


class Silent(Plain):
    def extract(self, clip):
        return Tokens.none(self.dim, State.NOTHING_FOUND)


class Fragile(Plain):
    def look(self, frames, clip):
        if frames.images.shape[1] < 8:
            raise ZeroDivisionError("too small")
        return super().look(frames, clip)


class Mute(Plain):
    def look(self, frames, clip):
        return replace(super().look(frames, clip), state=State.SILENT)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Doubles, "float32, not float64"),
        (Narrow, "features are"),
        (Undefined, "finite"),
        (Forgetful, "bit for bit"),
        (OwnClock, "an hour later"),
        (Scribbler, "leave the clip as it is"),
        (Silent, "'no_stream' is due"),
        (Fragile, "ZeroDivisionError: too small"),
        (Mute, "state is 'silent'"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_broken_promise_is_named(kind, said):
    with pytest.raises(BrokenContract, match="breaks the contract") as caught:
        check_expert(kind())
    assert said.replace("is due", "are due") in str(caught.value) or said in str(caught.value)


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("name", "Two Words", "lower-case word"),
        ("dim", 0, "positive int"),
        ("version", "", "version"),
        ("weights", None, "weights"),
        ("sampling", Sampling(), "asks for frames or for sound"),
        ("extract", None, "extract can be called"),
    ],
)
def test_a_wrong_attribute_is_named(attribute, value, said):
    expert = Plain()
    setattr(expert, attribute, value)
    with pytest.raises(BrokenContract) as caught:
        check_expert(expert)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", registry.presets["classic"])
def test_a_stretch_says_the_same_alone_and_after_others(name):
    """Fresh instances, different order: equal bytes (workers share nothing)."""
    one, two = registry.load([name])[0], registry.load([name])[0]
    one.prepare("cpu")
    two.prepare("cpu")
    clips = [example_clip(one.sampling, 2.0, seed=seed) for seed in range(3)]
    first = [one.extract(clip) for clip in clips]
    second = [two.extract(clip) for clip in reversed(clips)][::-1]
    for a, b in zip(first, second, strict=True):
        assert a.features.tobytes() == b.features.tobytes()
        assert a.times.tobytes() == b.times.tobytes()
        assert a.state == b.state
