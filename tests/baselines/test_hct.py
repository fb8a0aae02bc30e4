"""HCT has dense vectors alone; how long the towers of the others train as it does."""

from __future__ import annotations

import dataclasses

import pytest
from small_baselines import baseline
from small_models import CAPTIONS

from hcq_cli.baselines.hct import dense_epochs
from hcq_cli.errors import HcqError
from hcq_cli.training import recipe as recipes


def test_hct_says_that_it_has_no_codes() -> None:
    model = baseline("hct")
    for ask in (lambda: model.codebooks, lambda: model.quantize(model.encode_texts(CAPTIONS), "texts")):
        with pytest.raises(HcqError, match="dense vectors alone") as caught:
            ask()
        assert "--compress" in caught.value.hint


def test_a_share_of_the_epochs_is_dense_at_least_one_and_not_all() -> None:
    recipe = recipes.load("default", ["model.kind=jpq"])

    def epochs(total: int, share: float) -> int:
        training = dataclasses.replace(recipe.training, epochs=total)
        sibling = dataclasses.replace(recipe.sibling, dense=share)
        return dense_epochs(dataclasses.replace(recipe, training=training, sibling=sibling))

    assert [epochs(10, 0.5), epochs(10, 0), epochs(10, 1), epochs(1, 0.5)] == [5, 1, 9, 1]
