"""Captions to vectors: a transformer by preset, id or folder, and the tokenizer that belongs to it.

HCQ (Wang et al., WWW 2022, arXiv 2202.03384), section 3.1. Any encoder of the transformers library will do that has
`last_hidden_state`: where its tokenizer marks no sentence ([CLS], or the beginning of a text), the mean of the words
stands for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from experts.neural.foreign import (
    check_vocabulary,
    from_folder,
    network_from_folder,
    network_from_settings,
    read_settings,
)
from experts.neural.weight_sizes import ForeignFileError, WeightSizes
from hcq_cli.errors import DamagedError, HcqError, NotFoundError
from hcq_cli.model.config import TextConfig
from hcq_cli.model.text_source import find_text_encoder
from hcq_cli.model.tokenizer import CaptionTokenizer, TokenIds, word_piece

TOKENIZER_FILE, ENCODER_FILE, RULES_FILE = "tokenizer.json", "text_encoder.json", "text.json"


@dataclass(frozen=True)
class TextTokens:
    """What the encoder makes of B captions.

    Args:
        sentence: [B, hidden], the [CLS] vector; without such a token the mean of the words.
        tokens: [B, T, hidden], all token vectors.
        mask: bool [B, T], True for words; special tokens and padding are False.
    """

    sentence: Tensor
    tokens: Tensor
    mask: Tensor


class TextTransformer(nn.Module):
    """A transformers encoder of which the last hidden states are used.

    Args:
        network: the transformers model; it loses its pooler.
        cls_id: id of the token whose vector stands for the sentence; None for the mean of the words.
    """

    def __init__(self, network: nn.Module, cls_id: int | None) -> None:
        super().__init__()
        # Nothing here uses the pooler (a layer on top of [CLS]): it would sit untrained in every checkpoint.
        if getattr(network, "pooler", None) is not None:
            network.pooler = None  # type: ignore[assignment]
        self.network, self.cls_id = network, cls_id

    @property
    def hidden(self) -> int:
        """Width of its vectors."""
        config: Any = self.network.config
        return int(config.hidden_size)

    def forward(self, ids: Tensor, mask: Tensor, special: Tensor) -> TextTokens:
        """Encode.

        Args:
            ids: int64 [B, T].
            mask, special: bool [B, T], as in `tokenizer.TokenIds`.
        """
        states = self.network(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        words = mask & ~special
        if self.cls_id is None:
            shares = words / words.sum(1, keepdim=True).clamp(min=1)
            return TextTokens(torch.einsum("bt,bth->bh", shares.to(states.dtype), states), states, words)
        at = (ids == self.cls_id).long().argmax(1)  # not always the first: XLNet writes it last
        return TextTokens(states[torch.arange(ids.shape[0]), at], states, words)


class _ReadsNothing(nn.Module):
    """In the place of a transformers model where dual encoders alone read texts: vectors of width 0."""

    config = SimpleNamespace(hidden_size=0, max_position_embeddings=0)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=torch.zeros((*input_ids.shape, 0), device=input_ids.device))


@dataclass
class CaptionEncoder:
    """Network, tokenizer, and what a checkpoint must hold to build both again without any other file.

    Args:
        transformer: the network.
        tokenizer: for its captions.
        architecture: the transformers configuration, for `text_encoder.json`.
    """

    transformer: TextTransformer
    tokenizer: CaptionTokenizer
    architecture: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write tokenizer and architecture (not the weights) into a checkpoint folder."""
        rules = {"pad_id": self.tokenizer.pad_id, "cls_id": self.tokenizer.cls_id}
        (folder / TOKENIZER_FILE).write_text(self.tokenizer.tokenizer.to_str(), "utf-8")
        (folder / ENCODER_FILE).write_text(json.dumps(self.architecture, indent=1, sort_keys=True), "utf-8")
        (folder / RULES_FILE).write_text(json.dumps(rules), "utf-8")


def no_encoder() -> CaptionEncoder:
    """For a model whose texts are read by dual encoders alone (`checkpoint.tower_file`)."""
    from tokenizers import Tokenizer, models

    tokenizer = CaptionTokenizer(Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]")), 1, 0, None)
    return CaptionEncoder(TextTransformer(_ReadsNothing(), None), tokenizer, {})


