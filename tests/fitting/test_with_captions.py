"""hcq train --init on a fitted model: words that no class is called find what their captions say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from concept_features import classifiers, sentence_encoder, write_store
from dual_features import write_store as write_dual
from in_process import run_here
from tiny_duals import save

from hcq_cli.errors import EXIT_USAGE
from hcq_cli.fitting.adapter import TextAdapter
from hcq_cli.model import checkpoint
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder

WORDS = ["fox", "jumps", "lazy"]
"""What captions call the three classes; the classifier calls them otherwise."""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose 36 videos, of three kinds, a model was fitted to."""
    folder = tmp_path_factory.mktemp("with-captions")
    rng, workspace = np.random.default_rng(0), folder / ".hcq"
    seen = {f"v{n:02d}.mp4": rng.dirichlet(np.eye(3)[n % 3] * 30 + 1, 2).tolist() for n in range(36)}
    paths = classifiers(folder)
    write_store(workspace / "features", paths, seen, {})
    encoder = ["--text-encoder", str(sentence_encoder(folder)), "--bytes", "8"]
    run_here("fit", "--concepts", f"onnx:{paths['objects']}", *encoder, "-w", workspace)
    lines = [{"video": name, "caption": f"the {WORDS[n % 3]}"} for n, name in enumerate(seen) if n < 24]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def found(workspace: Path, model: Path, word: str) -> list[int]:
    """The kinds of the twelve best videos."""
    run_here("encode", "--ckpt", model, "-w", workspace)
    run_here("index", "build", "--no-words", "-w", workspace)  # what the model finds, not what captions say
    hits = run_here("query", f"the {word}", "-k", "12", "--all", "-w", workspace, "--json").json["hits"]
    return [int(hit["id"][1:3]) % 3 for hit in hits]


def test_captions_teach_words_and_new_videos_are_found_by_them(fitted: Path, tmp_path: Path) -> None:
    workspace, adapted = fitted / ".hcq", tmp_path / "adapted"
    asked = ["train", "--init", workspace / "model", "--captions", fitted / "captions.jsonl", "-o", adapted]
    done = run_here(*asked, "-w", workspace, "--json")
    made = done.json
    assert made["init"]["kept"] and made["init"]["after"]["MedR"] < made["init"]["before"]["MedR"]
    assert made["epochs"] == 0 and made["videos"] == 24 and "adapted: captions not learned from" in done.err
    for kind, word in enumerate(WORDS):
        assert found(workspace, adapted, word) == [kind] * 12
    assert any(found(workspace, workspace / "model", word) != [kind] * 12 for kind, word in enumerate(WORDS))
    again = run_here(*asked, "-w", workspace, "--json")
    assert again.json["trained_before"] and again.json["init"] == made["init"]
    # Started from the adapted model itself it is the same training, which is not repeated.
    same = run_here("train", "--init", adapted, *asked[3:], "-w", workspace, "--json")
    assert same.json["trained_before"]
    header = checkpoint.read_header(adapted)
    assert header.about["concepts"] and header.about["init"] == checkpoint.read_header(workspace / "model").hash
    measured = run_here(
        "eval", "--ckpt", adapted, "--captions", fitted / "captions.jsonl", "-w", workspace, "--json"
    ).json
    assert measured["videos"] == 24


def test_few_captions_leave_the_model_as_it_was(fitted: Path, tmp_path: Path) -> None:
    workspace, place = fitted / ".hcq", tmp_path / "same"
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join((fitted / "captions.jsonl").read_text().splitlines()[:5]))
    asked = ["train", "--init", workspace / "model", "--captions", few, "-o", place, "-w", workspace]
    done = run_here(*asked, "--json")
    assert not done.json["init"]["kept"] and "stays as it was" in done.err
    assert checkpoint.model_hash(place) == checkpoint.model_hash(workspace / "model")
    assert "no recipe" in run_here(*asked, "--recipe", "few", code=EXIT_USAGE).err


def test_what_dual_encoders_read_is_adapted_in_the_index_too(tmp_path: Path) -> None:
    workspace, source = tmp_path / ".hcq", str(save("clip", tmp_path))
    write_dual(workspace / "features", {"dual": source})
    run_here("fit", "--dual", source, "--bytes", "8", "-w", workspace)
    model = checkpoint.load(workspace / "model")
    before = model.encode_texts(["a dog"])
    model.network.adapter = TextAdapter(model.config.width, 3)
    for each in (model.network.adapter.down, model.network.adapter.up):
        each.copy_(torch.randn(each.shape, generator=torch.Generator().manual_seed(1)) / 3)
    towers = [tower.source for tower in model.towers.values()]
    checkpoint.save(workspace / "model", model.network, model.caption_encoder, towers=towers)
    run_here("encode", "-w", workspace)
    run_here("index", "build", "-w", workspace)
    loaded, (tower,) = checkpoint.load(workspace / "model"), (workspace / "index").glob("tower-*.hcq")
    adapted = loaded.encode_texts(["a dog"])
    assert np.abs(adapted - before).max() > 1e-2
    assert np.abs(ExportedTextEncoder(tower).encode(["a dog"]) - loaded.search_vectors(adapted)).max() < 1e-4
