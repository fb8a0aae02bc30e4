"""Folders of sentence-transformers: their dual encoder is the network that lies in them; what is more is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_duals

from experts.base import Clip, Frames
from experts.neural.weights import RefusedError, WeightsError
from experts.registry import load
from hcq_cli.fitting.dual import write_dual_text
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder

CLIP_MODULE = "sentence_transformers.models.CLIPModel"


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory) -> Path:
    return tiny_duals.save("clip", tmp_path_factory.mktemp("duals"))


def laid_out(folder: Path, network: Path, *more: str, inner: str = "0_CLIPModel", first: str = CLIP_MODULE) -> Path:
    """A folder as the library writes it, with the network in a folder of its own."""
    shutil.copytree(network, folder / "0_CLIPModel")
    modules = [{"idx": 0, "name": "0", "path": inner, "type": first}]
    modules += [{"idx": at, "name": str(at), "path": f"{at}_", "type": kind} for at, kind in enumerate(more, 1)]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def frame_vectors(source: Path) -> np.ndarray:
    expert = load([f"dual={source}"])[0]
    expert.prepare("cpu")
    images = np.random.default_rng(0).integers(0, 255, (2, 40, 60, 3), np.uint8)
    frames = {expert.sampling: Frames(images, np.arange(2, dtype=np.float32))}
    return expert.extract(Clip(0.0, 2.0, True, False, frames)).features


def text_vectors(source: Path, path: Path) -> np.ndarray:
    return ExportedTextEncoder(write_dual_text(str(source), path).path).encode(["a dog", "snow"])[:, 0]


def test_both_sides_are_those_of_the_network_in_it(clip_folder, tmp_path):
    folder = laid_out(tmp_path / "st", clip_folder, "sentence_transformers.models.Normalize")
    assert np.array_equal(frame_vectors(folder), frame_vectors(clip_folder))
    texts = [text_vectors(each, tmp_path / f"{at}.hcq") for at, each in enumerate((folder, clip_folder))]
    assert np.array_equal(*texts)
    assert load([f"dual={folder}"])[0].weights == load([f"dual={clip_folder}"])[0].weights


def test_vectors_are_those_that_the_library_gives(clip_folder, tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from PIL import Image

    saved = tmp_path / "saved"
    library.SentenceTransformer(str(clip_folder), device="cpu").save(str(saved))
    model = library.SentenceTransformer(str(saved), device="cpu")
    images = np.random.default_rng(0).integers(0, 255, (2, 40, 60, 3), np.uint8)
    direct = np.asarray(model.encode([Image.fromarray(image) for image in images]))
    assert np.abs(frame_vectors(saved) - direct).max() < 1e-4
    read = np.asarray(model.encode(["a dog", "snow"], normalize_embeddings=True))
    assert np.abs(text_vectors(saved, tmp_path / "text.hcq") - read).max() < 1e-4


@pytest.mark.parametrize(
    ("more", "how", "kind", "said"),
    [
        ((), {"first": "mine.Network"}, RefusedError, "asks for code of its own \\(mine.Network\\)"),
        (("mine.Pooling",), {}, RefusedError, "asks for code of its own \\(mine.Pooling\\)"),
        (("sentence_transformers.models.Dense",), {}, WeightsError, "is made of CLIPModel, Dense"),
        ((), {"inner": "../elsewhere"}, RefusedError, "no folder in it"),
        ((), {"inner": "/etc"}, RefusedError, "no folder in it"),
    ],
)
def test_what_is_more_than_a_network_is_refused_and_named(more, how, kind, said, clip_folder, tmp_path):
    folder = laid_out(tmp_path / "st", clip_folder, *more, **how)
    with pytest.raises(kind, match=said):
        load([f"dual={folder}"])


def test_a_network_in_it_that_asks_for_code_is_refused(clip_folder, tmp_path):
    folder = laid_out(tmp_path / "st", clip_folder)
    path = folder / "0_CLIPModel" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(RefusedError, match="custom code"):
        load([f"dual={folder}"])