def text_tensors(tokens: TokenIds, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and special-token marks on a device, each [B, T], as `DualEncoder.embed_texts` takes them."""
    ids, mask, special = (torch.from_numpy(part).to(device) for part in (tokens.ids, tokens.mask, tokens.special))
    return ids, mask, special


def build(config: TextConfig, captions: Sequence[str]) -> CaptionEncoder:
    """The text encoder to start training from.

    Args:
        config: which encoder.
        captions: the training captions (`scratch` learns its vocabulary from them).

    Raises:
        NotFoundError: the network is not on this machine.
        DamagedError: its folder asks for code, a kernel or another file, or for more than its weights hold.
    """
    if config.encoder == "scratch":
        return _scratch(config, captions)
    return _pretrained(config)


def read(folder: Path, max_tokens: int, held: WeightSizes) -> CaptionEncoder:
    """The untrained text encoder of a checkpoint folder; the caller loads the weights.

    Args:
        folder: the checkpoint.
        max_tokens: longest caption.
        held: what the checkpoint's weights hold; the encoder must be part of it.

    Raises:
        DamagedError: a file is missing or unreadable, or asks for what the weights do not hold.
    """
    from tokenizers import Tokenizer

    try:
        check_vocabulary(folder / TOKENIZER_FILE)
        architecture = read_settings(folder / ENCODER_FILE)
        rules = read_settings(folder / RULES_FILE)
        if not architecture:
            return no_encoder()
        network = network_from_settings(architecture, held, folder / ENCODER_FILE)
        # The library's own form: it needs no transformers, and the exported text encoder reads the same.
        tokenizer = Tokenizer.from_str((folder / TOKENIZER_FILE).read_text("utf-8"))
        cls_id = None if rules["cls_id"] is None else int(rules["cls_id"])
        longest = _longest(max_tokens, network)
        caption_tokenizer = CaptionTokenizer(tokenizer, longest, int(rules["pad_id"]), cls_id)
    except ForeignFileError as error:
        raise DamagedError(str(error), "give a folder that hcq train wrote") from error
    except Exception as error:  # tokenizers raises bare Exception
        raise DamagedError(f"{folder}: its text encoder cannot be read ({error})", "hcq train") from error
    return CaptionEncoder(TextTransformer(network, cls_id), caption_tokenizer, architecture)


def _scratch(config: TextConfig, captions: Sequence[str]) -> CaptionEncoder:
    from transformers import BertConfig, BertModel

    tokenizer = word_piece(captions, config.vocabulary)
    shape = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.ffn,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        max_position_embeddings=config.max_tokens,
    )
    network = BertModel(shape, add_pooling_layer=False)
    ids = tokenizer.get_vocab()
    pad_id, cls_id = ids["[PAD]"], ids["[CLS]"]
    caption_tokenizer = CaptionTokenizer(tokenizer, config.max_tokens, pad_id, cls_id)
    return CaptionEncoder(TextTransformer(network, cls_id), caption_tokenizer, shape.to_dict())


def _pretrained(config: TextConfig) -> CaptionEncoder:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # only hcq_cli.console prints
    source, folder = config.encoder, find_text_encoder(config.encoder, config.revision).folder
    if not any(folder.glob("*.safetensors")):
        raise NotFoundError(
            f"{folder}: holds no safetensors file (pickled weights are never opened)",
            "save the model again with save_pretrained(..., safe_serialization=True)",
        )
    try:
        tokenizer = from_folder(AutoTokenizer, folder, use_fast=True)
        network = network_from_folder(AutoModel, folder, dtype=torch.float32)
    except ForeignFileError as error:
        raise DamagedError(f"text encoder {source!r} is refused: {error}", error.hint) from error
    except Exception as error:  # transformers raises many kinds
        raise NotFoundError(
            f"text encoder {source!r} cannot be had: {(str(error).splitlines() or ['?'])[0]}",
            "give a folder with config.json, model.safetensors and tokenizer.json, or --set text.encoder=scratch",
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise HcqError(f"text encoder {source!r} has no fast tokenizer", "add a tokenizer.json to it")
    cls_id = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    longest = _longest(config.max_tokens, network)
    caption_tokenizer = CaptionTokenizer(tokenizer.backend_tokenizer, longest, pad_id, cls_id)
    return CaptionEncoder(TextTransformer(network, cls_id), caption_tokenizer, network.config.to_dict())


def _longest(max_tokens: int, network: Any) -> int:
    """The longest caption that is asked for and that the network has positions for."""
    limit = getattr(network.config, "max_position_embeddings", None) or 0
    return min(max_tokens, limit) if limit > 0 else max_tokens  # XLNet has none and says -1
