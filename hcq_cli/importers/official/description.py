"""The options of a reference checkpoint's model: sizes from its weights, the rest from its configuration."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hcq_cli.errors import DamagedError, UsageError
from hcq_cli.importers.official.options import CHOICES, ReferenceExpert, ReferenceOptions, quantizer_options

if TYPE_CHECKING:
    from torch import Tensor

TYPE_IDS = {
    "s3d": 1, "vggish": 2, "face": 3, "audio": 4, "rgb": 5, "speech": 6, "ocr": 7, "flow": 8, "scene": 9,
}  # fmt: skip
"""Rows of the token-type table that the published code gives to the experts of its data sets."""

TEXT_ENCODERS = {
    "bert-base": "bert-base-cased",
    "bert-large": "bert-large-cased",
    "distilbert-base": "distilbert-base-cased",
    "roberta-base": "roberta-base",
    "roberta-large": "roberta-large",
}
"""Hugging Face ids of its text encoders, as far as their first token is [CLS]."""

SHIPPED_WORDS, SHIPPED_TOKENS = 30, 30

REMEDY = "give the .pth file that the reference's training wrote"


@dataclass(frozen=True)
class OfficialModel:
    """What a reference checkpoint describes.

    Args:
        options: of its model.
        text_encoder: Hugging Face id of its text encoder; empty if it has none that fits here.
        max_words, max_tokens: how long it pads captions, and each expert's tokens.
        notes: what had to be assumed.
    """

    options: ReferenceOptions
    text_encoder: str
    max_words: int
    max_tokens: int
    notes: list[str]


def architecture(weights: Mapping[str, Tensor]) -> str:
    """Which of the four it is, by the modules it has.

    Raises:
        DamagedError: it is none of them.
    """
    modules = {name.split(".")[0] for name in weights}
    if not {"video_dim_reduce", "vid_bert", "txt_bert", "text_GU"} <= modules:
        lacking = sorted({"video_dim_reduce", "vid_bert", "txt_bert", "text_GU"} - modules)
        raise DamagedError(f"not a checkpoint of the reference: it has no {', '.join(lacking)}", REMEDY)
    if "vid_hash_layer" in modules:
        return "DCMH"
    if "ghost_vlad" in modules:
        return "HCQ" if "cls_pq_layer" in modules else "HCT"
    if "cls_pq_layer" in modules:
        return "JPQ"
    raise DamagedError("not a checkpoint of the reference: neither quantizers nor clusters nor hash layers")


def describe(weights: Mapping[str, Tensor], config: Mapping[str, Any], type_ids: Mapping[str, int]) -> OfficialModel:
    """Options of a checkpoint's model.

    Args:
        weights: by the reference's names.
        config: its configuration; where it says nothing, the shipped settings hold.
        type_ids: rows of the token-type table for experts that are not the published ones.

    Raises:
        DamagedError: it is no checkpoint of the reference.
        UsageError: an expert's row in the table of token types is not known, or an option is not.
    """
    kind = architecture(weights)
    arguments = _at(config, "arch", "args")
    notes = [] if arguments else ["its configuration could not be read: the shipped settings are assumed"]
    transformer, text = _at(arguments, "vid_bert_params"), _at(arguments, "txt_bert_params")
    quantizer = {**_at(arguments, "pq_params"), **_quantizer_shape(weights)}
    options = ReferenceOptions(
        architecture=kind,
        experts=_experts(weights, config, type_ids),
        quantizer=quantizer_options(quantizer),
        layers=len({m[1] for n in weights if (m := re.match(r"vid_bert\.encoder\.layer\.(\d+)\.", n))}),
        heads=int(transformer.get("num_attention_heads", 4)),
        dropout=float(transformer.get("hidden_dropout_prob", 0.1)),
        txt_dropout=float(text.get("hidden_dropout_prob", 0.1)),
        normalize_experts=bool(arguments.get("normalize_experts", True)),
        cls_sims_weight=float(arguments.get("cls_sims_weight", 0.125)),
        vlad_sims_weight=float(arguments.get("vlad_sims_weight", 0.875)),
    )
    chosen: dict[str, Any] = {name: str(arguments.get(name, known[0])) for name, known in CHOICES.items()}
    options = dataclasses.replace(options, **_sizes(weights), **chosen)
    encoder = TEXT_ENCODERS.get(str(arguments.get("txt_bert_type", "bert-base")), "")
    words, tokens = _lengths(config)
    return OfficialModel(options.check(), encoder, words, tokens, notes)


def _at(table: Any, *keys: str) -> dict[str, Any]:
    """A nested table, empty where there is none."""
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return dict(table) if isinstance(table, Mapping) else {}


def _shape(weights: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in weights:
        raise DamagedError(f"not a whole checkpoint of the reference: it has no {name}", REMEDY)
    return tuple(weights[name].shape)


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """D, L, ghosts, bits and the tables' lengths."""
    tables = "vid_bert.embeddings.{}_embeddings.weight"
    positions, width = _shape(weights, tables.format("position"))
    sizes = {"same_dim": width, "positions": positions, "types": _shape(weights, tables.format("token_type"))[0]}
    sizes["ffn"] = _shape(weights, "vid_bert.encoder.layer.0.intermediate.dense.weight")[0]
    if "ghost_vlad.clusters" in weights:
        sizes["clusters"] = _shape(weights, "ghost_vlad.clusters2")[-1]
        sizes["ghosts"] = _shape(weights, "ghost_vlad.clusters")[-1] - sizes["clusters"]
    if "vid_hash_layer.0.weight" in weights:
        sizes["bits"] = _shape(weights, "vid_hash_layer.0.weight")[0]
    return sizes


