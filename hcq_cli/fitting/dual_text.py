"""The text encoder of a dual encoder: tokenizer and network in one file that a query runs without torch.

What `get_text_features` gives of a network of transformers, or text.onnx of an `onnx:FOLDER`, brought to length 1.
The file is that of any exported text encoder (hcq_cli/model/exported_text_encoder.py), with one level as wide as the
joint space. What the networks want of a text was found in their papers and in how transformers calls them:

- CLIP (Radford et al., ICML 2021) pools at the first end of text, and reads 77 tokens;
- SigLIP (Zhai et al., ICCV 2023) pools at the last position, whatever stands there: texts are padded to 64 tokens,
  and their letters are small. A mask changes the vector: it is given where the tokenizer of the folder gives one;
- VideoPrism (Zhao et al., ICML 2024) appends a token of its own, behind what pads.

Whether padding counts is not looked up: a text is read alone and padded, and the two are compared. Letters: B texts,
T tokens, dim the width of the joint space.
"""

from __future__ import annotations

import re
import string
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from experts.neural.appearance import pooled
from experts.neural.dual import sense_of
from experts.neural.foreign import from_folder
from experts.neural.network import load_model, quiet_transformers
from experts.neural.weights import Weights, WeightsError, first_line, read_json
from hcq_cli.errors import HcqError
from hcq_cli.model.export import SAMPLE, TOLERANCE, packed, silence, trace
from hcq_cli.model.exported_text_encoder import (
    ExportedTextEncoder,
    TextEncoderHeader,
    TextReading,
    write_text_encoder,
)
from hcq_cli.model.tokenizer import CaptionTokenizer

VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")
"""The files that a tokenizer is read from; the one that transformers looks for first comes first."""
SMALL_LETTERS = "siglip"
"""What the kinds of network begin with that were trained on small letters alone, whatever their tokenizer does."""
LONGEST = 512
"""Tokens of a text that are read where nothing says how many the network can."""
PADDING_COUNTS = 1e-3
"""A vector that padding moves by more was trained with it; rounding moves none so far."""


@dataclass(frozen=True)
class DualText:
    """The text encoder of a dual encoder, as it was written.

    Args:
        path: the file; `ExportedTextEncoder` opens it and gives float32 [B, 1, dim] of length 1.
        width: dim.
        scale: what the network multiplies cosines with before it takes them for logits; None where it does not say.
        bias: what it adds to them then; 0 for networks without.
        deviation: the largest difference from the network called directly, in any number of a few texts' vectors.
    """

    path: Path
    width: int
    scale: float | None
    bias: float
    deviation: float


@dataclass(frozen=True)
class Reading:
    """How a text becomes the network's input.

    Args:
        tokenizer: of the tokenizers library.
        rules: how long texts are, and how they are padded.
    """

    tokenizer: Any
    rules: TextReading

    def inputs(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask, each [B, T]; texts of different lengths only where what pads comes last."""
        tokens = CaptionTokenizer(self.tokenizer, self.rules.max_tokens, self.rules.pad_id, None)(texts)
        padded = self.rules.padded(tokens)
        return torch.from_numpy(padded["ids"]), torch.from_numpy(padded["mask"])

    def padded_to(self, length: int) -> Reading:
        """Itself, with every text padded to so many tokens."""
        return replace(self, rules=replace(self.rules, pad_to=length))


class _TextFeatures(nn.Module):
    """Texts → [B, 1, dim], of length 1; the network is given a mask if `masked`."""

    def __init__(self, network: Any, masked: bool) -> None:
        super().__init__()
        self.network, self.masked = network, masked

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        given = {"attention_mask": mask.long()} if self.masked else {}
        return F.normalize(pooled(self.network.get_text_features(input_ids=ids, **given)), dim=-1)[:, None]


def write_network_text(found: Weights, path: Path) -> DualText:
    """Write the text encoder of a dual encoder of transformers; see `dual.write_dual_text`.

    Args:
        found: its weights.
        path: of the file.

    Raises:
        WeightsError: it is no dual encoder, or its tokenizer cannot be read.
        HcqError: it cannot be exported.
    """
    sense_of(found)
    network, tokenizer = load_model(found, "cpu"), _tokenizer(found)
    features = _TextFeatures(network, "attention_mask" in tokenizer.model_input_names).eval()
    reading = _reading(found, features, tokenizer)
    with torch.inference_mode():
        exact = np.concatenate([features(*reading.inputs([text])).numpy() for text in SAMPLE])
    written = write_traced(features, reading, path, found, exact)
    scale, bias = _calibration(network)
    return replace(written, scale=scale, bias=bias)


def write_traced(
    features: nn.Module, reading: Reading, path: Path, found: Weights, exact: NDArray[np.float32]
) -> DualText:
    """Export a text encoder and write it, see `write_checked`.

    Args:
        features: ids and mask [B, T] → [B, 1, dim], of length 1.
        reading: how texts become its input.
        path: of the file.
        found: its weights.
        exact: float32 [n, 1, dim], what the network itself gives for `SAMPLE`.

    Raises:
        HcqError: it cannot be exported, or the export is off.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="hcq-export-") as place, silence():
        traced = Path(place, "traced.onnx")
        # Of different lengths, so that the mask is traced too; one alone where what pads comes first.
        arguments = reading.inputs(SAMPLE[:1] if reading.rules.pad_left else SAMPLE[:3])
        try:
            trace(features, arguments, traced, one_length=bool(reading.rules.pad_to))
        except Exception as error:  # whatever a tracer meets in a network that nobody here has seen
            raise HcqError(f"{found.source}: its text encoder cannot be exported ({first_line(error)})") from error
        deviation = write_checked(onnx.load(traced), reading, path, found.identity, exact)
    return DualText(path, exact.shape[-1], None, 0.0, deviation)


