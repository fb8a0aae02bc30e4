"""Adam, its step size over the run, and its state without a pickle."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from hcq_cli.model.checkpoint import write_tensors
from hcq_cli.model.hcq import DualEncoder
from hcq_cli.training.config import Recipe, TrainingConfig


def build_optimizer(network: DualEncoder, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over three groups: a pretrained text encoder, the codewords, and everything else."""
    training = recipe.training
    words = [codewords for name, codewords in network.named_parameters() if name == "quantizer.codewords"]
    pretrained = list(network.text_encoder.parameters()) if recipe.model.text.encoder != "scratch" else []
    # By identity: `in` would compare tensors number by number.
    apart = {id(parameter) for parameter in (*words, *pretrained)}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in apart]
    for codewords in words:
        codewords.requires_grad_(recipe.model.kind != "hcq" or recipe.codebook.update != "kmeans")
    groups = [
        {"params": rest, "lr": training.optimizer_lr, "weight_decay": training.weight_decay},
        # No decay: codewords are places among the vectors, and zero is no better a place than another.
        {"params": words, "lr": training.codeword_lr, "weight_decay": 0.0},
        {"params": pretrained, "lr": training.text_lr, "weight_decay": training.weight_decay},
    ]
    filled = [{**group, "initial_lr": group["lr"]} for group in groups if group["params"]]
    return torch.optim.AdamW(filled, fused=True)


def learning_rate_factor(training: TrainingConfig, step: int, steps: int, epoch: int) -> float:
    """What every step size is multiplied by.

    Args:
        training: schedule, decay and warm-up.
        step: which step, from 0.
        steps: of the whole run.
        epoch: which epoch, from 0.
    """
    warm = training.warmup * steps
    rising = min((step + 1) / warm, 1.0) if warm >= 1 else 1.0
    if training.schedule == "exponential":
        return rising * training.decay**epoch
    along = max(step - warm, 0) / max(steps - warm, 1)
    return rising * 0.5 * (1 + math.cos(math.pi * min(along, 1.0)))


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group `factor` times its own step size.

    By hand and not by torch's schedulers: a factor that is a function of the step needs no state to be resumed.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def save_optimizer(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Write Adam's moments and step counts."""
    state: dict[str, Tensor] = {}
    for at, values in optimizer.state_dict()["state"].items():
        # A copy, because safetensors refuses tensors that share memory.
        state |= {f"{at}.{name}": value.detach().clone() for name, value in values.items()}
    write_tensors(state, path)


def load_optimizer(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Read back what `save_optimizer` wrote, into an optimizer of the same parameters."""
    from safetensors.torch import load_file

    state: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(path).items():
        at, _, name = key.partition(".")
        state.setdefault(int(at), {})[name] = value
    # The groups hold settings, not state: they are the recipe's, of the optimizer that is filled.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
