"""A model without captions finds what its classes are called, with far fewer videos than codewords."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from concept_features import CLIPS, classifiers, sentence_encoder, write_store

from hcq_cli.datasets.batches import collate
from hcq_cli.errors import HcqError
from hcq_cli.fitting import fitting
from hcq_cli.fitting.sources import Source, classifier
from hcq_cli.model.checkpoint import load
from hcq_cli.model.config import TextConfig
from hcq_cli.model.trained_model import Model
from hcq_cli.scan.table import tables


def fitted(folder: Path, features=None, encoder: Path | None = None) -> tuple[Model, fitting.Fitted, np.ndarray]:
    paths = classifiers(folder)
    seen = features or CLIPS
    store = write_store(folder / "features", paths, seen)
    sources = [classifier(store, f"onnx:{path}") for path in paths.values()]
    done = fitting.fit(
        store,
        sources,
        folder / "model",
        weights={"objects": 1.0, "sounds": 0.5},
        encoder=TextConfig(encoder=str(sentence_encoder(encoder or folder))),
        code_bytes=8,
        about={},
    )
    model = load(folder / "model")
    tokens = store.read(np.arange(len(store)), list(model.config.experts))
    return model, done, model.encode_videos(collate(tokens, 128))


def scores(model: Model, texts: list[str], videos: np.ndarray) -> np.ndarray:
    table = tables(model.search_vectors(model.encode_texts(texts)), model.codebooks, model.scale)
    codes = model.quantize(videos, "videos")
    return table[:, np.arange(codes.shape[1]), codes].sum(-1)


def test_every_name_finds_its_video_by_the_codes(tmp_path: Path) -> None:
    model, done, videos = fitted(tmp_path)
    assert (done.videos, model.hash, model.config.bytes_per_video) == (3, done.hash, 8)
    # Fewer videos than codewords: each is one, and the codes give it back.
    assert done.error < 1e-6
    found = scores(model, ["dog", "ball", "red"], videos)
    assert found.argmax(1).tolist() == [0, 1, 2]
    again = fitted(tmp_path / "again", encoder=tmp_path)[1]
    assert again.hash == done.hash


def test_one_video_is_enough(tmp_path: Path) -> None:
    model, done, videos = fitted(tmp_path, {"dog.mp4": CLIPS["dog.mp4"]})
    assert done.videos == 1 and done.error < 1e-6
    assert np.isfinite(scores(model, ["dog"], videos)).all()


def test_made_up_videos_show_other_classes_as_clearly(tmp_path: Path) -> None:
    model, _, _ = fitted(tmp_path, {"dog.mp4": CLIPS["dog.mp4"]})
    network = model.network
    made_up = network.made_up_videos()[:, 0] + network.centre
    place = slice(network.text_encoder.hidden, network.text_encoder.hidden + 3)
    shares = made_up[:, place] / network.parts()["objects"].balance
    real = network.centre[place] / network.parts()["objects"].balance  # of a single video
    assert np.allclose(np.sort(shares, 1), np.sort(real), atol=2e-3)
    assert set(shares.argmax(1).tolist()) == {0, 1, 2}
    again = fitted(tmp_path / "again", {"dog.mp4": CLIPS["dog.mp4"]}, tmp_path)[0].network.made_up
    assert (again == network.made_up).all()


def test_more_videos_than_codewords_are_quantized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    many = {f"v{at}.mp4": rng.dirichlet([0.3] * 3, size=2).tolist() for at in range(300)}
    monkeypatch.setattr(fitting, "MOST_VIDEOS", 290)  # and not all of them are looked at
    model, done, videos = fitted(tmp_path, many)
    assert done.videos == 290 and 0 < done.error < 0.05
    dense = model.encode_texts(["dog", "ball", "red"])[:, 0] @ videos[:, 0].T
    assert np.corrcoef(dense.ravel(), scores(model, ["dog", "ball", "red"], videos).ravel())[0, 1] > 0.98


def test_videos_without_a_token_are_no_videos(tmp_path: Path) -> None:
    with pytest.raises(HcqError, match="objects and sounds found nothing to see or hear"):
        fitted(tmp_path, {"empty.mp4": []})


def test_what_was_said_counts_as_sentences(tmp_path: Path) -> None:
    shape = fitting._shape(
        [Source("speech", _info(32), "sentences", [])], {"speech": 0.5}, TextConfig(), hidden=32, code_bytes=8
    )
    assert shape.width == 32 and shape.experts["speech"].reads == "sentences"


def _info(dim: int):
    from hcq_cli.features.records import ExpertInfo

    return ExpertInfo("speech", dim, "speech|1|||", videos=1, left_out=0)