def write_checked(graph: Any, reading: Reading, path: Path, identity: str, exact: NDArray[np.float32]) -> float:
    """Write the file of a text encoder, and see that it does what its network does.

    Args:
        graph: an `onnx.ModelProto`, which is changed; ids and mask → "levels" [B, 1, dim].
        reading: how texts become its input.
        path: of the file.
        identity: of the network.
        exact: float32 [n, 1, dim], what the network gives for `SAMPLE`.

    Returns:
        The largest difference in any number.

    Raises:
        HcqError: it is too large.
    """
    # Not optimised: what is built into an index comes from here, and is then.
    bodies, weights = packed([graph], path.name)
    header = TextEncoderHeader(identity, 1, exact.shape[-1], (reading.rules,))
    write_text_encoder(path, header, [(reading.tokenizer.to_str(), bodies[0])], weights)
    written = ExportedTextEncoder(path)
    alone = np.concatenate([written.encode([text]) for text in SAMPLE])
    deviation = float(max(np.abs(exact - found).max() for found in (alone, written.encode(SAMPLE))))
    if not deviation <= TOLERANCE:
        path.unlink(missing_ok=True)
        raise HcqError(f"exported, the text encoder of {identity} is off by {deviation:.1g}")
    return deviation


def _tokenizer(found: Weights) -> Any:
    """The tokenizer of a folder, of the library that needs no transformers. Raises WeightsError."""
    import transformers

    # Where there is none, transformers makes up an empty one of the kind, and says nothing.
    if not any(path for pattern in VOCABULARIES for path in found.folder.glob(pattern)):
        raise WeightsError(f"{found.source}: has no tokenizer", "add a tokenizer.json to it")
    wrong: Exception | None = None
    # The second reads tokenizer.json whatever class the folder names: some want a library that is not here.
    for kind in (transformers.AutoTokenizer, transformers.PreTrainedTokenizerFast):
        try:
            with quiet_transformers():
                tokenizer = from_folder(kind, found.folder)
        except Exception as error:  # transformers and tokenizers have no common base
            wrong = wrong or error
            continue
        if getattr(tokenizer, "is_fast", False):
            return tokenizer
    reason = f": {first_line(wrong)}" if wrong else ""
    raise WeightsError(f"{found.source}: has no tokenizer that can be used{reason}", "add a tokenizer.json to it")


def _reading(found: Weights, features: _TextFeatures, tokenizer: Any) -> Reading:
    """How the network wants its texts, found out by trying."""
    config = features.network.config
    text_config = getattr(config, "text_config", config)
    longest = min(getattr(text_config, "max_position_embeddings", None) or LONGEST, tokenizer.model_max_length)
    backend = tokenizer.backend_tokenizer
    if found.model_type.startswith(SMALL_LETTERS):
        make_letters_small(backend, "siglip" in str(tokenizer_class(found)).lower() and "2" not in found.model_type)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    rules = TextReading(longest, pad_id, None, pad_left=tokenizer.padding_side == "left")
    reading = Reading(backend, rules)
    with torch.inference_mode():
        try:
            features(*reading.inputs(["a dog " * longest]))
        except (IndexError, RuntimeError):  # RoBERTa counts positions from behind the id that pads
            reading = replace(reading, rules=replace(rules, max_tokens=longest - pad_id - 1))
        padded = reading.padded_to(reading.rules.max_tokens)
        moved = features(*reading.inputs(["a dog"])) - features(*padded.inputs(["a dog"]))
    if float(moved.abs().max()) > PADDING_COUNTS:
        return padded
    return replace(reading, rules=replace(reading.rules, pad_left=False))


def tokenizer_class(found: Weights) -> str:
    """The class of tokenizer that a folder names; empty where it names none."""
    path = found.folder / "tokenizer_config.json"
    return str(read_json(path, found.source).get("tokenizer_class", "")) if path.is_file() else ""


def make_letters_small(tokenizer: Any, plain: bool) -> None:
    """Let a tokenizer read small letters alone, and no punctuation if `plain`, as SigLIP's own tokenizer does."""
    from tokenizers import Regex, normalizers

    steps: list[Any] = [normalizers.Lowercase()]
    if plain:
        marks = Regex("[" + re.escape(string.punctuation) + "]")
        steps += [normalizers.Replace(marks, ""), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    before = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
    tokenizer.normalizer = normalizers.Sequence([*steps, *before])


def _calibration(network: Any) -> tuple[float | None, float]:
    """Scale and bias of the logits; CLAP has a scale a side, ALIGN divides by a temperature."""
    with torch.no_grad():
        bias = getattr(network, "logit_bias", None)
        added = 0.0 if bias is None else float(bias)
        for name in ("logit_scale", "logit_scale_t"):
            if isinstance(scale := getattr(network, name, None), Tensor):
                return float(scale.exp()), added
        temperature = getattr(network, "temperature", None)
        return (1 / float(temperature), added) if isinstance(temperature, Tensor) else (None, added)
