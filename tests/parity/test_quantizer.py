"""pq.npz: outputs, gradients, statistics and k-means of the product quantizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from parity.comparing import GRADIENTS, close, load_part, same
from reference_training import ReferenceQuantized, TrainingQuantizer

from hcq_cli.importers.official.options import QuantizerOptions, quantizer_options

CASES = {
    "basic": {"pq_detach_opt": "none"},
    "caps": {"pq_detach_opt": "none"},
    "detach_features": {"pq_detach_opt": "features"},
    "detach_codewords": {"pq_detach_opt": "codewords"},
    "nobn_alpha5": {"add_BN": False, "alpha": 5.0},
    "topk3": {"mask_topK": 3},
    "dual": {"dual_codebooks": True, "alpha": 3.0},
}
"""Options by case; the README of the vectors overrules them where there is one."""

FIELDS = {"x_hat": "vectors", "soft_codes": "soft", "normalized": "chunks", "reg": "penalty"}


def quantizer(golden: Any, case: str) -> TrainingQuantizer:
    state = golden.under("pq", f"{case}/state/")
    books, count, chunk = state["_C_k"].shape
    # `features` is the constructor's default in the reference, which cases without the option were made with.
    given = {"alpha": golden.config["alpha"], "pq_detach_opt": "features", **CASES[case]}
    given |= golden.documented("pq", f"{case}/x") or {}
    built = TrainingQuantizer(quantizer_options({**given, "M": books, "K": count}), books * chunk)
    load_part(built, "quantizers.0.", state, "cls_pq_layer.")
    return built


def probe(out: ReferenceQuantized) -> torch.Tensor:
    """What the golden gradients were taken of."""
    along_width = torch.linspace(-1, 1, out.vectors.shape[-1])
    along_codes = torch.linspace(0, 1, out.soft.shape[-1])
    return (out.vectors * along_width).sum() + (out.soft * along_codes).sum() + out.penalty.sum()


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("case", CASES)
def test_forward_and_backward(golden: Any, case: str, mode: str) -> None:
    layer = quantizer(golden, case).train(mode == "train")
    x = torch.from_numpy(golden.arrays("pq")[f"{case}/x"]).clone().requires_grad_()
    wanted = golden.under("pq", f"{case}/{mode}/")
    out = layer(x)
    same(out.codes, wanted.pop("hard_codes"), f"{case} codes")
    for name, field in FIELDS.items():
        close(getattr(out, field), wanted.pop(name), f"pq/{case}/{mode}/{name}")
    probe(out).backward()
    close(x.grad, wanted.pop("grad_x"), f"pq/{case}/{mode}/grad_x", GRADIENTS)
    close(layer.codewords.grad, wanted.pop("grad_C_k"), f"pq/{case}/{mode}/grad_C_k", GRADIENTS)
    if "grad_C_v" in wanted:
        close(layer.values.grad, wanted.pop("grad_C_v"), f"pq/{case}/{mode}/grad_C_v", GRADIENTS)
    statistics = {f"post_BatchNorm.{name}": value for name, value in layer.norm.named_buffers()} if layer.norm else {}
    for name in list(wanted):
        close(statistics[name], wanted.pop(name), f"pq/{case}/{mode}/{name}")


@pytest.mark.parametrize("case", ["update_full", "update_sparse"])
def test_clustering(golden: Any, case: str) -> None:
    arrays = {name: torch.from_numpy(array) for name, array in golden.under("pq", f"{case}/").items()}
    books, count, chunk = arrays["C_before"].shape
    layer = TrainingQuantizer(QuantizerOptions(M=books, K=count), books * chunk)
    layer.codewords.data.copy_(arrays["C_before"])
    layer.cluster(arrays["text_embd"], arrays["vid_embd"])
    after = golden.arrays("pq")[f"{case}/C_after"]
    close(layer.codewords, after, f"pq/{case}")
    # Its defect too: a codeword that no point chose is zero from then on.
    same(layer.codewords.norm(dim=-1) == 0, np.linalg.norm(after, axis=-1) == 0, "dead codewords")


def test_every_case_is_here(golden: Any) -> None:
    assert set(golden.groups("pq")) == {*CASES, "update_full", "update_sparse", "normalise"}


def test_normalisation(golden: Any) -> None:
    before, after = (golden.arrays("pq")[f"normalise/{name}"] for name in ("before", "after"))
    layer = TrainingQuantizer(QuantizerOptions(M=len(before), K=before.shape[1]), before.shape[0] * before.shape[2])
    layer.codewords.data.copy_(torch.from_numpy(before))
    layer.normalize_codebooks()
    close(layer.codewords, after, "pq/normalise")
