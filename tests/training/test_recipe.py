"""Recipes inherit, settings override, and mistakes are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.model.config import ModelConfig
from hcq_cli.training import recipe as recipes


def test_the_default_is_256_bytes_and_every_recipe_loads() -> None:
    assert recipes.load().model.bytes_per_video == 256
    for name in recipes.names():
        assert recipes.load(name).description


def test_settings_are_laid_over_files_that_inherit(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("inherit = 'default'\n[training]\nepochs = 4\nbatch_size = 8\n")
    mine = tmp_path / "mine.toml"
    mine.write_text("inherit = 'base.toml'\n[training]\nepochs = 5\n[text]\nencoder = 'minilm'\n")
    found = recipes.load(str(mine), ["loss.temperature=0.1", "text.encoder=/a/folder", "training.seed=3"])
    assert (found.training.epochs, found.training.batch_size, found.training.seed) == (5, 8, 3)
    assert (found.model.text.encoder, found.loss.temperature) == ("/a/folder", 0.1)
    assert found.model.width == recipes.load().model.width


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("training.epoch=3", "did you mean recipe.training.epochs"),
        ("trainng.epochs=3", "did you mean training"),
        ("training.epochs=many", "is not a whole number"),
        ("training.epochs=0", "makes no sense"),
        ("quantizer.codewords=300", "out of range 1…256"),
        ("quantizer.codebooks=7", "does not divide"),
        ("training", "not of the form"),
        ("model.experts=1", "cannot be set"),
        ("quantizer.gradient=magic", "known are identity, soft --set quantizer.gradient="),
    ],
)
def test_mistakes_are_named(setting: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipes.load("default", [setting])
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_unknown_names_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no recipe 'defalt'") as caught:
        recipes.load("defalt")
    assert "default" in caught.value.hint
    broken = tmp_path / "x.toml"
    broken.write_text("[training\n")
    with pytest.raises(UsageError, match=r"x\.toml"):
        recipes.load(str(broken))
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    for strange in ("pipe.toml", "endless.toml"):
        broken.write_text(f"inherit = '{strange}'\n")
        with pytest.raises(NotFoundError, match=f"{strange}: cannot be read"):
            recipes.load(str(broken))
    broken.write_text(f"inherit = '{broken}'\n")
    with pytest.raises(HcqError, match="inherits from itself"):
        recipes.load(str(broken))


def test_a_config_survives_json() -> None:
    config = recipes.load().model
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert sum(config.level_weights) == pytest.approx(1)


def test_without_a_name_the_number_of_videos_and_what_is_installed_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recipes.suited(500)[:2] == ("default", [])
    for found, chosen in ((object(), ["text.encoder=minilm"]), (None, [])):
        monkeypatch.setattr(recipes, "find_spec", lambda name, found=found: found)
        name, settings, why = recipes.suited(47, ["training.epochs=3"])
        assert (name, settings) == ("few", chosen) and "47 captioned videos are few" in why
        assert ("hcq[offline]" in why) == (found is None)
        assert recipes.suited(47, ["text.encoder=scratch"])[:2] == ("few", [])
