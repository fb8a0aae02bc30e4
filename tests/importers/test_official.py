"""hcq import official: a checkpoint of the published code becomes a folder that encodes as that code does."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity.comparing import batch, close, model, same, tensors
from schemas import faults

from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.errors import DamagedError, HcqError, UsageError
from hcq_cli.importers.official.importing import import_official
from hcq_cli.model import checkpoint


class ConfigParser:
    """Like the reference's: the configuration in an attribute."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config, self._exper_name = config, "HCQ"


class Vectors:
    """The golden vectors of whole models."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.state = dict(np.load(folder / "hcq_state.npz"))
        with np.load(folder / "batch.npz") as arrays:
            self.batch = {name.removeprefix("in/"): arrays[name] for name in arrays.files}
        with np.load(folder / "hcq.npz") as arrays:
            self.wanted = {name: arrays[name] for name in arrays.files}

    def official(self) -> dict[str, Any]:
        """The configuration as the reference writes it."""
        shape, words = self.config, self.batch["token_ids"].shape[2]
        tokens = next(v.shape[1] for k, v in self.batch.items() if k.startswith("features/"))
        arguments = {
            "vid_bert_params": {"num_attention_heads": shape["vb_heads"], "hidden_dropout_prob": 0.0},
            "txt_bert_params": {"hidden_dropout_prob": 0.0},
            "pq_params": {"M": shape["M"], "K": shape["K"], "alpha": shape["alpha"], "update_codebooks": True},
            "cls_sims_weight": shape["cls_w"],
            "vlad_sims_weight": shape["vlad_w"],
        }
        mix = [{"dataset_name": "MSRVTT", "max_text_words": words, "max_expert_tokens": tokens}]
        return {"arch": {"type": "HCQ", "args": arguments}, "final_eval_sets": [{"args": {"mix": mix}}]}

    def type_ids(self) -> str:
        return ",".join(f"{name}={item['idx']}" for name, item in self.config["experts"].items())


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    shared = Path(os.environ.get("HCQ_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    folder = Path(os.environ.get("HCQ_GOLDEN", shared / "golden"))
    if not (folder / "config.json").is_file():
        pytest.skip(f"no golden vectors at {folder} (set HCQ_GOLDEN)")
    return Vectors(folder)


@pytest.fixture(scope="module")
def text_encoder(vectors: Vectors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shape and tokenizer of the golden text encoder, with as many entries as its table has rows."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    entries += [f"word{n}" for n in range(vectors.config["txt"]["vocab_size"] - len(entries))]
    ids = {entry: at for at, entry in enumerate(entries)}
    words = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(folder)
    shape = BertConfig(**vectors.config["txt"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    shape.architectures = ["BertModel"]
    shape.save_pretrained(folder)
    return folder


def write(path: Path, state: dict[str, np.ndarray], config: Any) -> Path:
    torch.save({"arch": "HCQ", "epoch": 3, "state_dict": tensors(state), "config": config}, path)
    return path


@pytest.fixture(scope="module")
def imported(vectors: Vectors, text_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    path = write(folder / "trained_model.pth", vectors.state, ConfigParser(vectors.official()))
    ids = {name: item["idx"] for name, item in vectors.config["experts"].items()}
    done = import_official(path, folder / "model", str(text_encoder), ids)
    assert not done.notes and all(name.endswith("_C_v") or ".pooler." in name for name in done.unused)
    return folder / "model"


def test_it_encodes_videos_as_the_reference(vectors: Vectors, imported: Path) -> None:
    reference = model(vectors.config, vectors.state)
    words, videos = batch(vectors.batch)
    # What a store gives: times in seconds, and tokens alone, of which the pools are taken.
    mask = {name: item.bool() for name, item in videos.mask.items()}
    times = {name: item.numpy() - 2 for name, item in videos.times.items()}
    features = {name: item.numpy() for name, item in videos.features.items()}
    found = checkpoint.load(imported)
    out = found.encode_videos(VideoBatch(features, times, {name: item.numpy() for name, item in mask.items()}))
    pools = {
        name: videos.features[name].masked_fill(~there[..., None], -1e30).amax(1) * there.any(1)[:, None]
        for name, there in mask.items()
    }
    with torch.no_grad():
        wanted = reference(words, dataclasses.replace(videos, max_pooled=pools))
    assert wanted.quantized_videos is not None
    books = vectors.config["M"]
    close(out * np.sqrt(books), wanted.videos.numpy(), "imported videos")
    same(
        found.quantize(out, "videos").reshape(wanted.quantized_videos.codes.shape),
        wanted.quantized_videos.codes.numpy(),
        "codes",
    )


def test_it_encodes_texts_and_scores_as_the_reference(vectors: Vectors, imported: Path) -> None:
    found = checkpoint.load(imported)
    words, _ = batch(vectors.batch)
    ids, mask = words.ids.flatten(0, 1), words.mask.flatten(0, 1).bool()
    with torch.no_grad():
        levels = found.network.embed_texts(ids, mask, torch.zeros_like(mask)).numpy()
    coarse = vectors.wanted["eval/embds/text_cls_embd"].reshape(len(ids), -1)
    close(levels[:, 0] * np.sqrt(vectors.config["M"]), coarse, "imported texts")
    # The score by table look-up is the reference's weighted sum of cosines.
    books = vectors.config["M"]
    codes = np.stack(
        [_codes(vectors, level) for level in range(vectors.config["L"] + 1)], 1
    )  # [B, L+1, M], read from the golden quantized vectors
    tables = np.einsum("qsd,skd->qsk", levels.reshape(len(ids), -1, levels.shape[-1] // books), found.codebooks)
    flat = codes.reshape(len(codes), -1)
    scores = sum(found.scale[s] * tables[:, s][:, flat[:, s]] for s in range(flat.shape[1]))
    conf = "eval/conf/quant_vid_t2v_{}_conf_matrix"
    wanted = vectors.config["cls_w"] * vectors.wanted[conf.format("cls")]
    wanted = wanted + vectors.config["vlad_w"] * vectors.wanted[conf.format("vlad")].mean(0)
    close(scores, wanted, "imported scores")


def _codes(vectors: Vectors, level: int) -> np.ndarray:
    words = vectors.state["cls_pq_layer._C_k" if level == 0 else f"vlad_pq_layers.{level - 1}._C_k"]
    key = "eval/embds/quant_vid_cls_embd" if level == 0 else "eval/embds/quant_vid_vlad_embds"
    vector = vectors.wanted[key] if level == 0 else vectors.wanted[key][:, level - 1]
    chunks = vector.reshape(-1, len(words), words.shape[-1])
    return ((chunks[:, :, None] - words) ** 2).sum(-1).argmin(-1)


def test_the_command(vectors: Vectors, text_encoder: Path, tmp_path: Path, hcq: Callable[..., Any]) -> None:
    path = write(tmp_path / "a model's 'file'.pth", vectors.state, ConfigParser(vectors.official()))
    arguments = ["import", "official", path, "--text-encoder", text_encoder, "--type-ids", vectors.type_ids()]
    done = hcq(*arguments, "--json").json
    assert faults("import official", done) == []
    assert done["architecture"] == "HCQ" and Path(done["checkpoint"]).name == "model"
    assert done["experts"] == {name: item["dim"] for name, item in vectors.config["experts"].items()}
    assert done["bytes_per_video"] == (vectors.config["L"] + 1) * vectors.config["M"]
    again = hcq(*arguments, code=2)
    assert "holds a checkpoint already" in again.err


def test_what_it_cannot_take_it_says(vectors: Vectors, text_encoder: Path, tmp_path: Path) -> None:
    ids = {name: item["idx"] for name, item in vectors.config["experts"].items()}
    first = next(iter(ids))

    def attempt(
        state: dict[str, np.ndarray],
        error: type[HcqError],
        message: str,
        ids: dict[str, int] = ids,
        *,
        hint: str = "",
    ) -> None:
        path = write(tmp_path / "m.pth", state, ConfigParser(vectors.official()))
        with pytest.raises(error, match=message) as caught:
            import_official(path, tmp_path / "out", str(text_encoder), ids)
        assert "m.pth" in caught.value.message and caught.value.hint and hint in caught.value.hint
        assert not (tmp_path / "out" / "config.json").exists()

    attempt(vectors.state, UsageError, f"token types of {first}", {})
    attempt(vectors.state, UsageError, "beyond its table", ids | {first: 10**6})
    dense = {name: array for name, array in vectors.state.items() if "pq_layer" not in name}
    attempt(dense, HcqError, "a HCT checkpoint has no quantizer")
    broken = {name: array for name, array in vectors.state.items() if not name.startswith("text_GU")}
    attempt(broken, DamagedError, "it has no text_GU", hint="give the .pth file")
    wide = vectors.state | {"text_vlad_proj.weight": np.zeros((3, 3), np.float32)}
    attempt(wide, DamagedError, r"text_vlad_proj\.weight has shape \[3, 3\]")


def test_without_a_configuration_it_says_what_it_assumes(
    vectors: Vectors, text_encoder: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.pth", vectors.state, "nothing")
    ids = {name: item["idx"] for name, item in vectors.config["experts"].items()}
    done = import_official(path, tmp_path / "out", str(text_encoder), ids)
    assert any("shipped settings are assumed" in note for note in done.notes)
