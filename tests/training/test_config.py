"""Numbers that make no sense are refused by the name that `--set` knows them by."""

from __future__ import annotations

import dataclasses

import pytest

from hcq_cli.errors import UsageError
from hcq_cli.training.config import CodebookConfig, Recipe


def test_the_defaults_make_sense_and_survive_json() -> None:
    recipe = Recipe().check()
    assert recipe.to_dict()["codebook"] == dataclasses.asdict(CodebookConfig())


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("training", "seed", -1),
        ("training", "warmup", 1.0),
        ("training", "amp", "maybe"),
        ("training", "accumulate", 0),
        ("loss", "temperature", 0.0),
        ("loss", "prior", 1.0),
        ("codebook", "update", "magic"),
        ("codebook", "refit_every", 0),
        ("sibling", "dense", 1.5),
        ("sibling", "negatives", 0),
    ],
)
def test_a_number_that_makes_no_sense_is_named(table: str, key: str, value: object) -> None:
    changed = dataclasses.replace(getattr(Recipe(), table), **{key: value})
    with pytest.raises(UsageError) as caught:
        dataclasses.replace(Recipe(), **{table: changed}).check()
    assert caught.value.message == f"{table}.{key} = {value!r} makes no sense"
    assert caught.value.hint == f"--set {table}.{key}=…"
