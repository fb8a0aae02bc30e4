"""The text encoder of a dual encoder: without torch, and equal to the model called directly."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_duals
import torch
from transformers import AutoModel, AutoTokenizer

from experts.neural.weights import RefusedError, WeightsError
from hcq_cli.fitting.dual import write_dual_text
from hcq_cli.fitting.dual_text import make_letters_small
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder

TEXTS = ["a dog", "two men ride on a horse", "a man cooks " * 40, "x"]
PADDED = {"siglip": 64, "siglip2": 64}
"""Kinds that pool where padding stands, and what their texts are padded to."""


@pytest.fixture(scope="module")
def duals(tmp_path_factory):
    root = tmp_path_factory.mktemp("duals")
    return lambda kind: tiny_duals.save(kind, root)


def called_directly(folder: Path, texts: list[str], **how) -> np.ndarray:
    """One text after the other, as the documentation of the network calls it."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, return_tensors="pt", **how)
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask") if name in inputs}
        with torch.inference_mode():
            found.append(model.get_text_features(**inputs).pooler_output[0].numpy())
    vectors = np.array(found)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", tiny_duals.KINDS)
def test_texts_are_those_of_the_model_called_directly(kind, duals, tmp_path):
    folder = duals(kind)
    written = write_dual_text(str(folder), tmp_path / "text.hcq")
    how = {"max_length": 40} if kind == "clap" else {}  # its folder does not say how long texts are
    if kind in PADDED:
        how = {"padding": "max_length", "max_length": PADDED[kind]}
    direct = called_directly(folder, TEXTS, **how)
    encoder = ExportedTextEncoder(written.path)
    assert np.abs(encoder.encode(TEXTS)[:, 0] - direct).max() < 1e-4
    assert np.abs(encoder.encode(TEXTS[:1])[:, 0] - direct[:1]).max() < 1e-4
    assert (written.width, encoder.header.readings[0].pad_to) == (direct.shape[1], PADDED.get(kind, 0))
    assert np.abs(direct @ direct.T - 1).max() > 0.05  # the texts differ, so that equality says something


def test_a_text_is_cut_where_the_network_has_no_more_positions(duals, tmp_path):
    limits = {"clip": 77, "videoprism": 64, "clap": 40}  # RoBERTa has two positions more than it reads
    for kind, most in limits.items():
        path = write_dual_text(str(duals(kind)), tmp_path / f"{kind}.hcq").path
        assert ExportedTextEncoder(path).header.readings[0].max_tokens == most


def test_siglip_reads_small_letters_and_no_marks(duals, tmp_path):
    encoder = ExportedTextEncoder(write_dual_text(str(duals("siglip")), tmp_path / "text.hcq").path)
    assert np.array_equal(encoder.encode(["A Dog"]), encoder.encode(["a dog"]))
    tokenizer = AutoTokenizer.from_pretrained(duals("siglip")).backend_tokenizer
    make_letters_small(tokenizer, True)
    assert tokenizer.encode("  A dog,   (here)!").ids == tokenizer.encode("a dog here").ids


def test_the_scale_and_the_bias_of_the_logits_are_kept(duals, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(duals("siglip"), tmp_path / "siglip"))
    weights = load_file(folder / "model.safetensors")
    weights |= {"logit_scale": torch.tensor([4.7]), "logit_bias": torch.tensor([-16.5])}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    written = write_dual_text(str(folder), tmp_path / "text.hcq")
    assert (written.scale, written.bias) == (pytest.approx(np.exp(4.7), rel=1e-5), pytest.approx(-16.5))
    # They make of the cosines what the network itself makes of a text and a picture.
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXTS[:2], padding="max_length", max_length=64, return_tensors="pt")["input_ids"]
    side = model.config.vision_config.image_size
    pixels = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        told = torch.sigmoid(model(input_ids=ids, pixel_values=pixels).logits_per_text).numpy()
        seen = torch.nn.functional.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=1)
    cosines = ExportedTextEncoder(written.path).encode(TEXTS[:2])[:, 0] @ seen.numpy().T
    assert 1 / (1 + np.exp(-(written.scale * cosines + written.bias))) == pytest.approx(told, rel=1e-2)
    assert write_dual_text(str(duals("videoprism")), tmp_path / "other.hcq").scale is None


def test_a_query_reads_without_torch(duals, tmp_path):
    path = write_dual_text(str(duals("clip")), tmp_path / "text.hcq").path
    code = (
        "import sys; from pathlib import Path; from hcq_cli.model.exported_text_encoder import ExportedTextEncoder; "
        f"print(ExportedTextEncoder(Path({str(path)!r})).encode(['a dog']).shape); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    assert "(1, 1, 24)" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout


def test_what_needs_code_of_its_own_or_has_no_tokenizer_is_refused(duals, tmp_path):
    folder = Path(shutil.copytree(duals("clip"), tmp_path / "mine"))
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(WeightsError, match="has no tokenizer"):
        write_dual_text(str(folder), tmp_path / "text.hcq")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(RefusedError, match="custom code"):
        write_dual_text(str(folder), tmp_path / "text.hcq")
