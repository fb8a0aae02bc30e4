"""A training from a program: what it is told, what comes back."""

from __future__ import annotations

import pytest

import hcq_cli as hcq
from hcq_cli.api.training import caption_file, clock, describe_recipe, recipe_names
from hcq_cli.errors import NotFoundError, UsageError

SMALL = ["model.width=16", "model.levels=1", "text.width=16", "text.ffn=16", "text.heads=2", "text.layers=1"]
SMALL += ["video.ffn=16", "video.heads=2", "video.layers=1", "quantizer.codebooks=4", "quantizer.codewords=8"]
SMALL += ["training.epochs=2", "training.min_steps=0", "text.vocabulary=200"]


def test_a_small_training(workspace, told, tmp_path):
    run = tmp_path / "run"
    done = hcq.train(workspace, settings=SMALL, output=run, progress=told)
    assert (done.checkpoint, done.epochs, done.videos) == (run, 2, 14)
    assert (run / "model.safetensors").is_file()
    assert sum("epoch" in note for note in told.notes) >= 2
    assert set(done.warnings) <= set(told.warnings)


def test_what_is_wrong_is_told_before_torch_is_loaded(workspace, tmp_path):
    with pytest.raises(UsageError):
        hcq.train(workspace, settings=["no.such=1"])
    with pytest.raises(NotFoundError, match="no captions given"):
        hcq.train(hcq.Workspace(tmp_path), features=workspace.features)
    assert caption_file(workspace) == workspace.captions


def test_recipes_are_described():
    described = describe_recipe("msrvtt-1ka")
    assert described["bytes_per_video"] == 256 and described["name"] == "msrvtt-1ka"
    assert {"default", "few", "demo"} <= set(recipe_names())


def test_clock():
    assert (clock(0), clock(61.9), clock(3600)) == ("0:00", "1:01", "60:00")
