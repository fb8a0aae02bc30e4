"""A checkpoint given to others: the folder, its card, what is sent to the hub, and what is made of one that came."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi, ModelCard
from in_process import run_here

import hcq_cli as hcq
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.model import checkpoint

KEPT = Path(__file__).parent.parent / "golden" / "workspace"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = {"config.json", "model.safetensors", "tokenizer.json", "text_encoder.json", "text.json"}
KNOWN = {"licence": "Apache-2.0", "dataset": "15 drawn clips", "captions": KEPT / "captions.jsonl"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> hcq.Workspace:
    return hcq.Workspace(shutil.copytree(KEPT, tmp_path_factory.mktemp("publishing") / "w"))


@pytest.fixture(scope="module")
def saved(workspace: hcq.Workspace) -> Path:
    folder = workspace.root.parent / "hcq-drawn"
    hcq.save_pretrained(workspace, folder, **KNOWN)
    return folder


@pytest.fixture
def cached(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The saved model as the hub's client keeps what it has fetched: links into its blobs. Gives its id."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HCQ_CACHE", str(tmp_path / "own"))
    place = tmp_path / "hub" / "models--owner--drawn"
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    shutil.copytree(saved, place / "blobs")
    for path in (place / "blobs").iterdir():
        (place / "snapshots" / COMMIT / path.name).symlink_to(f"../../blobs/{path.name}")
    locked = {"owner/drawn@main": {"commit": COMMIT, "licence": "apache-2.0", "fetched": ""}}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "models.json").write_text(json.dumps(locked))
    return "owner/drawn"


def test_what_is_saved_is_the_same_model(workspace: hcq.Workspace, saved: Path) -> None:
    assert {path.name for path in saved.iterdir()} == WEIGHTS | {"README.md", "metrics.jsonl"}
    asked = ["a red ball", "a barking dog"]
    own, other = checkpoint.load(workspace.model), hcq.from_pretrained(saved)
    assert own.hash == other.hash
    np.testing.assert_array_equal(own.encode_texts(asked), other.encode_texts(asked))


def test_paths_of_the_machine_stay_on_it(workspace: hcq.Workspace, saved: Path) -> None:
    assert checkpoint.read_header(workspace.model).about["captions"] == "/videos/old/captions.jsonl"
    assert checkpoint.read_header(saved).about["captions"] == "captions.jsonl"
    assert not any(b"/videos/old" in path.read_bytes() for path in saved.iterdir())


def test_the_card_says_what_was_measured(workspace: hcq.Workspace, saved: Path) -> None:
    measured = hcq.evaluate(workspace, captions=KNOWN["captions"]).measured
    card = ModelCard.load(saved / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "hcq")
    results = {each.metric_type: each for each in card.data.eval_results or []}
    assert results["recall_at_10"].metric_value == pytest.approx(measured.quantized.t2v.R10, abs=0.01)
    assert results["recall_at_1"].dataset_name == "15 drawn clips"
    figures = measured.quantized.t2v
    assert f"| codes | 12 | {figures.R1:.1f} | {figures.R5:.1f} | {figures.R10:.1f} |" in card.text
    assert "14 videos, 98 captions, split all" in card.text and "no caption is marked as test" in card.text


def test_without_captions_the_card_says_that_nothing_was_measured(workspace: hcq.Workspace, tmp_path: Path) -> None:
    shutil.copytree(workspace.model, tmp_path / "w" / "model")
    bare = hcq.Workspace(tmp_path / "w")
    done = hcq.save_pretrained(bare, tmp_path / "out", licence="other")
    assert done.measured is None
    assert "Not measured" in (tmp_path / "out" / "README.md").read_text("utf-8")
    with pytest.raises(NotFoundError):
        hcq.save_pretrained(bare, tmp_path / "more", licence="other", captions=KNOWN["captions"])


def test_nothing_is_written_over_and_nothing_goes_without_a_licence(workspace: hcq.Workspace, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="lies there already"):
        hcq.save_pretrained(workspace, tmp_path, licence="mit")
    with pytest.raises(UsageError, match="no licence"):
        hcq.save_pretrained(workspace, tmp_path / "new", licence=" ")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_push_sends_these_files_and_no_others(
    workspace: hcq.Workspace, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {}

    def upload(self: HfApi, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        contents = {path.name: path.read_bytes() for path in Path(folder_path).rglob("*")}
        sent.update(repo=repo_id, message=commit_message, files=contents)

    def create(self: HfApi, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        sent.update(private=private, exist_ok=exist_ok)
        return f"https://hub.example/{repo_id}"

    monkeypatch.setattr(HfApi, "upload_folder", upload)
    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    arguments = ["--licence", "apache-2.0", "--captions", KNOWN["captions"], "-w", workspace.root, "--json"]
    said = run_here("models", "push", "owner/drawn", *arguments).json
    assert sent["repo"] == "owner/drawn" and sent["message"] == f"hcq model {said['model'][:12]}"
    assert sent["private"] is True and sent["exist_ok"] is True
    assert sorted(sent["files"]) == said["files"] == sorted(path.name for path in saved.iterdir())
    for name in WEIGHTS:
        assert sent["files"][name] == (saved / name).read_bytes()
    assert b"hcq models fetch owner/drawn" in sent["files"]["README.md"]
    assert said["place"] == "https://hub.example/owner/drawn" and said["measured"]["t2v"]["R10"] > 0


def test_what_the_hub_refuses_is_told(workspace: hcq.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    class LocalTokenNotFoundError(OSError):
        """As the hub's client calls it."""

    def create(self: HfApi, *arguments: Any, **named: Any) -> None:
        raise LocalTokenNotFoundError("no token")

    monkeypatch.setattr(HfApi, "create_repo", create)
    for name, meant in (("owner/name/more", "no Hugging Face id"), ("owner/name@v2", "no Hugging Face id")):
        with pytest.raises(UsageError, match=meant):
            hcq.push_to_hub(workspace, name, **KNOWN)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HcqError, match="nothing can be pushed"):
        hcq.push_to_hub(workspace, "owner/drawn", **KNOWN)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(NotFoundError, match="wants to know who asks") as caught:
        hcq.push_to_hub(workspace, "owner/drawn", **KNOWN)
    assert caught.value.hint == "hf auth login"


