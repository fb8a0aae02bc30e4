"""netvlad.npz, gate.npz and video_bert.npz: the modules between features and levels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parity.comparing import close, load_part, model, same, tensors, text_bert
from reference_training import official_view

from hcq_cli.errors import DamagedError
from hcq_cli.importers.official.layers import ReferenceUnit, ReferenceVLAD
from hcq_cli.importers.official.names import load_official
from hcq_cli.model.pooling import GatedMixture


def statistics(module: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in module.named_buffers()}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("masked", ["masked", "unmasked"])
@pytest.mark.parametrize("case", ["ghost", "noghost", "nobn"])
def test_vlad(golden: Any, case: str, masked: str, mode: str) -> None:
    state = golden.under("netvlad", f"{case}/state/")
    width, columns = state["clusters"].shape
    clusters = state["clusters2"].shape[-1]
    given = golden.arrays("netvlad")
    normalized = f"{case}/train/masked_post_batch_norm.running_mean" in given
    vlad = ReferenceVLAD(width, clusters, columns - clusters, normalized).train(mode == "train")
    load_part(vlad, "fine.", state, "ghost_vlad.")
    x, mask = tensors(given)[f"{case}/x"], tensors(given)[f"{case}/mask"]
    out = vlad(x, mask if masked == "masked" else None)
    close(out, given[f"{case}/{mode}/{masked}"], f"netvlad/{case}/{mode}/{masked}")
    after = statistics(vlad.norm, "")
    for name, wanted in golden.under("netvlad", f"{case}/{mode}/{masked}_post_batch_norm.").items():
        close(after[name], wanted, f"netvlad/{case}/{mode}/{masked}_post {name}")


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("case", ["gbn", "gem", "gbn_nonorm"])
def test_gate(golden: Any, case: str, mode: str) -> None:
    state, given = golden.under("gate", f"{case}/state/"), golden.under("gate", f"{case}/")
    width, hidden = state["fc.weight"].shape
    unit = ReferenceUnit(hidden, width, case.split("_")[0], not case.endswith("nonorm")).train(mode == "train")
    load_part(unit, "coarse.units.unit.", state, "text_GU.unit.")
    close(unit(torch.from_numpy(given["x"])), given[f"{mode}/out"], f"gate/{case}/{mode}")
    assert unit.norm is not None
    after = statistics(unit.norm, "cg.batch_norm.")
    for name, wanted in golden.under("gate", f"{case}/{mode}/post_").items():
        close(after[name], wanted, f"gate/{case}/{mode}/post {name}")


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_our_own_gate_agrees(golden: Any, mode: str) -> None:
    """One unit of the mended model is the reference's unit."""
    given = golden.under("gate", "gbn/")
    state = tensors(golden.under("gate", "gbn/state/"))
    width, hidden = state["fc.weight"].shape
    ours = GatedMixture(hidden, width, 1).train(mode == "train")
    own = ours.state_dict()
    for theirs, mine in (("fc.", "embed."), ("cg.batch_norm.", "norm.")):
        for name, value in state.items():
            if name.startswith(theirs):
                own[mine + name.removeprefix(theirs)].copy_(value)
    own["gate_weight"].copy_(state["cg.fc.weight"][None])
    own["gate_bias"].copy_(state["cg.fc.bias"])
    close(ours(torch.from_numpy(given["x"])), given[f"{mode}/out"], f"gate/ours/{mode}")


def test_video_transformer(golden: Any) -> None:
    given = golden.arrays("video_bert")
    network = model(golden.config, golden.arrays("hcq_state")).video.transformer
    features, types, positions, mask = (
        torch.from_numpy(given[name]) for name in ("features", "token_type_ids", "position_ids", "attention_mask")
    )
    close(network.embed(features, types, positions), given["embeddings"], "video_bert/embeddings")
    sequence = network(features, types, positions, mask)
    close(sequence, given["sequence"], "video_bert/sequence")
    close(torch.tanh(network.pooler(sequence[:, 0])), given["pooled"], "video_bert/pooled")
    close(network(features, types, None, mask), given["sequence_nopos"], "video_bert/sequence_nopos")


def test_text_encoder(golden: Any) -> None:
    given = golden.arrays("video_bert")
    prefix = "txt_bert."
    state = {
        n.removeprefix(prefix): v for n, v in tensors(golden.arrays("hcq_state")).items() if n.startswith(prefix)
    }
    encoder = text_bert(golden.config).eval()
    encoder.load_state_dict(state, strict=False)
    ids, mask = (torch.from_numpy(given[f"text_bert/{name}"]) for name in ("input_ids", "attention_mask"))
    with torch.no_grad():
        states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    close(states, given["text_bert/sequence"], "video_bert/text_bert")


def test_names_both_ways(golden: Any) -> None:
    """Every weight of the reference has its place, and is found there again."""
    state = golden.arrays("hcq_state")
    found = official_view(list(state), model(golden.config, state).state_dict())
    assert {name for name in state if name not in found} == {name for name in state if name.endswith("_C_v")}
    for name, value in found.items():
        same(value, state[name], name)


def test_weights_that_do_not_fit_are_refused(golden: Any) -> None:
    state = tensors(golden.arrays("hcq_state"))
    built = model(golden.config, golden.arrays("hcq_state"))
    with pytest.raises(DamagedError, match=r"text_vlad_proj\.bias has shape"):
        load_official(built, state | {"text_vlad_proj.bias": torch.zeros(1)})
    state.pop("vid_bert.encoder.layer.0.attention.self.key.weight")
    with pytest.raises(DamagedError, match=r"layers\.0\.qkv\.weight"):
        load_official(built, state)
