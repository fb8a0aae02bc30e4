"""Folders of sentence-transformers: a network that lies in one, and pipelines that the library runs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_duals

from experts.base import Clip, Frames, Waveform
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
        (("sentence_transformers.models.Magic",), {}, WeightsError, "hcq knows no module Magic"),
        ((), {"inner": "../elsewhere"}, RefusedError, "no folder in it"),
        ((), {"inner": "/etc"}, RefusedError, "no folder in it"),
    ],
)
def test_what_is_more_than_a_network_is_refused_and_named(more, how, kind, said, clip_folder, tmp_path):
    folder = laid_out(tmp_path / "st", clip_folder, *more, **how)
    with pytest.raises(kind, match=said):
        load([f"dual={folder}"])


def pipelines(root: Path) -> dict[str, Path]:
    """Pipelines of which more than one network is needed, as the library saves them."""
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    import torch
    from sentence_transformers.sentence_transformer import modules as parts
    from tokenizers import Tokenizer

    networks = {kind: tiny_duals.save(kind, root) for kind in ("clip", "clap")}
    torch.manual_seed(3)
    words = Tokenizer.from_file(str(networks["clip"] / "tokenizer.json"))
    routes = {
        "text": [parts.StaticEmbedding(words, embedding_dim=16), parts.Dense(16, 24)],
        "image": [parts.Transformer(str(networks["clip"]))],
    }
    heard = parts.Transformer(str(networks["clap"]), processor_kwargs={"model_max_length": 40})
    asked = {(None, "text"): "text", (None, "image"): "image"}
    made = {
        "dense": ([parts.Transformer(str(networks["clip"])), parts.Dense(24, 12)], {}),
        "prompted": ([parts.Transformer(str(networks["clip"])), parts.Dense(24, 12)], {"prompts": {"query": "see "}}),
        "routed": ([parts.Router(routes, route_mappings=asked, default_route="text"), parts.Normalize()], {}),
        "heard": ([heard, parts.Dense(16, 8)], {}),
    }
    for name, (modules, settings) in made.items():
        library.SentenceTransformer(modules=modules, device="cpu", **settings).save(str(root / name))
    return {name: root / name for name in made}


@pytest.fixture(scope="module")
def piped(tmp_path_factory) -> dict[str, Path]:
    return pipelines(tmp_path_factory.mktemp("pipelines"))


@pytest.mark.parametrize("kind", ["dense", "prompted", "routed", "heard"])
def test_both_sides_of_a_pipeline_are_what_the_library_gives(kind, piped, tmp_path):
    import sentence_transformers
    from PIL import Image

    model = sentence_transformers.SentenceTransformer(str(piped[kind]), device="cpu")
    if kind == "heard":
        hz, wave = 48_000, np.sin(np.arange(48_000 * 4) / 20).astype(np.float32)
        clip = Clip(0.0, 4.0, False, True, {}, {hz: Waveform(wave, hz, 0.0)})
        direct = model.encode([{"array": wave, "sampling_rate": hz}])
        expert = load([f"dual={piped[kind]}"])[0]
        expert.prepare("cpu")
        found = expert.extract(clip).features
    else:
        images = np.random.default_rng(0).integers(0, 255, (2, 40, 60, 3), np.uint8)
        direct, found = model.encode([Image.fromarray(image) for image in images]), frame_vectors(piped[kind])
    assert found.shape == direct.shape and np.abs(found - direct).max() < 1e-4
    read = model.encode_query(["a dog", "snow"], normalize_embeddings=True)
    assert np.abs(text_vectors(piped[kind], tmp_path / "text.hcq") - read).max() < 1e-4
    assert load([f"dual={piped[kind]}"])[0].dim == direct.shape[1] == read.shape[1]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("1_Dense/config.json", {"activation_function": "os.system"}, "activation_function"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "/etc"}, "tokenizer_name_or_path"),
        ("sentence_bert_config.json", {"model_args": {"trust_remote_code": True}}, "model_args"),
        ("sentence_bert_config.json", {"modality_config": {"image": {"method": "push_to_hub"}}}, "push_to_hub"),
        ("sentence_bert_config.json", {"modality_config": [["image"]]}, "modality_config"),
        ("config.json", {"auto_map": {"AutoModel": "mine.Model"}}, "custom code"),
        ("1_Dense/config.json", {"in_features": 10**6, "out_features": 10**5}, "larger network than its weights"),
    ],
)
def test_a_pipeline_that_asks_for_more_than_modules_is_refused(name, change, said, piped, tmp_path):
    folder = shutil.copytree(piped["dense"], tmp_path / "mine")
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | change))
    with pytest.raises(RefusedError, match=said):
        load([f"dual={folder}"])[0].prepare("cpu")


def test_a_pipeline_with_a_pickle_is_refused(piped, tmp_path):
    folder = shutil.copytree(piped["dense"], tmp_path / "mine")
    (folder / "1_Dense" / "model.safetensors").rename(folder / "1_Dense" / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="as a pickle"):
        load([f"dual={folder}"])


def test_a_pipeline_that_hears_and_does_not_say_what_is_refused(piped, tmp_path):
    folder = shutil.copytree(piped["heard"], tmp_path / "mine")
    for path in folder.rglob("*processor_config.json"):
        path.unlink()
    with pytest.raises(WeightsError, match="does not say what sound"):
        load([f"dual={folder}"])


def test_a_pipeline_without_the_library_names_what_brings_it(piped, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(WeightsError, match="Transformer") as raised:
        load([f"dual={piped['dense']}"])[0].prepare("cpu")
    assert raised.value.hint == "pip install sentence-transformers"


def test_a_network_in_it_that_asks_for_code_is_refused(clip_folder, tmp_path):
    folder = laid_out(tmp_path / "st", clip_folder)
    path = folder / "0_CLIPModel" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(RefusedError, match="custom code"):
        load([f"dual={folder}"])