def test_a_fetched_model_is_named_by_its_id(
    workspace: hcq.Workspace, cached: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hcq_cli.weights.fetch", lambda hub: pytest.fail("it is here already"))
    assert hcq.from_pretrained(cached).hash == checkpoint.model_hash(workspace.model)
    encoded = hcq.encode(workspace, checkpoint=Path(cached), output=tmp_path / "codes.hcq")
    assert encoded.items == 15 and encoded.model == checkpoint.model_hash(workspace.model)
    with pytest.raises(NotFoundError, match="no checkpoint there") as caught:
        hcq.encode(workspace, checkpoint=Path("owner/other"))
    assert "hcq models fetch owner/other" in caught.value.hint


def test_what_is_not_here_is_fetched_by_its_revision(
    saved: Path, cached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hcq_cli import weights

    asked = []

    def fetch(hub: Any) -> weights.FetchedNetwork:
        asked.append(hub.key)
        return weights.FetchedNetwork(hub, COMMIT, "apache-2.0", folder=saved, nbytes=1)

    monkeypatch.setattr(weights, "fetch", fetch)
    hcq.from_pretrained(cached, revision="v2")
    hcq.from_pretrained("owner/other")
    assert asked == ["owner/drawn@v2", "owner/other@main"]
    with pytest.raises(NotFoundError, match="no folder, and no id"):
        hcq.from_pretrained("nowhere")


def test_a_fetch_brings_all_files_of_a_checkpoint_and_no_pickle() -> None:
    from hcq_cli.weights import chosen_files

    names = [*WEIGHTS, "tower-dual.hcq", "README.md", "pytorch_model.bin", "video.hcq"]
    assert set(chosen_files(names)) == WEIGHTS | {"tower-dual.hcq"}
