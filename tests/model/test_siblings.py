"""The siblings' networks: their codes against plain NumPy, and that they lie in the code file as anyone's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import CAPTIONS, batch, config

from hcq_cli.errors import HcqError, UsageError
from hcq_cli.evaluation.scores import LookUpScores
from hcq_cli.model import networks, text
from hcq_cli.model.checkpoint import Model, load, save
from hcq_cli.model.config import ModelConfig, QuantizerConfig
from hcq_cli.model.siblings.dcmh import DCMH
from hcq_cli.model.siblings.jpq import JPQ, EuclideanQuantizer

COUNTS = {"appearance": [4, 2, 1], "audio": [3, 0, 2]}


def sibling(kind: str, seed: int = 0, **changes: object) -> Model:
    torch.manual_seed(seed)
    shape = config(kind=kind, levels=3 if kind == "hct" else 0, **changes)
    tower = text.build(shape.text, CAPTIONS)
    return Model(networks.build(shape, tower.encoder), tower, "unsaved")


def test_all_kinds_take_the_same_bytes() -> None:
    for kind in ("jpq", "dcmh"):
        equal = ModelConfig(kind=kind, width=512, levels=7, quantizer=QuantizerConfig(32, 256)).at_equal_bytes()
        assert (equal.levels, equal.quantizer.codebooks, equal.bytes_per_video) == (0, 256, 256)
        assert equal.check() == equal.at_equal_bytes()
    dense = ModelConfig(kind="hct", width=512, levels=7, quantizer=QuantizerConfig(32)).at_equal_bytes().check()
    assert (dense.bytes_per_video, dense.code_bytes) == (16384, 256)
    assert ModelConfig(kind="dcmh", levels=0, quantizer=QuantizerConfig(64)).check().embedding_width == 512
    for wrong in ({"kind": "jpq"}, {"kind": "dcmh", "levels": 0, "quantizer": QuantizerConfig(8, 16)}):
        with pytest.raises(UsageError, match=r"levels|256 patterns"):
            ModelConfig(**wrong).check()
    with pytest.raises(UsageError, match=r"model\.kind"):
        ModelConfig(kind="hcx").check()


@pytest.mark.parametrize("kind", ["jpq", "dcmh"])
def test_the_coarse_siblings_have_no_weight_that_nothing_trains(kind: str) -> None:
    names = {
        name.split(".")[0] for name, _ in sibling(kind, quantizer=QuantizerConfig(4, 256)).network.named_parameters()
    }
    assert not names & {"fine", "text_tokens"}


def test_dcmh_codes_are_the_signs_eight_a_byte() -> None:
    model = sibling("dcmh", quantizer=QuantizerConfig(5, 256))
    assert isinstance(model.network, DCMH)
    videos, texts = model.encode_videos(batch(COUNTS)), model.encode_texts(CAPTIONS)
    assert videos.shape == (3, 1, 40)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=-1), 1, atol=1e-5)
    codes = model.quantize(videos, "videos")
    np.testing.assert_array_equal(codes, np.packbits(videos[:, 0] > 0, axis=1, bitorder="little"))
    # A table's score is the query against the signs; of two signs it is the Hamming distance up to a constant.
    signs = np.where(videos[:, 0] > 0, 1, -1) / np.sqrt(40)
    found = LookUpScores(model.search_vectors(texts), codes, model.codebooks, model.scale)[:]
    np.testing.assert_allclose(found, texts[:, 0] @ signs.T, atol=1e-5)
    query = np.where(texts > 0, 1, -1).astype(np.float32) / np.float32(np.sqrt(40))
    differing = (query[:, 0][:, None] * signs[None] < 0).sum(-1)
    found = LookUpScores(query, codes, model.codebooks, model.scale)[:]
    np.testing.assert_allclose(found, 1 - differing / 20, atol=1e-5)


def test_jpq_codes_are_the_nearest_codewords_whatever_their_length() -> None:
    torch.manual_seed(0)
    quantizer = EuclideanQuantizer(QuantizerConfig(4, 7), 12)
    with torch.no_grad():
        quantizer.codewords.mul_(torch.rand(1, 4, 7, 1) * 3)
    x = torch.nn.functional.normalize(torch.randn(9, 1, 12), dim=-1).requires_grad_()
    chunks, words = x.detach().numpy().reshape(9, 4, 3), quantizer.codewords.detach().numpy()[0]
    wanted = ((chunks[:, :, None] - words[None]) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(quantizer.codes(x)[:, 0].numpy(), wanted)
    hard = quantizer(x)
    np.testing.assert_allclose(hard.detach().numpy()[:, 0], words[np.arange(4), wanted].reshape(9, 12), atol=1e-6)
    # The reference never trains its codebooks: here the chosen codewords have a gradient, and x has one as if chosen.
    hard.sum().backward()
    assert quantizer.codewords.grad is not None and float(quantizer.codewords.grad.abs().sum()) == 9 * 12
    assert x.grad is not None and bool((x.grad == 1).all())


def test_jpqs_rotation_changes_no_dense_score_and_its_table_scores_are_inner_products() -> None:
    model = sibling("jpq", quantizer=QuantizerConfig(8, 16))
    assert isinstance(model.network, JPQ)
    before = model.encode_texts(CAPTIONS)[:, 0] @ model.encode_videos(batch(COUNTS))[:, 0].T
    model.network.rotation.copy_(torch.linalg.qr(torch.randn(32, 32))[0])
    texts, videos = model.encode_texts(CAPTIONS), model.encode_videos(batch(COUNTS))
    np.testing.assert_allclose(texts[:, 0] @ videos[:, 0].T, before, atol=1e-5)
    rebuilt = model.network.quantizer(torch.from_numpy(videos)).detach().numpy()
    found = LookUpScores(model.search_vectors(texts), model.quantize(videos, "videos"), model.codebooks, model.scale)[
        :
    ]
    np.testing.assert_allclose(found, texts[:, 0] @ rebuilt[:, 0].T, atol=1e-5)


def test_hct_says_that_it_has_no_codes() -> None:
    model = sibling("hct")
    for ask in (lambda: model.codebooks, lambda: model.quantize(model.encode_texts(CAPTIONS), "texts")):
        with pytest.raises(HcqError, match="dense vectors alone") as caught:
            ask()
        assert "--compress" in caught.value.hint


@pytest.mark.parametrize("kind", ["hct", "jpq", "dcmh"])
def test_a_checkpoint_comes_back_as_its_kind(kind: str, tmp_path: Path) -> None:
    model = sibling(kind, quantizer=QuantizerConfig(4, 256))
    save(tmp_path, model.network, model.tower)
    again = load(tmp_path)
    assert type(again.network) is type(model.network) and again.config == model.config
    np.testing.assert_array_equal(again.encode_videos(batch(COUNTS)), model.encode_videos(batch(COUNTS)))
