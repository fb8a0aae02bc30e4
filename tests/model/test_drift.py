"""Videos that a model was not made for lie together in it, and that is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from in_process import run_here
from toy_dataset import SMALL, video, write_captions, write_store

from experts.base import Tokens
from hcq_cli.datasets.captions import read_captions
from hcq_cli.datasets.dataset import load_dataset
from hcq_cli.features.store import FeatureStore
from hcq_cli.model import checkpoint
from hcq_cli.model.drift import REFIT, drift, mean_loss, mean_nearness
from hcq_cli.model.trained_model import Model
from hcq_cli.training import recipe as recipes
from hcq_cli.training.data import training_data
from hcq_cli.training.loop import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, FeatureStore, Path]:
    folder = tmp_path_factory.mktemp("trained")
    store = FeatureStore.open(write_store(folder / "features", [video(n) for n in range(40)]))
    data = training_data(store, load_dataset(store, read_captions(write_captions(folder / "c.jsonl", range(40)))))
    settings = [*SMALL, "training.epochs=8", "training.min_steps=80"]
    train(data, recipes.load("default", settings), folder / "run")
    return checkpoint.load(folder / "run"), store, folder / "run"


def test_nearness_is_the_mean_over_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    flat = vectors.reshape(5, 6) / np.linalg.norm(vectors.reshape(5, 6), axis=1, keepdims=True)
    pairs = [flat[i] @ flat[j] for i in range(5) for j in range(5) if i != j]
    assert mean_nearness(vectors, [0.5, 0.5]) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_the_loss_is_what_no_multiple_of_a_code_gives_back() -> None:
    rng = np.random.default_rng(0)
    vectors, coded = (rng.normal(size=(5, 2, 3)).astype(np.float32) for _ in range(2))
    lost = []
    for vector, code in zip(vectors.reshape(5, 6), coded.reshape(5, 6), strict=True):
        rest = vector - code * (vector @ code) / (code @ code)
        lost.append(rest @ rest / (vector @ vector))
    assert mean_loss(vectors, coded) == pytest.approx(np.mean(lost), abs=1e-6)
    assert mean_loss(vectors, 3 * vectors) == pytest.approx(0, abs=1e-6)


def test_videos_of_the_training_and_new_ones_like_them_are_known(
    trained: tuple[Model, FeatureStore, Path], tmp_path: Path
) -> None:
    model, store, _ = trained
    assert drift(model, store, None) < REFIT / 2
    like = write_store(tmp_path / "features", [video(n) for n in range(100, 130)])
    assert drift(model, FeatureStore.open(like), None) < REFIT


def test_videos_of_another_kind_are_said(trained: tuple[Model, FeatureStore, Path], tmp_path: Path) -> None:
    others = []
    for n in range(20):
        other = video(n, absent=("audio",))
        rng = np.random.default_rng(n)
        far = (40 + rng.normal(size=(3, 12))).astype(np.float32)  # all far away, in one direction
        other.tokens["appearance"] = Tokens(far, np.arange(3, dtype=np.float32))
        others.append(other)
    shutil.copytree(trained[2], tmp_path / "model")
    write_store(tmp_path / "features", others)
    assert drift(trained[0], FeatureStore.open(tmp_path / "features"), None) >= REFIT
    said = run_here("encode", "-w", tmp_path).err
    assert "trained on other videos than these" in said and "hcq fit" in said
    run_here("index", "build", "-w", tmp_path)
    assert "refit" in run_here("index", "info", "-w", tmp_path).err
    assert run_here("index", "info", "-w", tmp_path, "--json").json["drift"] >= REFIT
    few = FeatureStore.open(write_store(tmp_path / "few", others[:5]))
    assert drift(trained[0], few, None) is None


@pytest.mark.parametrize("fitted", [["loss"], {"loss": "much"}, "loss"])
def test_what_a_stranger_says_of_fitting_is_no_number(
    trained: tuple[Model, FeatureStore, Path], tmp_path: Path, fitted: object
) -> None:
    shutil.copytree(trained[2], tmp_path / "model")
    config = tmp_path / "model" / checkpoint.CONFIG_FILE
    said = json.loads(config.read_text())
    del said["checksum"]
    checkpoint.write_signed(config, {**said, "about": {**said["about"], "fitted": fitted}})
    run_here("encode", trained[1].folder, "-w", tmp_path)
