"""similarity.npz and losses.npz; where our own losses agree with the reference's, they are held to them too."""

from __future__ import annotations

import re
from typing import Any

import pytest
import reference_losses as losses
import torch
from parity.comparing import close, tensors
from reference_losses import Contrast, Directed
from reference_similarity import code_products, level_cosines
from torch import Tensor

from hcq_cli.training.losses import Pairs, dense_share
from hcq_cli.training.losses import info_nce as our_info_nce


def settings(golden: Any, prior: float = 0.0, code_weight: float = 0.0) -> Contrast:
    """The temperatures that the hybrid losses were recorded with."""
    weights = golden.config["cls_w"], golden.config["vlad_w"]
    return Contrast((0.05, 0.07), (0.06, 0.08), prior, *weights, code_weight)


def both_levels(golden: Any, way: str) -> Directed:
    """One direction's similarities, coarse and fine in one."""
    given = tensors(golden.under("losses", "in/"))
    levels = {
        kind: torch.cat([given[f"{kind}_cls_{way}_sims"][None], given[f"{kind}_vlad_{way}_sims"]])
        for kind in ("quant", "feat", "code")
    }
    return Directed(levels["quant"], levels["feat"], levels["code"])


@pytest.mark.parametrize("captions", ["avg", "indep"])
def test_similarities(golden: Any, captions: str) -> None:
    given = tensors(golden.under("similarity", "in/"))
    average = captions == "avg"
    coarse = given["text_cls"][:, :, None], given["vid_cls"][:, None]
    found = {
        "cls": level_cosines(*coarse, average)[0],
        "cls_raw": level_cosines(*coarse, average, normalize=False)[0],
        "vlad": level_cosines(given["text_vlad"], given["vid_vlad"], average),
        "cls_code": code_products(given["text_cls_code"][:, :, None], given["vid_cls_code"][:, None], average)[0],
        "vlad_code": code_products(given["text_vlad_code"], given["vid_vlad_code"], average),
    }
    wanted = golden.under("similarity", f"{captions}/")
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        close(found[name], array, f"similarity/{captions}/{name}")


def test_info_nce(golden: Any) -> None:
    given = tensors(golden.under("losses", "in/"))
    wanted = golden.under("losses", "infonce/")
    assert wanted
    for name, array in wanted.items():
        t2v, v2t = map(float, re.match(r"t([\d.]+)_([\d.]+)/", name).groups())
        kind = name.split("/")[1]
        terms = losses.info_nce(given[f"{kind}_t2v_sims"], t2v) + losses.info_nce(given[f"{kind}_v2t_sims"], v2t)
        close(terms.mean(), array, f"losses/infonce/{name}")


def test_debiased_info_nce(golden: Any) -> None:
    given = tensors(golden.under("losses", "in/"))
    wanted = golden.under("losses", "debiased/")
    assert wanted
    for name, array in wanted.items():
        t2v, v2t, prior = map(float, re.match(r"t([\d.]+)_([\d.]+)_p([\d.]+)/", name).groups())
        kind = name.split("/")[1]
        terms = losses.debiased_info_nce(given[f"{kind}_t2v_sims"], t2v, prior)
        terms = terms + losses.debiased_info_nce(given[f"{kind}_v2t_sims"], v2t, prior)
        close(terms, array, f"losses/debiased/{name}")


def test_our_own_info_nce_agrees(golden: Any) -> None:
    """Without duplicates and with one caption a video, the mended loss is the reference's."""

    def ours(similarities: Tensor, temperature: float) -> Tensor:
        index = torch.arange(len(similarities[0]))
        return our_info_nce(similarities, *Pairs(index, index).text_to_video(), temperature)

    given = tensors(golden.under("losses", "in/"))
    for name, array in golden.under("losses", "infonce/").items():
        t2v, v2t = map(float, re.match(r"t([\d.]+)_([\d.]+)/", name).groups())
        kind = name.split("/")[1]
        if given[f"{kind}_t2v_sims"].ndim == 2:
            terms = ours(given[f"{kind}_t2v_sims"], t2v) + ours(given[f"{kind}_v2t_sims"], v2t)
            close(terms, array, f"losses/ours/{name}")


def test_hybrid_loss(golden: Any) -> None:
    schedule = golden.arrays("losses")["hybrid/smoothing"]
    epochs = len(schedule) - 1
    ways = both_levels(golden, "t2v"), both_levels(golden, "v2t")
    wanted = golden.under("losses", "hybrid/code")
    assert wanted
    for name, array in wanted.items():
        code, prior, epoch = re.match(r"([\d.]+)_p([\d.]+)/epoch(\d+)", name).groups()
        share = dense_share(int(epoch), epochs)
        found = losses.hybrid_loss(*ways, settings(golden, float(prior), float(code)), share)
        close(found, array, f"losses/hybrid/{name}")
    close(torch.tensor([dense_share(epoch, epochs) for epoch in range(epochs + 1)]), schedule, "losses/smoothing")


def test_dense_loss(golden: Any) -> None:
    t2v, v2t = both_levels(golden, "t2v"), both_levels(golden, "v2t")
    found = losses.dense_loss(t2v.dense, v2t.dense, settings(golden))
    close(found, golden.arrays("losses")["feature_hybrid"], "losses/feature_hybrid")


def test_margin_losses(golden: Any) -> None:
    given = tensors(golden.under("losses", "in/"))
    t2v, v2t = given["quant_cls_t2v_sims"], given["quant_cls_v2t_sims"]
    for name, array in golden.under("losses", "ranking/m").items():
        close(losses.ranking_loss(t2v, v2t, float(name)), array, f"losses/ranking/{name}")
    for name, array in golden.under("losses", "maxmargin/m").items():
        margin, fix = re.match(r"([\d.]+)_fix(\w+)", name).groups()
        # Its input is one matrix, which serves both directions.
        terms = [losses.margin_loss(side, float(margin), fix == "True") for side in (t2v, t2v.T)]
        close((terms[0] + terms[1]) / 2, array, f"losses/maxmargin/{name}")


def test_hashing_loss(golden: Any) -> None:
    given = tensors(golden.under("losses", "in/dcmh_"))
    wanted = golden.under("losses", "dcmh/")
    found = losses.hashing_loss(given["text"][:, 0], given["vid"])
    parts = {
        "total_loss": found.total,
        "semantic_loss": found.semantic,
        "quant_loss": found.quantization,
        "bit_balance_loss": found.balance,
        "total_w": losses.hashing_loss(given["text"][:, 0], given["vid"], 10.0, 0.3, 0.7).total,
    }
    assert set(parts) == set(wanted)
    for name, array in wanted.items():
        close(parts[name], array, f"losses/dcmh/{name}")
