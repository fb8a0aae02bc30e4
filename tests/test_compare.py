"""examples/compare.py on a tiny feature set, run as a reader would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
QUICK = ["training.epochs=2", "training.min_steps=0", "model.width=32", "text.width=32", "quantizer.codewords=16"]
SIZES = {"train": 48, "val": 4, "test": 12}
COLOURS = ("red", "green", "blue", "black")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of a colour each, in the layout that the script's help describes; some lack sound."""
    place, rng = tmp_path_factory.mktemp("set"), np.random.default_rng(0)
    lines = []
    with h5py.File(place / "features.h5", "w") as file:
        for split, count in SIZES.items():
            colours = rng.integers(0, 4, count)
            file[f"{split}/latents"] = colours
            for expert, dim in (("look", 12), ("sound", 6)):
                counts = rng.integers(0 if expert == "sound" else 1, 4, count)
                meaning = np.random.default_rng(dim).normal(size=(4, dim))
                tokens = meaning[np.repeat(colours, counts)] + 0.3 * rng.normal(size=(counts.sum(), dim))
                file[f"{split}/{expert}/tokens"] = tokens.astype(np.float16)
                file[f"{split}/{expert}/times"] = np.full(len(tokens), np.nan, np.float32)
                file[f"{split}/{expert}/offsets"] = np.concatenate([[0], np.cumsum(counts)])
            lines += [
                {
                    "split": split,
                    "index": i,
                    "video": f"{split}{i}",
                    "captions": [f"a {COLOURS[c]} thing", f"{COLOURS[c]} {i}"],
                }
                for i, c in enumerate(colours)
            ]
    (place / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


def compare(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    settings = [part for setting in QUICK for part in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "examples/compare.py", *settings, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.long
def test_every_model_gives_a_row(folder: Path) -> None:
    models = "hcq,hct,jpq,dcmh,posthoc,linear"
    done = compare(
        "--data", str(folder), "--models", models, "--bytes", "32", "--compress", "pq,pq-whole,rotation", "--json"
    )
    rows = {row["model"]: row for row in json.loads(done.stdout)}
    posthoc = {"posthoc-pq", "posthoc-pq-whole", "posthoc-rotation"}
    assert set(rows) == {"hcq", "hct", "jpq", "dcmh", "linear"} | posthoc
    for name, row in rows.items():
        assert {"model", "bytes_per_video", "seed", "t2v", "v2t", "dense", "used_codewords", "step_s"} <= set(row)
        for way in ("t2v", "v2t"):
            assert 0 <= row[way]["R1"] <= row[way]["R10"] <= 100
        if name not in ("hct", "linear"):
            assert row["bytes_per_video"] == 32
    assert rows["hcq"]["used_codewords"] > 50 and rows["hcq"]["step_s"] > 0
    assert rows["hct"]["bytes_per_video"] == 8 * 32 * 4


@pytest.mark.slow
def test_folds_test_each_video_once_and_choose_inside_their_training_part(folder: Path) -> None:
    done = compare(
        "--data",
        str(folder),
        "--models",
        "hcq",
        "--folds",
        "2",
        "--choose",
        "",
        "--choose",
        "video.layers=1",
        "--json",
    )
    assert [row["fold"] for row in json.loads(done.stdout)] == [0, 1]
    told = compare("--data", str(folder), "--models", "linear", "--seeds", "2")
    assert "linear" in told.stdout and told.stderr.count("seed 1") == 1


@pytest.mark.long
def test_several_sizes_share_one_dense_model(folder: Path) -> None:
    done = compare(
        "--data", str(folder), "--models", "hcq,hct,posthoc", "--bytes", "32,16", "--compress", "pq", "--json"
    )
    found = [(row["model"], row["bytes_per_video"]) for row in json.loads(done.stdout)]
    assert found == [("hct", 1024), ("posthoc-pq", 32), ("posthoc-pq", 16), ("hcq", 32), ("hcq", 16)]


@pytest.mark.long
def test_what_makes_no_sense_is_said(folder: Path) -> None:
    assert "unknown models" in compare("--data", str(folder), "--models", "hqc", code=2).stderr
    for wrong in ("60", "64,60", "0", "many"):
        done = compare("--data", str(folder), "--models", "hcq", "--bytes", wrong, code=2)
        assert "multiple of 8 levels" in done.stderr
