"""What is doubtful is a warning with its count, what cannot be is an error that names it: never a silent result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import SMALL, caption, video, write_store

from experts.base import Tokens

Run = Callable[..., object]
SETTINGS = [p for s in [*SMALL, "training.epochs=1", "training.min_steps=1"] for p in ("--set", s)]


def write_lines(path: Path, captions: dict[str, str]) -> None:
    path.write_text("".join(json.dumps({"video": v, "caption": c}) + "\n" for v, c in captions.items()), "utf-8")


def test_doubtful_captions_and_a_silent_expert_are_counted(hcq: Run, tmp_path: Path) -> None:
    write_store(tmp_path / ".hcq" / "features", [video(n, absent=("audio",)) for n in range(4)])
    lines = {f"v{n:03d}.mp4": caption(n) for n in range(6)}  # the last two have no features
    lines["v002.mp4"], lines["v003.mp4"] = "word " * 60, "  "
    write_lines(tmp_path / "captions.jsonl", lines)
    said = hcq("train", "--captions", "captions.jsonl", *SETTINGS, "--json").json["warnings"]
    for words in (
        "left out as wrong: 1 line (",
        "2 videos of the caption file without features",
        "no training video has tokens of audio",
        "longer than 32 tokens: 1 caption;",
        "fewer than 16 codewords",
    ):
        assert any(words in sentence for sentence in said), (words, said)


@pytest.mark.slow
def test_a_number_that_is_none_and_features_of_other_widths_are_refused(hcq: Run, tmp_path: Path) -> None:
    write_store(tmp_path / "good", [video(n) for n in range(4)])
    broken = video(1)
    broken.tokens["audio"].features[0, 0] = np.nan
    write_store(tmp_path / "nan", [video(0), broken])
    wide = dict(video(0).tokens)
    wide["audio"] = Tokens(np.ones((2, 9), np.float32), np.zeros(2, np.float32))
    write_store(tmp_path / "wide", [dataclasses.replace(video(0), tokens=wide)])
    write_lines(tmp_path / "captions.jsonl", {f"v{n:03d}.mp4": caption(n) for n in range(4)})
    train = ("train", "--captions", "captions.jsonl", *SETTINGS, "-o", "run")
    assert "'audio' are NaN" in hcq(*train, "--features", "nan", code=1).err
    assert not (tmp_path / "run" / "config.json").exists()
    hcq(*train, "--features", "good")
    for command in (("eval", "--features", "nan"), ("encode", "nan")):
        assert "NaN" in hcq(*command, "--ckpt", "run", code=1).err
    refused = hcq("encode", "wide", "--ckpt", "run", "-o", "codes.hcq", code=1).err
    assert "features of audio are 9 wide; the model was trained on 8" in refused
    assert not (tmp_path / "codes.hcq").exists()


@pytest.mark.slow
def test_a_collection_of_one_video_trains_with_a_warning_and_answers(hcq: Run, tmp_path: Path) -> None:
    write_store(tmp_path / ".hcq" / "features", [video(0)])
    write_lines(tmp_path / "captions.jsonl", {"v000.mp4": caption(0)})
    said = hcq("train", "--captions", "captions.jsonl", *SETTINGS, "-o", "run", "--json").json["warnings"]
    assert any("fewer than 16 codewords" in sentence for sentence in said), said
    hcq("encode", "--ckpt", "run")
    hcq("index", "build")
    assert [hit["id"] for hit in hcq("query", caption(0), "--json").json["hits"]] == ["v000.mp4"]


@pytest.mark.long
def test_a_model_of_other_experts_says_what_it_misses(hcq: Run, tmp_path: Path) -> None:
    write_store(tmp_path / "both", [video(n) for n in range(4)])
    fewer = [dataclasses.replace(video(n), tokens={"audio": video(n).tokens["audio"]}) for n in range(4)]
    write_store(tmp_path / "blind", fewer)
    write_lines(tmp_path / "captions.jsonl", {f"v{n:03d}.mp4": caption(n) for n in range(4)})
    hcq("train", "--captions", "captions.jsonl", *SETTINGS, "--features", "both", "-o", "run")
    missing = "the features hold no appearance, which the model was trained with"
    assert missing in hcq("encode", "blind", "-o", "codes.hcq", "--ckpt", "run").err
    assert missing in hcq("eval", "--features", "blind", "--ckpt", "run").err
