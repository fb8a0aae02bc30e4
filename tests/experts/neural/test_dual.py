"""The side of a dual encoder that looks or listens: its vectors are those of the model called directly."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_duals
import torch
from decoded_clips import clips_of
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel, VideoMAEImageProcessor

from experts.base import Clip, State, Waveform
from experts.neural.dual import USUAL, sense_by_class
from experts.neural.weights import RefusedError, WeightsError, locate
from experts.registry import load

CLOSE = dict(rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def duals(tmp_path_factory):
    root = tmp_path_factory.mktemp("duals")
    return lambda kind: tiny_duals.save(kind, root)


def prepared(folder: Path, name: str = "dual"):
    expert = load([f"{name}={folder}"])[0]
    expert.prepare("cpu")
    return expert


def called(folder: Path, method: str, **inputs) -> np.ndarray:
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return getattr(model, method)(**inputs).pooler_output.numpy()


@pytest.mark.parametrize("kind", tiny_duals.PICTURES)
def test_a_vector_a_frame_is_the_model_called_directly(kind, duals, shared):
    expert = prepared(duals(kind))
    clip = clips_of(shared / "videos" / "asl_sign_book.mkv", expert.sampling)[0]
    tokens, frames = expert.extract(clip), clip.frames(expert.sampling)
    assert tokens.times.tolist() == [0.0, 1.0, 2.0, 3.0] and tokens.features.shape == (4, expert.dim)
    inputs = AutoImageProcessor.from_pretrained(duals(kind), backend="pil")(list(frames.images), return_tensors="pt")
    assert np.allclose(tokens.features, called(duals(kind), "get_image_features", **inputs), **CLOSE)


@pytest.mark.parametrize("kind", tiny_duals.CLIPS)
@pytest.mark.parametrize("video", ["asl_sign_book.mkv", "dog_running_on_lawn.mp4"])
def test_a_window_of_frames_lies_evenly_over_what_there_is(kind, video, duals, shared):
    expert = prepared(duals(kind))
    clip = clips_of(shared / "videos" / video, expert.sampling)[0]
    tokens, frames = expert.extract(clip), clip.frames(expert.sampling)
    length_s = min(clip.end_s, float(frames.times[-1] + max(np.median(np.diff(frames.times)), 2.0)))
    window_s = min(8.0, length_s)
    count = max(1, int(length_s / 8.0 + 0.5))
    assert tokens.features.shape == (count, expert.dim)
    step_s = window_s / 4
    shown = [max(at for at, t in enumerate(frames.times) if t <= k * step_s + 0.002) for k in range(4)]
    assert len(set(shown)) == (4 if length_s > 2 else 2)
    if kind == "xclip":
        processor, name = AutoImageProcessor.from_pretrained(duals(kind)), "pixel_values"
    else:
        size = {"height": 32, "width": 32}
        processor = VideoMAEImageProcessor(size=size, do_center_crop=False, do_normalize=False)
        name = "pixel_values_videos"
    pixels = processor([frames.images[at] for at in shown], return_tensors="pt")["pixel_values"]
    direct = called(duals(kind), "get_video_features", **{name: pixels.reshape(1, 4, 3, 32, 32)})
    assert np.allclose(tokens.features[0], direct[0], **CLOSE)


def test_sound_is_heard_in_windows_of_ten_seconds_that_nothing_cuts_by_chance(duals):
    folder = duals("clap")
    expert = prepared(folder)
    assert expert.sampling.audio_hz == 48_000
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, 48_000 * 27).astype(np.float32)
    clip = Clip(0.0, 27.0, False, True, sound_by_hz={48_000: Waveform(noise, 48_000, 0.0)})
    tokens = expert.extract(clip)
    assert tokens.times == pytest.approx([5.0, 13.5, 22.0], abs=0.01)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    windows = [noise[start : start + 480_000] for start in (0, 408_000, 816_000)]
    inputs = dict(extractor(windows, sampling_rate=48_000, return_tensors="pt"))
    inputs["is_longer"] = torch.zeros_like(inputs["is_longer"])
    assert np.allclose(tokens.features, called(folder, "get_audio_features", **inputs), **CLOSE)
    assert np.array_equal(expert.extract(clip).features, tokens.features)
    assert expert.extract(Clip(0.0, 1.0, True, False)).state is State.NO_STREAM


def test_a_longest_window_of_its_own_is_kept_to(duals, tmp_path):
    folder = Path(shutil.copytree(duals("clap"), tmp_path / "clap"))
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"max_length_s": 5}))
    assert "windows of 5 s" in load([f"dual={folder}"])[0].about


def test_what_is_known_of_the_usual_ones_is_what_their_classes_say(duals):
    found = [locate(str(duals(kind))) for kind in tiny_duals.KINDS]
    assert {each.model_type: sense_by_class(each) for each in found} == USUAL


def test_whoever_only_asks_for_the_identity_waits_for_no_transformers(duals):
    asks = [f"dual={duals('clip')}", f"dual-sound={duals('clap')}", f"dual-clips={duals('xclip')}"]
    code = f"import sys; from experts.registry import load; [each.weights for each in load({asks!r})]; "
    code += "assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_look_at_once_each_under_a_name_of_its_own(duals):
    pictures, sound = load([f"dual-clip={duals('clip')}", f"dual-clap={duals('clap')}"])
    assert (pictures.name, sound.name) == ("dual-clip", "dual-clap")
    assert (pictures.dim, sound.dim) == (24, 16)
    for wrong in ("motion-two", "dual-", "dual-a/b"):
        with pytest.raises(LookupError, match="no expert is called"):
            load([f"{wrong}={duals('clip')}"])


def test_what_compares_nothing_with_texts_is_refused_by_its_kind(networks):
    with pytest.raises(WeightsError, match="'dinov2', which compares nothing with texts"):
        load([f"dual={networks('dinov2')}"])


def test_a_dual_encoder_that_needs_code_of_its_own_is_refused(duals, tmp_path):
    folder = Path(shutil.copytree(duals("clip"), tmp_path / "mine"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(RefusedError, match=r"mine.*custom code \(auto_map\), which hcq never loads"):
        load([f"dual={folder}"])


def test_a_folder_of_onnx_must_hold_what_sees(tmp_path):
    with pytest.raises(WeightsError, match=r"no folder with image\.onnx or audio\.onnx"):
        load([f"dual=onnx:{tmp_path}"])
