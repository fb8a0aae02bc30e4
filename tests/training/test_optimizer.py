"""Step sizes over a run, who gets which, and a state that is read back without a pickle."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from small_models import model

from hcq_cli.training import recipe as recipes
from hcq_cli.training.config import TrainingConfig
from hcq_cli.training.optimizer import (
    build_optimizer,
    learning_rate_factor,
    load_optimizer,
    save_optimizer,
    set_learning_rate,
)


def test_the_cosine_rises_and_falls_and_the_exponential_falls_an_epoch_at_a_time() -> None:
    cosine = TrainingConfig(schedule="cosine", warmup=0.2)
    found = [learning_rate_factor(cosine, step, 10, 0) for step in range(10)]
    assert found[:2] == [0.5, 1.0] and found[2] == 1.0
    assert found[6] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert all(a >= b for a, b in itertools.pairwise(found[2:]))
    falling = TrainingConfig(schedule="exponential", decay=0.9, warmup=0.0)
    assert [learning_rate_factor(falling, step, 10, step // 5) for step in (0, 4, 5)] == [1.0, 1.0, 0.9]


@pytest.mark.parametrize(("update", "learned"), [("kmeans", False), ("gradient", True), ("both", True)])
def test_codewords_have_a_gradient_unless_k_means_alone_moves_them(update: str, learned: bool) -> None:
    network = model().network
    optimizer = build_optimizer(network, recipes.load("default", [f"codebook.update={update}"]))
    assert network.quantizer.codewords.requires_grad == learned
    sizes = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert sizes[id(network.quantizer.codewords)] == recipes.load().training.codeword_lr
    assert len(sizes) == len(list(network.parameters()))  # each in one group


def test_a_pretrained_text_encoder_has_a_step_size_of_its_own_and_all_are_scaled_alike() -> None:
    network = model().network
    recipe = recipes.load(
        "default", ["text.encoder=some/folder", "training.text_lr=0.5", "training.optimizer_lr=2.0"]
    )
    optimizer = build_optimizer(network, recipe)
    set_learning_rate(optimizer, 0.1)
    sizes = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {sizes[id(p)] for p in network.text_encoder.parameters()} == {0.05}
    assert sizes[id(network.text_coarse.parameters().__next__())] == 0.2


def test_a_state_that_was_written_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    recipe, weights = recipes.load(), []
    for interrupted in (False, True):
        network = model().network
        optimizer = build_optimizer(network, recipe)
        for step in range(3):
            for number, parameter in enumerate(network.parameters()):
                parameter.grad = torch.full_like(parameter, math.sin(number + step))
            optimizer.step()
            if interrupted:
                save_optimizer(optimizer, tmp_path / "state.safetensors")
                optimizer = build_optimizer(network, recipe)
                load_optimizer(optimizer, tmp_path / "state.safetensors")
        weights.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    assert torch.equal(*weights)