def _quantizer_shape(weights: Mapping[str, Tensor]) -> dict[str, int]:
    if "cls_pq_layer._C_k" not in weights:
        return {}
    books, words, _ = _shape(weights, "cls_pq_layer._C_k")
    return {"M": books, "K": words}


def _experts(
    weights: Mapping[str, Tensor], config: Mapping[str, Any], type_ids: Mapping[str, int]
) -> dict[str, ReferenceExpert]:
    """In the order of the weights, which is that of the token sequence."""
    names = [m[1] for name in weights if (m := re.match(r"video_dim_reduce\.([^.]+)\.fc\.weight$", name))]
    given = {name: row["idx"] for name in names if "idx" in (row := _at(config, "experts", name))}
    known = {**TYPE_IDS, **given, **type_ids}
    unknown = [name for name in names if name not in known]
    if unknown:
        hint = "--type-ids " + ",".join(f"{name}=ID" for name in unknown)
        raise UsageError(f"token types of {', '.join(unknown)} are not among the published ones", hint)
    rows = _shape(weights, "vid_bert.embeddings.token_type_embeddings.weight")[0]
    for name in names:
        if not 0 <= int(known[name]) < rows:
            raise UsageError(
                f"token type {known[name]} of {name} is beyond its table of {rows}", "--type-ids NAME=ID"
            )
    return {
        name: ReferenceExpert(_shape(weights, f"video_dim_reduce.{name}.fc.weight")[1], int(known[name]))
        for name in names
    }


def _lengths(config: Mapping[str, Any]) -> tuple[int, int]:
    """Words and tokens, from the data set it was evaluated on, or else trained on."""
    for part in ("final_eval_sets", "train_sets"):
        sets = config.get(part)
        mix = _at(sets[0], "args").get("mix") if isinstance(sets, list) and sets else None
        if isinstance(mix, list) and mix and isinstance(mix[0], Mapping):
            words, tokens = mix[0].get("max_text_words"), mix[0].get("max_expert_tokens")
            return int(words or SHIPPED_WORDS), int(tokens or SHIPPED_TOKENS)
    return SHIPPED_WORDS, SHIPPED_TOKENS
