"""hcq recipes: the list, one recipe, and the runs of its sweep."""

from __future__ import annotations

import shlex

from hcq_cli.training.recipe import load, names


def test_list(hcq) -> None:
    document = hcq("recipes", "--json").json
    assert [recipe["name"] for recipe in document["recipes"]] == names()
    found = {recipe["name"]: recipe for recipe in document["recipes"]}
    assert found["lsmdc"]["bytes_per_video"] == 256
    assert found["msrvtt-1ka"]["sweep"]["model.levels"] == [1, 3, 7, 15, 31]
    assert "text.encoder=roberta-large" in found["msrvtt-1ka"]["variants"]
    assert "lsmdc" in hcq("recipes").out


def test_one(hcq) -> None:
    said = hcq("recipes", "activitynet").out
    assert "loss.temperature" in said and "0.07" in said
    assert hcq("recipes", "activitynett", code=10).err.count("did you mean activitynet?") == 1


def test_the_runs_of_a_sweep_are_options_of_train(hcq) -> None:
    lines = hcq("recipes", "msrvtt-1ka", "--sweep").out.splitlines()
    assert len(lines) == 23 and lines[0] == "--recipe msrvtt-1ka"
    _, name, _, setting = shlex.split(next(line for line in lines if "levels=15" in line))
    assert load(name, [setting]).model.levels == 15
    assert hcq("recipes", "msrvtt-1ka", "--sweep", "--json").json["runs"][0] == ["--recipe", "msrvtt-1ka"]


def test_a_file_of_ones_own(hcq, tmp_path) -> None:
    (tmp_path / "mine.toml").write_text('inherit = "lsmdc"\n[training]\nepochs = 3\n')
    assert hcq("recipes", "mine.toml", "--json").json["recipes"][0]["training"]["epochs"] == 3
