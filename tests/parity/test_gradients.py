"""grads.npz and trajectory.npz: gradients of the whole objectives, and four steps of training."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import reference_losses as losses
import torch
from parity.comparing import GRADIENTS, VALUES, batch, close, model, relative_error
from reference_losses import Contrast
from reference_similarity import similarities
from reference_training import ReferenceEmbeddings, TrainingModel, official_view
from torch import Tensor

from hcq_cli.training.losses import dense_share


def contrast(golden: Any, **changed: Any) -> Contrast:
    return Contrast(coarse_weight=golden.config["cls_w"], fine_weight=golden.config["vlad_w"], **changed)


def hcq_objective(out: ReferenceEmbeddings, settings: Contrast, penalty: float, epoch: int, epochs: int) -> Tensor:
    ways = losses.directed(similarities(out, average=True))
    share = dense_share(epoch, epochs)
    return losses.hybrid_loss(*ways, settings, share) + (1 - share) * penalty * out.penalty


def objective(golden: Any, case: str, out: ReferenceEmbeddings) -> Tensor:
    config = golden.config
    if case.startswith("hcq"):
        full = case == "hcq_full"
        settings = contrast(golden, prior=config["prior"], code_weight=config["code_w"]) if full else contrast(golden)
        return hcq_objective(out, settings, config["reg_w"] if full else 0.0, config["ep_grad"], config["epochs"])
    if case == "dcmh":
        return losses.hashing_loss(out.texts[:, 0, 0], out.videos[:, 0]).total
    found = similarities(out, average=True)
    if case == "hct":
        settings = contrast(golden, coarse=(0.05, 0.07), fine=(0.06, 0.08))
        return losses.dense_loss(found.dense, found.dense.mT, settings)
    assert found.to_videos is not None and found.to_texts is not None
    return losses.ranking_loss(found.to_videos[0], found.to_texts[0].T, 0.05) + config["reg_w"] * out.penalty


def gradients(built: TrainingModel, names: list[str]) -> dict[str, Tensor]:
    have = {name: value.grad for name, value in built.named_parameters() if value.grad is not None}
    return official_view(names, have)


@pytest.mark.parametrize("case", ["hcq_default", "hcq_full", "hct", "jpq", "dcmh"])
def test_gradients(golden: Any, case: str) -> None:
    architecture = case.split("_")[0].upper()
    state = golden.arrays("hcq_state") | golden.under("siblings", f"{case}/state/")
    built = model(golden.config, state, architecture).train()
    captions = None if architecture == "HCQ" else 1
    loss = objective(golden, case, built(*batch(golden.under("batch", "in/"), captions)))
    loss.backward()
    wanted = golden.under("grads", f"{case}/")
    close(loss, wanted["loss"], f"grads/{case}/loss")
    names = [str(name) for name in wanted["gradnorm_names"]]
    found = gradients(built, list(state))
    assert {name for name in found if not name.endswith("_C_v")} == set(names)
    norms = np.array([float(found[name].norm()) for name in names])
    close(norms, wanted["gradnorm"], f"grads/{case}/gradnorm", GRADIENTS)
    # Each against itself too, where it is more than the rounding of larger ones.
    worth = wanted["gradnorm"] > 1e-4 * wanted["gradnorm"].max()
    close(norms[worth] / wanted["gradnorm"][worth], np.ones(worth.sum()), f"grads/{case}/each", GRADIENTS)
    for name, array in wanted.items():
        if name.startswith("grad/"):
            close(found[name.removeprefix("grad/")], array, f"grads/{case}/{name}", GRADIENTS)


def batches(golden: Any, noise: float) -> list[dict[str, np.ndarray]]:
    """The recorded batches, in order; `noise` is added to the features."""
    count = len({name.split("/")[0] for name in golden.arrays("trajectory") if re.match(r"batch\d+/", name)})
    random = np.random.default_rng(0)
    given = [golden.under("trajectory", f"batch{number}/") for number in range(count)]
    for arrays in given:
        for name in (name for name in arrays if name.startswith(("features/", "features_maxpool/"))):
            jitter = noise * random.standard_normal(arrays[name].shape)
            arrays[name] = (arrays[name] + jitter * (arrays[name] != 0)).astype(np.float32)
    return given


def train(golden: Any, noise: float = 0.0) -> tuple[np.ndarray, dict[str, Tensor]]:
    """Train as the reference does: every batch, then the k-means pass over what the epoch embedded.

    Returns:
        The loss of each step, and the final state by official name.
    """
    built = model(golden.config, golden.arrays("hcq_state")).train()
    optimizer = torch.optim.Adam(built.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.95)
    values = []
    for epoch in (1, 2):
        texts, videos = [], []
        for arrays in batches(golden, noise):
            built.normalize_codebooks()
            optimizer.zero_grad()
            out = built(*batch(arrays))
            texts.append(out.texts.detach())
            videos.append(out.videos.detach())
            loss = hcq_objective(out, contrast(golden), 0.0, epoch, 4)
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        built.cluster_codebooks(torch.cat(texts), torch.cat(videos))
        schedule.step()
    return np.array(values), official_view(golden.under("trajectory", "final/"), built.state_dict())


def test_trajectory(golden: Any) -> None:
    """Four steps end where the reference's end.

    Adam divides by the size of a gradient, so that where a gradient vanishes (a bias in front of a batch norm) mere
    rounding moves the weight by a whole step. How far that carries is seen in a twin whose inputs are 1e-6 off.
    """
    values, found = train(golden)
    noisy_values, noisy = train(golden, 1e-6)
    given, wanted = golden.arrays("trajectory"), golden.under("trajectory", "final/")
    recorded = relative_error(given["losses_noisy"], given["losses"])
    slack = 4 * max(recorded, relative_error(noisy_values, values))
    close(values, given["losses"], "trajectory/losses", VALUES + slack)
    for name, array in wanted.items():
        slack = 4 * relative_error(noisy[name], found[name].numpy())
        assert slack < 0.1, f"{name}: too noisy to compare"
        close(found[name], array, f"trajectory/{name}", VALUES + slack)
