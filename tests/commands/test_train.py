"""train, encode and eval as a person runs them, one after another in one workspace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import SMALL, caption, video, write_captions, write_store

from hcq_cli.codes.codefile import CodeFile, open_codes
from hcq_cli.model import checkpoint
from hcq_cli.model.trained_model import Model

Run = Callable[..., object]
SETTINGS = [part for setting in [*SMALL, "training.epochs=3", "training.min_steps=30"] for part in ("--set", setting)]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    videos = [video(n) for n in range(20)] + [video(20, absent=("appearance", "audio"))]
    write_store(tmp_path / ".hcq" / "features", videos)
    write_captions(tmp_path / "captions.jsonl", range(21))
    return tmp_path


def hybrid_score(model: Model, file: CodeFile, video_id: str, query: np.ndarray) -> float:
    """Of a query [L+1, D] and the vector that a video's codes stand for: its codewords, rotated back to levels."""
    row = file.codes[list(file.ids).index(video_id)]
    rotated = np.concatenate([file.codebooks[s, code] for s, code in enumerate(row)]) * file.header.M**-0.5
    rotation = model.network.quantizer.rotation.numpy()
    rebuilt = (rotated @ rotation).reshape(query.shape) * np.sqrt(len(query))  # every level weighs the same
    return (query * rebuilt).sum(1).mean()


@pytest.mark.long
def test_train_encode_eval_and_the_score_that_query_prints(hcq: Run, workspace: Path) -> None:
    trained = hcq("train", "--captions", "captions.jsonl", *SETTINGS, "--json")
    assert Path(trained.json["checkpoint"]) == Path(".hcq/model") and trained.json["epochs"] == 3
    assert {"loss", "batch_R1", "used_codewords", "quantized_to_dense"} <= set(trained.json["metrics"])
    assert "too few to hold some out" in trained.err
    assert "1 captioned video without tokens" in trained.err

    encoded = hcq("encode", "--json").json
    wanted = {
        "videos": 20,
        "levels": 3,
        "codebooks": 4,
        "codewords": 16,
        "bytes_per_video": 12,
        "without_features": 1,
    }
    assert wanted.items() <= encoded.items() and encoded["videos_per_second"] > 0
    file = open_codes(workspace / encoded["codes"])
    assert file.codes.shape == (20, 12) and file.paths[0].startswith("/videos/")

    texts = hcq("encode", "--texts", "captions.jsonl", "--json").json
    assert texts["texts"] == 42
    assert open_codes(workspace / texts["codes"]).header.kind == "texts"

    measured = hcq("eval", "--json").json
    for way in (measured["t2v"], measured["v2t"], measured["dense"]["t2v"], measured["dense"]["v2t"]):
        assert set(way) == {"R1", "R5", "R10", "R50", "MedR", "MeanR", "GM"}
    assert (measured["videos"], measured["texts"], measured["bytes_per_video"]) == (20, 40, 12)
    people = hcq("eval")
    assert "t→v R@1" in people.out and "codes" in people.out and "no caption is marked as test" in people.err

    hits = hcq("query", caption(3), "--codes", encoded["codes"], "-k", "5", "--json").json["hits"]
    model = checkpoint.load(workspace / ".hcq" / "model")
    query = model.encode_texts([caption(3)])[0]
    for hit in hits:
        assert hit["score"] == pytest.approx(hybrid_score(model, file, hit["id"], query), abs=1e-5)


@pytest.mark.long
def test_a_trained_model_is_trained_on_and_the_better_one_kept(hcq: Run, workspace: Path) -> None:
    write_captions(workspace / "captions.jsonl", range(14))
    first = hcq("train", "--captions", "captions.jsonl", *SETTINGS, "--json").json
    start = checkpoint.load(workspace / first["checkpoint"])
    more = [part for setting in ("epochs=1", "min_steps=3") for part in ("--set", f"training.{setting}")]
    asked = ["train", "--init", ".hcq/model", "--captions", "captions.jsonl", *more, "--json"]
    assert "with --init the shape is that of the model" in hcq(*asked, "--set", "model.width=128", code=2).err
    on = hcq(*asked, "-o", "on")
    assert on.json["epochs"] == 1 and "kept without a trial" in on.err and on.json["init"] is None
    loaded = checkpoint.load(workspace / "on")
    assert loaded.config == start.config and loaded.hash != start.hash
    # A step or three move it little: from random weights it would lie elsewhere.
    text = [caption(3)]
    assert np.abs(loaded.encode_texts(text) - start.encode_texts(text)).mean() < 0.05
    assert hcq(*asked, "-o", "on").json["trained_before"]
    assert not hcq(*asked).json["trained_before"] and hcq(*asked).json["trained_before"]

    with (workspace / "captions.jsonl").open("a") as file:
        for number in range(14, 20):
            file.write(json.dumps({"video": f"v{number:03d}.mp4", "caption": caption(number), "split": "val"}) + "\n")
    spoiling = ["--set", "training.optimizer_lr=3", "--set", "training.clip_norm=0"]
    spoiled = hcq(*asked, *spoiling, "-o", "spoiled").json
    assert not spoiled["init"]["kept"] and spoiled["metrics"]["epoch"] == 0
    assert spoiled["init"]["validated_on"] == "6 validation videos"
    assert checkpoint.model_hash(workspace / "spoiled") == checkpoint.model_hash(workspace / ".hcq" / "model")


def test_what_is_missing_is_named(hcq: Run, workspace: Path, tmp_path: Path) -> None:
    assert "--captions" in hcq("train", code=10).err
    assert "hcq extract" in hcq("train", "--captions", "captions.jsonl", "-w", "other", code=10).err
    assert "hcq train" in hcq("encode", code=10).err
    assert "hcq train" in hcq("eval", code=10).err
    assert "no recipe" in hcq("train", "--recipe", "nonsense", "--captions", "captions.jsonl", code=10).err
    assert "training.epochs" in hcq("train", "--set", "training.epoch=3", "--captions", "captions.jsonl", code=2).err
    said = hcq("train", "--captions", "captions.jsonl", "--set", "quantizer.codewords=512", code=2).err
    assert "1…256" in said
    assert "nothing to" in said or "quantizer.codewords" in said


def test_recipes_are_listed(hcq: Run) -> None:
    assert "default" in hcq("recipes").out
    names = [recipe["name"] for recipe in hcq("recipes", "--json").json["recipes"]]
    assert "default" in names
    json.dumps(names)
