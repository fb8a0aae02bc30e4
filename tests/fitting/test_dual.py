"""Dual encoders among the sources of a fitted model: from features to answers, scored as the encoder itself does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_duals
import pytest
import small_clip
import tiny_duals
from concept_features import classifiers, sentence_encoder
from concept_features import write_store as write_concepts
from dual_features import NAMES, write_store
from in_process import run_here

from experts.base import Clip, Frames
from experts.registry import load
from hcq_cli.datasets.batches import collate
from hcq_cli.datasets.dataset import has_tokens
from hcq_cli.demo.clips import compose
from hcq_cli.demo.grammar import captions
from hcq_cli.errors import EXIT_DAMAGED, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE, DamagedError, NotFoundError
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.fitting.dual import preset_sources, write_dual_text
from hcq_cli.fitting.sentences import generic_sentences
from hcq_cli.model import checkpoint
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder

ASKED = ["a dog in the snow", "two men", "red"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("duals")


def fit(workspace: Path, sources: dict[str, str], *more: str) -> None:
    write_store(workspace / "features", sources)
    run_here("fit", "--dual", ",".join(sources.values()), "--bytes", "8", "-w", workspace, *more)


def direct(workspace: Path, sources: dict[str, str], tmp_path: Path) -> dict[str, np.ndarray]:
    """Cosines of the encoders themselves, [queries, videos], less their mean over the videos; by expert."""
    store, found = FeatureStore.open(workspace / "features"), {}
    for name, source in sources.items():
        tokens = store.read(np.arange(len(store)), [name])[name]
        units = tokens.features / np.linalg.norm(tokens.features, axis=1, keepdims=True)
        bounds = zip(tokens.offsets, tokens.offsets[1:], strict=False)
        means = np.array([units[a:b].sum(0) if b > a else np.zeros(units.shape[1]) for a, b in bounds])
        there = np.linalg.norm(means, axis=1) > 0
        means[there] /= np.linalg.norm(means[there], axis=1, keepdims=True)
        texts = ExportedTextEncoder(write_dual_text(source, tmp_path / f"{name}.hcq").path).encode(ASKED)[:, 0]
        scores = texts @ means.T
        found[name] = np.where(there, scores - scores[:, there].mean(1, keepdims=True), 0)
    return found


def dense_scores(workspace: Path) -> np.ndarray:
    """Scores of the fitted model without codes, [queries, videos]."""
    model, store = checkpoint.load(workspace / "model"), FeatureStore.open(workspace / "features")
    videos = model.encode_videos(collate(store.read(np.arange(len(store)), list(model.config.experts)), 128))
    return model.encode_texts(ASKED)[:, 0] @ videos[:, 0].T


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "clap", "xclip", "videoprism", "onnx"])
def test_the_model_scores_as_the_dual_encoder_does(kind, root, tmp_path):
    workspace = tmp_path / ".hcq"
    source = f"onnx:{onnx_duals.save(root)}" if kind == "onnx" else str(tiny_duals.save(kind, root))
    fit(workspace, {"dual": source}, "--text-encoder", "no/such")  # which is not needed
    exact, scores = direct(workspace, {"dual": source}, tmp_path)["dual"], dense_scores(workspace)
    gain = float((exact * scores).sum() / (exact * exact).sum())
    assert gain > 0 and np.abs(scores / gain - exact).max() < 1e-4
    run_here("encode", "-w", workspace, "--json")
    run_here("index", "build", "-w", workspace, "--json")
    answer = run_here("query", ASKED[0], "-w", workspace, "--json").json
    assert answer["hits"][0]["id"] == NAMES[int(scores[0].argmax())]  # with 6 videos their codes lose nothing
    model, (tower,) = checkpoint.load(workspace / "model"), (workspace / "index").glob("tower-*.hcq")
    exact = model.search_vectors(model.encode_texts(ASKED))
    assert np.abs(ExportedTextEncoder(tower).encode(ASKED) - exact).max() < 1e-4


def test_two_at_once_and_concepts_beside_them(root, tmp_path):
    workspace, paths = tmp_path / ".hcq", classifiers(tmp_path)
    write_concepts(workspace / "features", paths)
    sources = {"dual": str(tiny_duals.save("clip", root)), "dual-sound": str(tiny_duals.save("clap", root))}
    write_store(workspace / "features", sources)
    encoder = ["--text-encoder", str(sentence_encoder(tmp_path)), "--bytes", "16", "-w", workspace]
    made = run_here(
        "fit", "--concepts", f"onnx:{paths['objects']}", "--dual", ",".join(sources.values()), *encoder, "--json"
    ).json
    assert made["experts"] == {"objects": 1.0, "dual": 2.0, "dual-sound": 0.5}
    logits = checkpoint.read_header(workspace / "model").about["logits"]
    assert logits["dual"] == {"scale": pytest.approx(14.28, abs=0.01), "bias": 0.0} and "dual-sound" in logits
    run_here("encode", "-w", workspace)
    run_here("index", "build", "-w", workspace)
    code = "import sys; sys.modules['torch'] = None; from hcq_cli.app import main; main()"
    asked = [sys.executable, "-c", code, "query", "dog", "-w", str(workspace), "--json"]
    hits = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)["hits"]
    assert {hit["id"] for hit in hits} >= {"dog.mp4", *NAMES}
    model = checkpoint.load(workspace / "model")
    (tower,) = (workspace / "index").glob("tower-*.hcq")
    exact = model.search_vectors(model.encode_texts(ASKED))
    assert len(ExportedTextEncoder(tower).header.readings) == 3
    assert np.abs(ExportedTextEncoder(tower).encode(ASKED) - exact).max() < 1e-4
    # What a weight says: how far apart a source's scores of a query lie, against those of the classifiers together.
    store, network = FeatureStore.open(workspace / "features"), model.network
    seen = model.encode_videos(collate(store.read(np.arange(len(store)), list(model.config.experts)), 128))[:, 0]
    asked = model.encode_texts(generic_sentences())[:, 0]
    usual = spread(asked[:, : network.named_axes], (seen + network.centre.numpy())[:, : network.named_axes])
    for name, weight in (("dual", 2.0), ("dual-sound", 0.5)):
        place = network.places[name]
        there = seen[:, place][np.asarray(has_tokens(store, np.arange(len(store)), [name]))[:, 0]]
        assert spread(asked[:, place], there) / usual == pytest.approx(weight, rel=1e-3)


def spread(asked: np.ndarray, seen: np.ndarray) -> float:
    return float((asked @ (seen - seen.mean(0)).T).std(1).mean())


def test_smaller_weights_find_much_the_same(root, tmp_path):
    workspace = tmp_path / ".hcq"
    fit(workspace, {"dual": str(tiny_duals.save("siglip", root))})
    run_here("encode", "-w", workspace)
    run_here("index", "build", "--text-side", "int8", "-w", workspace, "--json")
    (tower,) = (workspace / "index").glob("tower-*.hcq")
    small, model = ExportedTextEncoder(tower), checkpoint.load(workspace / "model")
    exact = model.search_vectors(model.encode_texts(ASKED))[:, 0]
    found = small.encode(ASKED)[:, 0]
    assert small.header.precision == "int8"
    likeness = (exact * found).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert likeness.min() > 0.95


def test_a_large_text_side_is_made_small_by_itself(root, tmp_path, monkeypatch):
    workspace = tmp_path / ".hcq"
    fit(workspace, {"dual": str(tiny_duals.save("clip", root))})
    run_here("encode", "-w", workspace)
    for largest, precision in ((1 << 40, "float32"), (1000, "int8")):
        monkeypatch.setattr("hcq_cli.search.text_side.LARGE_TOWERS_BYTES", largest)
        run_here("index", "build", "-w", workspace)
        assert run_here("index", "info", "-w", workspace, "--json").json["text_side"]["precision"] == precision


def test_what_does_not_fit_is_named(root, tmp_path):
    workspace, clip = tmp_path / ".hcq", str(tiny_duals.save("clip", root))
    write_store(workspace / "features", {"dual": clip})
    other = str(tiny_duals.save("siglip", root))
    said = run_here("fit", "--dual", other, "-w", workspace, code=EXIT_NOT_FOUND).err
    assert "has not looked at the videos" in said and f"--experts dual-1={other}" in said
    said = run_here("fit", "--preset", "laptop", "-w", workspace, code=EXIT_NOT_FOUND).err
    assert "google/siglip2-base-patch16-224" in said and "hcq models fetch laptop" in said
    assert "light|laptop|gpu" in run_here("fit", "--preset", "phone", "-w", workspace, code=EXIT_USAGE).err
    folder = onnx_duals.save(root)
    (tmp_path / "wide").mkdir()
    for name in ("image.onnx", "image.json"):
        (tmp_path / "wide" / name).write_bytes((folder / name).read_bytes())
    other = onnx_duals.save(root, "siglip")
    for name in ("text.onnx", "tokenizer.json"):
        (tmp_path / "wide" / name).write_bytes((other / name).read_bytes())
    (tmp_path / "wide" / "text.json").write_text('{"pad_to": 64}')
    wide = f"onnx:{tmp_path / 'wide'}"
    write_store(tmp_path / "other" / "features", {"dual": wide})
    said = run_here("fit", "--dual", wide, "-w", tmp_path / "other", code=EXIT_FAILED).err
    assert "texts are vectors of width 32, what it sees or hears of 24" in said


def test_a_dual_encoder_that_needs_code_of_its_own_is_refused(root, tmp_path):
    write_store(tmp_path / ".hcq" / "features", {"dual": str(tiny_duals.save("clip", root))})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"auto_map": {"AutoModel": "mine.Model"}}')
    said = run_here("fit", "--dual", tmp_path / "mine", "-w", tmp_path / ".hcq", code=EXIT_DAMAGED).err
    assert "custom code (auto_map), which hcq never loads" in said


@pytest.fixture(scope="session")
def small_clip_folder(tmp_path_factory):
    """A dual encoder that has learned from the demo's captioned clips; HCQ_SMALL_CLIP names one made before."""
    made = os.environ.get("HCQ_SMALL_CLIP")
    return Path(made) if made else small_clip.train(tmp_path_factory.mktemp("learned") / "small-clip")


