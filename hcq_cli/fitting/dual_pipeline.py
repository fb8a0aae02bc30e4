"""The text encoder of a pipeline of sentence-transformers, in the file of any exported text encoder (dual_text.py).

Which of its tokenizers reads texts, how far, and whether what pads them counts, is found by trying: the file must
give what the library gives for the same texts. A query is asked as the library asks queries: by the route that is
meant for them, behind the prompt that the folder has for them. Letters: B texts, T tokens, dim the width of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experts.neural.pipeline import Pipeline, load_pipeline
from experts.neural.weights import first_line
from hcq_cli.errors import HcqError
from hcq_cli.fitting.dual_text import LONGEST, DualText, Reading, write_traced
from hcq_cli.model.export import SAMPLE, TOLERANCE
from hcq_cli.model.exported_text_encoder import TextReading

LONGEST_STATIC = 4096
"""Tokens of a text that are read where the library reads all of them."""


class _PipelineTexts(nn.Module):
    """Texts → [B, 1, dim], of length 1."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        asked = {"input_ids": ids, "attention_mask": mask.long(), "modality": "text", "task": "query"}
        return F.normalize(self.model(asked)["sentence_embedding"], dim=-1)[:, None]


class _MeanOfTokens(nn.Module):
    """StaticEmbedding for padded texts: its own takes them one behind another, which no graph does."""

    def __init__(self, static: Any) -> None:
        super().__init__()
        self.weight = static.embedding.weight

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        mask = features["attention_mask"][..., None].to(self.weight.dtype)
        summed = (F.embedding(features["input_ids"], self.weight) * mask).sum(1)
        return {**features, "sentence_embedding": summed / mask.sum(1).clamp_min(1)}


def write_pipeline_text(found: Pipeline, path: Path) -> DualText:
    """Write the text encoder of a pipeline; see `dual.write_dual_text`.

    Args:
        found: its weights.
        path: of the file.

    Raises:
        WeightsError: the library is not installed, or cannot load it.
        HcqError: no graph can do what its text side does.
    """
    model = load_pipeline(found, "cpu")
    encode = getattr(model, "encode_query", model.encode)
    try:
        exact = np.concatenate(
            [encode([text], normalize_embeddings=True, show_progress_bar=False) for text in SAMPLE]
        )
    except Exception as error:  # of a network that nobody here has seen
        raise HcqError(f"{found.source}: the library cannot read texts with it ({first_line(error)})") from error
    readings = list(_readings(model))
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if type(module).__name__ == "StaticEmbedding":
                setattr(parent, name, _MeanOfTokens(module))
    texts = _PipelineTexts(model).eval()
    for reading in readings:
        if _off(texts, reading, exact) <= TOLERANCE:
            return write_traced(texts, reading, path, found, exact[:, None])
    what = f"{found.source}: its text side ({found.model_type}) cannot be written as a graph of token ids"
    raise HcqError(what, "give one whose texts a network of transformers, or StaticEmbedding, reads")


def _readings(model: Any) -> Iterator[Reading]:
    """The ways in which texts may become ids: by each tokenizer, padded or not."""
    from tokenizers import Tokenizer, normalizers, processors

    prompt = model.prompts.get("query") or model.prompts.get(model.default_prompt_name) or ""
    for module in model.modules():
        own = getattr(module, "tokenizer", None)
        backend = getattr(own, "backend_tokenizer", own)
        if not isinstance(backend, Tokenizer):
            continue
        tokenizer = Tokenizer.from_str(backend.to_str())
        if type(module).__name__ == "StaticEmbedding":
            tokenizer.post_processor = processors.Sequence([])  # it reads no marks of begin and end
        if prompt:
            before = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(prompt), *before])
        longest = min(getattr(module, "max_seq_length", None) or LONGEST, LONGEST_STATIC)
        reading = Reading(tokenizer, TextReading(int(longest), int(getattr(own, "pad_token_id", None) or 0), None))
        yield from (reading, reading.padded_to(int(longest)))


def _off(texts: nn.Module, reading: Reading, exact: np.ndarray) -> float:
    """How far what is read in this way lies from what the library gives; without bound where it cannot be read."""
    try:
        with torch.inference_mode():
            read = np.concatenate([texts(*reading.inputs([text])).numpy()[:, 0] for text in SAMPLE])
    except Exception:  # a tokenizer of another module: ids out of range, or keys that its network does not know
        return float("inf")
    return float(np.abs(read - exact).max())
