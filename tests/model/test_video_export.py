"""The exported video side does what the network does, for every kind of model, and gives the same codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_baselines import baseline
from small_models import CAPTIONS, EXPERTS, batch, model

from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.errors import HcqError
from hcq_cli.fitting.network import FittedEncoder
from hcq_cli.importers.official.checkpoint import ImportedNetwork, model_config
from hcq_cli.importers.official.description import OfficialModel
from hcq_cli.importers.official.options import QuantizerOptions, ReferenceExpert, ReferenceOptions
from hcq_cli.model import checkpoint, text
from hcq_cli.model.checkpoint import VIDEO_FILE
from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig, VideoConfig
from hcq_cli.model.export import TOLERANCE
from hcq_cli.model.exported_video_encoder import ExportedVideoEncoder
from hcq_cli.model.trained_model import Model
from hcq_cli.model.video_export import export_video_encoder, sample

ROTATED = QuantizerConfig(codebooks=4, codewords=16, rotation="all", hubness=0.5)


def rotated() -> Model:
    """With a rotation, hubs that are corrected, fewer codewords in use than there are, and standardised features."""
    made: Any = model(quantizer=ROTATED)
    network = made.network
    network.quantizer.rotation.copy_(torch.linalg.qr(torch.randn(4 * 32, 4 * 32))[0])
    network.quantizer.active.fill_(11)
    levels = torch.nn.functional.normalize(torch.randn(40, 4, 32), dim=-1)
    network.hubness.fit(levels, torch.nn.functional.normalize(torch.randn(40, 4, 32), dim=-1), torch.arange(40))
    for scale in network.video_encoder.scales:
        scale.mean.normal_()
        scale.deviation.uniform_(0.5, 2)
    return made


def fitted() -> Model:
    """Of every kind of source: probabilities, logits, more classes than axes, words, a dual encoder."""
    torch.manual_seed(0)
    experts = {
        "objects": ExpertConfig(40, reads="probabilities", weight=0.7),
        "many": ExpertConfig(2100, reads="softmax"),
        "sounds": ExpertConfig(5, reads="sigmoid"),
        "speech": ExpertConfig(16, reads="sentences"),
        "dual": ExpertConfig(12, reads="joint"),
    }
    shape = ModelConfig(
        kind="fitted",
        width=2128,
        levels=0,
        text=TextConfig(layers=1, heads=2, width=16, ffn=32),
        video=VideoConfig(heads=1, layers=0),
        quantizer=QuantizerConfig(codebooks=8, codewords=16, rotation="all", hubness=0.25),
        experts=experts,
    ).check()
    caption_encoder = text.build(shape.text, CAPTIONS)
    network = FittedEncoder(shape, caption_encoder.transformer)
    for part in network.parts().values():
        part.names.copy_(torch.nn.functional.normalize(torch.randn(part.names.shape), dim=1))
        part.rarity.uniform_()
    network.spaces["dual"].mean.normal_(0, 0.1)
    network.centre.normal_(0, 0.05)
    network.quantizer.codewords.data.normal_(0, 0.1)
    return Model(network, caption_encoder, "fitted")


def imported() -> Model:
    caption_encoder = text.build(TextConfig(layers=1, heads=2, width=16, ffn=32), CAPTIONS)
    options = ReferenceOptions(
        experts={"appearance": ReferenceExpert(6, 1), "audio": ReferenceExpert(5, 2)},
        same_dim=32,
        clusters=3,
        quantizer=QuantizerOptions(4, 16),
        ffn=32,
    )
    shape = model_config(OfficialModel(options, "scratch", 12, 5, []), "scratch")
    network: Any = ImportedNetwork(shape, options, caption_encoder.transformer)
    return Model(network, caption_encoder, "imported")


def hashing() -> Model:
    made: Any = baseline("dcmh", quantizer=QuantizerConfig(codebooks=4))
    made.network.hashes.fill_(True)
    return made


MODELS = {
    "hcq": model,
    "rotated": rotated,
    "coarse": lambda: model(levels=0),
    "batch norm": lambda: model(fine_norm="batch"),
    "jpq": lambda: baseline("jpq"),
    "dcmh": hashing,
    "imported": imported,
    "fitted": fitted,
}


def saved(made: Model, folder: Path) -> Model:
    checkpoint.save(folder, made.network, made.caption_encoder)
    return checkpoint.load(folder)


@pytest.mark.parametrize("kind", list(MODELS))
def test_it_equals_the_network_whatever_a_video_lacks(kind: str, tmp_path: Path) -> None:
    exact = saved(MODELS[kind](), tmp_path / "model")
    export_video_encoder(exact, tmp_path / "model")
    found = ExportedVideoEncoder(tmp_path / "model" / VIDEO_FILE, checkpoint.read_header(tmp_path / "model"))
    batches: list[VideoBatch] = [sample(exact.config, 37), sample(exact.config, 1)]
    if exact.config.experts.keys() == EXPERTS.keys() and not exact.network.pads_videos:
        batches += [
            batch({"appearance": [3, 0, 5, 1], "audio": [0, 0, 2, 30]}, padding=3),  # rubbish in the padding
            batch({"audio": [4, 1]}),  # an expert that the features lack
        ]
    for given in batches:
        levels = exact.encode_videos(given)
        assert np.abs(found.encode_videos(given) - levels).max() < TOLERANCE
        assert np.abs(found.encode_video_queries(given) - exact.search_vectors(levels)).max() < TOLERANCE
        codes = exact.encode_codes(given)
        assert found.encode_codes(given).dtype == np.uint8 and found.encode_codes(given).shape == codes.shape
        # Of a video in which there is nothing the vector may be 0, as near to one codeword as to any other.
        there = np.any([mask.any(1) for mask in given.mask.values()], 0)
        assert (found.encode_codes(given) == codes)[there].mean() > 0.999
    assert (found.codebooks == exact.codebooks).all() and (found.scale == exact.scale).all()
    assert (found.hash, found.nearness) == (exact.hash, exact.nearness)
    assert len(np.unique(found.encode_codes(batches[0]), axis=0)) > 5


def test_a_video_has_the_same_codes_beside_any_others(tmp_path: Path) -> None:
    exact = saved(rotated(), tmp_path / "model")
    found = export_video_encoder(exact, tmp_path / "model")
    whole = sample(exact.config, 37)
    codes, alone = found.encode_codes(whole), []
    for at in range(37):
        one = VideoBatch(*({name: part[name][at : at + 1] for name in part} for part in vars(whole).values()))
        alone.append(found.encode_codes(one)[0])
    assert (codes == alone).mean() > 0.999


def test_an_export_that_is_another_network_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in a tracer shows in the vectors, and then there is no export."""
    exact = saved(model(), tmp_path / "model")
    encode = Model.encode_videos
    monkeypatch.setattr(Model, "encode_videos", lambda self, given: encode(self, given) * np.float32(1.001))
    with pytest.raises(HcqError, match="video side is off by"):
        export_video_encoder(exact, tmp_path / "model")
    assert not list((tmp_path / "model").glob("*video*"))


def test_what_no_tracer_takes_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = saved(model(), tmp_path / "model")
    monkeypatch.setattr(type(exact.network), "embed_videos", lambda self, videos: torch.linalg.eig(torch.eye(3))[0])
    with pytest.raises(HcqError, match="video side cannot be exported"):
        export_video_encoder(exact, tmp_path / "model")
