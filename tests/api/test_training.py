"""A training from a program: what it is told, what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

import hcq_cli as hcq
from hcq_cli.api.checkpoints import find_checkpoint, trained_models
from hcq_cli.api.training import (
    caption_file,
    clock,
    describe_recipe,
    recipe_names,
    what_to_expect,
)
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.model.checkpoint import VIDEO_FILE

SMALL = ["model.width=16", "model.levels=1", "text.width=16", "text.ffn=16", "text.heads=2", "text.layers=1"]
SMALL += ["video.ffn=16", "video.heads=2", "video.layers=1", "quantizer.codebooks=4", "quantizer.codewords=8"]
SMALL += ["training.epochs=2", "training.min_steps=0", "text.vocabulary=200"]


def test_a_small_training(workspace, told, tmp_path):
    run = tmp_path / "run"
    done = hcq.train(workspace, settings=SMALL, output=run, progress=told)
    assert (done.checkpoint, done.epochs, done.videos) == (run, 2, 14)
    assert (run / "model.safetensors").is_file() and (run / VIDEO_FILE).is_file()
    assert sum("epoch" in note for note in told.notes) >= 2
    assert set(done.warnings) <= set(told.warnings)


def test_what_is_wrong_is_told_before_torch_is_loaded(workspace, tmp_path):
    with pytest.raises(UsageError):
        hcq.train(workspace, settings=["no.such=1"])
    with pytest.raises(NotFoundError, match="no captions given"):
        hcq.train(hcq.Workspace(tmp_path), features=workspace.features)
    with pytest.raises(NotFoundError, match="no interrupted training there"):  # nor are captions looked for
        hcq.train(hcq.Workspace(tmp_path), must_resume=True)
    assert caption_file(workspace) == workspace.captions
    with pytest.raises(NotFoundError) as none:  # training would replace the model that is to be measured
        caption_file(hcq.Workspace(tmp_path), None, "eval")
    assert none.value.hint == "hcq eval --captions FILE"


def test_recipes_are_described():
    described = describe_recipe("msrvtt-1ka")
    assert described["bytes_per_video"] == 256 and described["name"] == "msrvtt-1ka"
    assert {"default", "few", "demo"} <= set(recipe_names())


def test_clock():
    assert (clock(0), clock(61.9), clock(3600)) == ("0:00", "1:01", "60:00")


def test_a_finished_training_is_not_repeated_and_another_keeps_the_model_before_it(workspace, told, tmp_path):
    run = tmp_path / "run"
    first = hcq.train(workspace, settings=SMALL, output=run, progress=told)
    files = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    again = hcq.train(workspace, settings=SMALL, output=run, progress=told)
    assert again.trained_before and not first.trained_before
    assert (again.epochs, again.metrics, again.recipe) == (2, first.metrics, "few")
    assert any("trained before" in note for note in told.notes)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == files

    other = hcq.train(workspace, settings=[*SMALL, "training.seed=1"], output=run, progress=told)
    assert not other.trained_before and any("the model that was there is kept" in note for note in told.notes)
    (kept,) = (run / "earlier").iterdir()
    assert (kept / "model.safetensors").read_bytes() == files["model.safetensors"]

    here = hcq.Workspace(tmp_path)
    run.rename(here.model)
    assert [model["name"] for model in trained_models(here)] in (["", kept.name], [kept.name, ""])
    assert find_checkpoint(here, Path(kept.name)) == here.model / "earlier" / kept.name
    assert find_checkpoint(here) == here.model
    with pytest.raises(NotFoundError, match="no model is called so"):
        find_checkpoint(here, Path("0123"))


def test_a_damaged_model_is_trained_anew(workspace, tmp_path):
    run = tmp_path / "run"
    hcq.train(workspace, settings=SMALL, output=run)
    whole = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not hcq.train(workspace, settings=SMALL, output=run).trained_before
    assert (run / "model.safetensors").read_bytes() == whole


def test_what_hold_outs_found_is_said():
    found = {"captions": 56, "first": 9, "chance": 3.0, "videos": 19, "about_chance": False}
    assert what_to_expect(found) == (
        "new videos: 9 of 56 captions found their video first among 19 that the model had not seen; chance finds 3"
    )
    assert what_to_expect({**found, "about_chance": True}).startswith("new videos: about chance: 9 of 56")
