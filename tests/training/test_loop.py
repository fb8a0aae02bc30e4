"""A run learns, repeats itself, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from faults import each_fault, faulty
from stopped_training import Stop, StopAfter
from toy_dataset import SMALL, video, write_captions, write_store

from hcq_cli.datasets.captions import read_captions
from hcq_cli.datasets.dataset import load_dataset
from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.features.store import FeatureStore
from hcq_cli.model import checkpoint
from hcq_cli.training import recipe as recipes
from hcq_cli.training import resume
from hcq_cli.training.data import TrainingData, training_data
from hcq_cli.training.loop import TrainingResult, train
from hcq_cli.training.progress import TrainingObserver

QUICK = [*SMALL, "training.epochs=4", "training.min_steps=12"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection")
    write_store(folder / "features", [video(n) for n in range(40)])
    write_captions(folder / "captions.jsonl", range(40))
    return folder


@pytest.fixture(scope="module")
def whole(place: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a quick run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run(place, folder)
    return weights(folder)


def data(place: Path) -> TrainingData:
    store = FeatureStore.open(place / "features")
    return training_data(store, load_dataset(store, read_captions(place / "captions.jsonl")))


def run(place: Path, folder: Path, *settings: str, **options: object) -> TrainingResult:
    return train(data(place), recipes.load("default", [*QUICK, *settings]), folder, **options)


def test_portions_of_a_batch_add_up_and_bfloat16_comes_out_near(place: Path, tmp_path: Path) -> None:
    whole = run(place, tmp_path / "whole", "training.epochs=1").metrics
    for name, setting in (("portions", "training.accumulate=4"), ("bfloat16", "training.amp=on")):
        found = run(place, tmp_path / name, "training.epochs=1", setting).metrics
        assert weights(tmp_path / name) != weights(tmp_path / "whole")
        near = 0.02 if name == "bfloat16" else 0.6  # a portion has fewer negatives
        assert found["loss"] == pytest.approx(whole["loss"], rel=near)
        assert np.isfinite(found["loss"]) and found["used_codewords"] > 50


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_seed_repeats_itself_and_another_does_not(place: Path, tmp_path: Path, whole: bytes) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        run(place, tmp_path / name, f"training.seed={seed}")
    assert whole == weights(tmp_path / "a") != weights(tmp_path / "b")


LEARNED = ("codebook.update=both", "loss.distill=1.0", "quantizer.gradient=soft")
ROTATED = ("quantizer.rotation=all", "codebook.refit=0.6", "training.accumulate=3")


@pytest.mark.parametrize("settings", [(), LEARNED, ROTATED])
def test_an_interrupted_run_ends_bit_equal(
    place: Path, tmp_path: Path, whole: bytes, settings: tuple[str, ...]
) -> None:
    if settings:
        run(place, tmp_path / "whole", *settings)
        whole = weights(tmp_path / "whole")
    for epoch in (1, 3):
        with pytest.raises(Stop):
            run(place, tmp_path / "parts", *settings, observer=StopAfter(epoch))
        assert not (tmp_path / "parts" / "config.json").exists()
    run(place, tmp_path / "parts", *settings, must_resume=True)
    assert weights(tmp_path / "parts") == whole
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert not (tmp_path / "parts" / "resume").exists()


KILLED = """
import sys, os, signal
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_loop import *
class Kill(TrainingObserver):
    def on_step_end(self, report):
        if report.step == 8:
            os.kill(os.getpid(), signal.SIGKILL)
