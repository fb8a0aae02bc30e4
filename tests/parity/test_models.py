"""hcq.npz, variants.npz and siblings.npz: whole models, forward."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from parity.comparing import batch, close, model, same
from reference_similarity import Similarities, similarities
from reference_training import ReferenceEmbeddings, official_view

VARIANTS = {
    "out_tok_mnp": {"out_tok": "mnp"},
    "out_tok_sep": {"out_tok": "sep"},
    "pos_ordr": {"pos_enc": "ordr"},
    "pos_type": {"pos_enc": "type"},
    "pos_none": {"pos_enc": "none"},
    "txt_pro_gem": {"txt_pro": "gem"},
    "txt_pro_lin": {"txt_pro": "lin"},
    "txt_wgh_none": {"txt_wgh": "none"},
    "txt_agg_mxp": {"txt_agg": "bertftnmxp"},
    "txt_agg_mnp": {"txt_agg": "bertftnmnp"},
    "vid_inp_agg": {"vid_inp": "agg"},
    "no_normalize": {"normalize_experts": False},
}


def confusions(found: Similarities, out: ReferenceEmbeddings) -> dict[str, torch.Tensor]:
    """Similarities under the reference's names."""
    named = {}
    for ours, theirs in (
        (found.dense, "t2v_{}_conf_matrix"),
        (found.to_videos, "quant_vid_t2v_{}_conf_matrix"),
        (found.to_texts, "quant_text_t2v_{}_conf_matrix"),
        (found.codes, "quant_code_t2v_{}_conf_matrix"),
    ):
        if ours is not None:
            named |= {theirs.format("cls"): ours[0], theirs.format("vlad"): ours[1:]}
    if out.quantized_texts is not None:
        named |= {"quant_reg": out.penalty, "quant_err": out.error}
    return named


def embeddings(out: ReferenceEmbeddings) -> dict[str, torch.Tensor]:
    """Levels under the reference's names."""
    sides: dict[str, torch.Tensor] = {"text_{}_embd": out.texts, "vid_{}_embd": out.videos}
    if out.quantized_texts is not None and out.quantized_videos is not None:
        sides |= {
            "quant_text_{}_embd": out.quantized_texts.vectors,
            "quant_vid_{}_embd": out.quantized_videos.vectors,
        }
        sides |= {"quant_text_{}_code": out.quantized_texts.soft, "quant_vid_{}_code": out.quantized_videos.soft}
    named = {}
    for name, levels in sides.items():
        axis = 2 if "text" in name else 1
        named[name.format("cls")] = levels.select(axis, 0)
        named[name.format("vlad") + "s"] = levels.narrow(axis, 1, levels.shape[axis] - 1)
    return named | ({"quant_reg": out.penalty} if out.quantized_texts is not None else {})


def compare(found: dict[str, torch.Tensor], wanted: dict[str, np.ndarray], what: str) -> None:
    assert wanted
    for name, array in wanted.items():
        close(found[name], array, f"{what}/{name}")


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("architecture", ["HCQ", "HCT", "JPQ", "DCMH"])
@torch.no_grad()
def test_forward(golden: Any, architecture: str, mode: str) -> None:
    file, prefix = ("hcq", "") if architecture == "HCQ" else ("siblings", f"{architecture.lower()}/")
    state = golden.arrays("hcq_state") | golden.under(file, f"{prefix}state/")
    built = model(golden.config, state, architecture).train(mode == "train")
    out = built(*batch(golden.under("batch", "in/")))
    what = f"{architecture}/{mode}"
    if architecture == "DCMH":
        compare(embeddings(out), golden.under(file, f"{prefix}{mode}/"), what)
        return
    compare(embeddings(out), golden.under(file, f"{prefix}{mode}/embds/"), what)
    compare(confusions(similarities(out, mode == "train"), out), golden.under(file, f"{prefix}{mode}/conf/"), what)
    after = golden.under(file, f"{prefix}{mode}/post/")
    assert bool(after) == (what == "HCQ/train")
    for name, found in official_view(list(after), built.state_dict()).items():
        close(found, after.pop(name), f"{what}/post/{name}")
    assert not after


@torch.no_grad()
def test_codes_are_exact(golden: Any) -> None:
    """The chosen codewords stand in the quantized vectors: they are read back from there."""
    built = model(golden.config, golden.arrays("hcq_state"))
    out = built(*batch(golden.under("batch", "in/")))
    assert out.quantized_videos is not None
    state = golden.arrays("hcq_state")
    for level in range(golden.config["L"] + 1):
        layer = "cls_pq_layer" if level == 0 else f"vlad_pq_layers.{level - 1}"
        words = state[f"{layer}._C_k"]
        key = "quant_vid_cls_embd" if level == 0 else "quant_vid_vlad_embds"
        vectors = golden.arrays("hcq")[f"eval/embds/{key}"]
        chunks = (vectors if level == 0 else vectors[:, level - 1]).reshape(-1, len(words), words.shape[-1])
        codes = ((chunks[:, :, None] - words) ** 2).sum(-1).argmin(-1)
        same(out.quantized_videos.codes[:, level], codes, f"codes of level {level}")


@pytest.mark.parametrize("case", VARIANTS)
@torch.no_grad()
def test_variant(golden: Any, case: str) -> None:
    wanted = golden.under("variants", f"{case}/")
    changed = golden.documented("variants", f"{case}/vid_cls_embd") or VARIANTS[case]
    built = model(golden.config, golden.arrays("hcq_state"), **changed)
    compare(embeddings(built(*batch(golden.under("batch", "in/")))), wanted, f"variants/{case}")


def test_every_variant_is_here(golden: Any) -> None:
    assert {re.sub("/.*", "", name) for name in golden.arrays("variants")} == set(VARIANTS)