@pytest.mark.slow
@pytest.mark.parametrize("collection", ["the test clips", "more clips than codewords"])
def test_codes_of_a_dual_encoder_that_has_learned_find_what_its_vectors_find(collection, small_clip_folder, tmp_path):
    """Clips without captions: recall at 10 by 64 bytes within 3 points of that by its dense vectors."""
    clips = compose(small_clip.CLIPS, small_clip.SEED) if collection == "the test clips" else compose(1600, 8)
    clips = [clip for clip in clips if clip.split == "test"]
    assert len(clips) == (60 if collection == "the test clips" else 266)
    workspace, expert = tmp_path / ".hcq", load([f"dual={small_clip_folder}"])[0]
    for clip in clips:
        seen = {expert.sampling: Frames(small_clip.frames(clip), np.arange(3, dtype=np.float32))}
        tokens = {"dual": expert.extract(Clip(0.0, 3.0, True, False, seen))}
        facts = (clip.file, f"/videos/{clip.file}", f"c-{clip.number}", 100, 1, 3.0, "pyav", [])
        write_incoming(workspace / "features", VideoFeatures(*facts, tokens, {"dual": f"dual|1|{expert.weights}||"}))
    lines = [{"video": clip.file, "captions": captions(clip, small_clip.SEED)} for clip in clips]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_here("fit", "--dual", small_clip_folder, "--bytes", "64", "-w", workspace)
    run_here("encode", "-w", workspace)
    measured = run_here("eval", "--captions", tmp_path / "captions.jsonl", "-w", workspace, "--json").json
    by_codes, dense = measured["t2v"]["R10"], measured["dense"]["t2v"]["R10"]
    assert dense > (80 if collection == "the test clips" else 30)
    assert by_codes > dense - 3


def test_a_preset_is_taken_where_its_networks_are_and_else_each_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HCQ_CACHE", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"not on this machine: .* \(about .* GB\)") as caught:
        preset_sources("light")
    assert caught.value.hint == "hcq models fetch light"
    (tmp_path / "models.json").write_text("[1]")
    with pytest.raises(DamagedError, match=r"models\.json: is no list of fetched models"):
        preset_sources("light")