run(Path(sys.argv[1]), Path(sys.argv[2]), observer=Kill())
"""


@pytest.mark.long
def test_sigkill_inside_an_epoch(place: Path, tmp_path: Path, whole: bytes) -> None:
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, [here.parent, here.parent / "support", here.parents[1]]))
    command = [sys.executable, "-c", KILLED, str(place), str(tmp_path / "killed"), str(here)]
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    run(place, tmp_path / "killed")
    assert weights(tmp_path / "killed") == whole


def test_resume_demands_the_same_run(place: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        run(place, tmp_path / "a", must_resume=True)
    with pytest.raises(Stop):
        run(place, tmp_path / "a", observer=StopAfter(1))
    with pytest.raises(HcqError, match="another recipe or other data"):
        run(place, tmp_path / "a", "training.seed=9", must_resume=True)
    assert run(place, tmp_path / "a", "training.seed=9").epochs == 4


def test_it_learns_and_uses_its_codewords(place: Path, tmp_path: Path) -> None:
    found = run(place, tmp_path / "a", "training.epochs=10", "training.min_steps=80")
    assert found.metrics["batch_R1"] > 40  # 16 kinds of video in batches of 14: luck gives 7
    assert found.metrics["used_codewords"] > 90
    about = checkpoint.read_header(tmp_path / "a").about
    assert about["recipe"]["training"]["epochs"] == 10


def test_validation_chooses_the_epoch_and_test_videos_are_not_seen(tmp_path: Path) -> None:
    write_store(tmp_path / "features", [video(n) for n in range(30)])
    lines = []
    for name, numbers in (("train", range(20)), ("val", range(20, 26)), ("test", range(26, 30))):
        lines.append(write_captions(tmp_path / "part", numbers, name).read_text())
    (tmp_path / "captions.jsonl").write_text("".join(lines))
    found = data(tmp_path)
    assert len(found.train) == 20 and len(found.validation) == 6
    assert not set(found.train.rows) & {
        FeatureStore.open(tmp_path / "features").row(f"v{n:03d}.mp4") for n in range(26, 30)
    }
    done = run(tmp_path, tmp_path / "a")
    lines = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    kept = lines[done.metrics["epoch"] - 1]
    figures = [m["t2v"]["R1"] + m["t2v"]["R10"] + m["v2t"]["R1"] for m in (line["validation"] for line in lines)]
    validation = kept["validation"]
    assert validation["t2v"]["R1"] + validation["t2v"]["R10"] + validation["v2t"]["R1"] == max(figures)


class Listening(TrainingObserver):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, sentence: str) -> None:
        self.said.append(sentence)


def test_fewer_vectors_than_codewords_one_video_and_a_silent_expert(tmp_path: Path) -> None:
    write_store(tmp_path / "features", [video(0, absent=("audio",))])
    write_captions(tmp_path / "captions.jsonl", range(3))
    ear = Listening()
    run(tmp_path, tmp_path / "a", observer=ear)
    said = "\n".join(ear.said)
    for part in (
        "2 videos of the caption file without features",
        "tokens of audio",
        "one video only",
        "3 codewords a sub",
    ):
        assert part in said
    model = checkpoint.load(tmp_path / "a")
    assert list(model.config.experts) == ["appearance"]
    assert np.isfinite(model.codebooks).all()


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    broken = video(1)
    broken.tokens["audio"].features[0, 0] = np.nan
    write_store(tmp_path / "features", [video(0), broken])
    write_captions(tmp_path / "captions.jsonl", range(2))
    with pytest.raises(HcqError, match=r"audio.*NaN"):
        run(tmp_path, tmp_path / "a")


def test_not_a_number_that_no_statistics_see_is_refused_too(tmp_path: Path) -> None:
    """Without standardising nothing looks at the features beforehand; the batch does, before any step."""
    broken = video(1)
    broken.tokens["audio"].features[0, 0] = np.nan
    write_store(tmp_path / "features", [video(0), broken, video(2)])
    write_captions(tmp_path / "captions.jsonl", range(3))
    with pytest.raises(HcqError, match=r"audio.*NaN") as caught:
        run(tmp_path, tmp_path / "a", "video.standardize=false")
    assert "hcq features verify" in caught.value.hint
    assert not (tmp_path / "a" / "config.json").exists()


DIVERGING = ("training.optimizer_lr=1e8", "training.codeword_lr=1e8", "training.clip_norm=0")


def test_a_training_that_diverges_stops_and_keeps_the_model_before_it(
    place: Path, tmp_path: Path, whole: bytes
) -> None:
    with pytest.raises(HcqError, match=r"diverged.*no checkpoint was written$") as caught:
        run(place, tmp_path / "a", *DIVERGING)
    assert "training.optimizer_lr=1e+07" in caught.value.hint and caught.value.exit_code == 1
    assert not (tmp_path / "a" / "config.json").exists()
    run(place, tmp_path / "b")
    with pytest.raises(HcqError, match="the one before it is kept"):
        run(place, tmp_path / "b", *DIVERGING)
    assert weights(tmp_path / "b") == whole
    for path in tmp_path.rglob("*.json*"):
        assert "NaN" not in path.read_text() and "Infinity" not in path.read_text(), path


def test_a_last_step_that_spoils_the_weights_is_noticed(place: Path, tmp_path: Path) -> None:
    """Its own loss is finite, and no step comes after it that would tell."""
    settings = ("training.epochs=1", "training.min_steps=1", "training.batch_size=40", "training.warmup=0")
    with pytest.raises(HcqError, match="diverged"):
        run(place, tmp_path / "a", *settings, "training.optimizer_lr=1e39", "training.clip_norm=0")
    assert not (tmp_path / "a" / "config.json").exists()


@pytest.mark.parametrize("stride", [pytest.param(149, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def test_a_fault_at_any_call_of_a_training_leaves_the_old_or_the_new_model(
    place: Path, tmp_path: Path, stride: int
) -> None:
    """Killed before or after any write, sync, rename and removal, or with the disk full there; then run again."""
    collection, recipe = data(place), recipes.load("default", [*SMALL, "training.epochs=2", "training.min_steps=2"])
    other = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=1))
    train(collection, other, tmp_path / "old")
    old = checkpoint.model_hash(tmp_path / "old")

    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*")}

    def work() -> None:
        train(collection, recipe, shutil.copytree(tmp_path / "old", tmp_path / "new", dirs_exist_ok=True))

    faults = list(each_fault(work, stride))
    new, after = checkpoint.model_hash(tmp_path / "new"), files(tmp_path / "new")
    for at, kind in faults:
        folder = shutil.copytree(tmp_path / "old", tmp_path / "run")
        with suppress(OSError, HcqError), faulty(at, kind):
            train(collection, recipe, folder)
        assert checkpoint.load(folder).hash in (old, new), (at, kind)
        if resume.finished(folder, collection.fingerprint(recipe)) is None:
            train(collection, recipe, folder)
        assert (checkpoint.load(folder).hash, files(folder)) == (new, after), (at, kind)
        shutil.rmtree(folder)
