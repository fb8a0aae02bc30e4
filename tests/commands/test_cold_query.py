"""A query against an index runs on the exported text side: without torch, and with the same answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import run_hcq
from loaded_modules import NETWORKS, loaded_by
from trained import AWKWARD, CAPTIONS, save_workspace

Run = Callable[..., Any]
HEAVY = {*NETWORKS, "h5py", "onnx", "av", "cv2", "decord", "safetensors"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = save_workspace(tmp_path_factory.mktemp("ws") / ".hcq")
    run_hcq("index", "build", cwd=root.parent)
    return root


@pytest.fixture(scope="module")
def complete(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all that may tempt a query to load more: captions, lists tuned on them, an index of sentences."""
    root = tmp_path_factory.mktemp("complete") / ".hcq"
    shutil.copytree(workspace, root)
    lines = [json.dumps({"video": video, "caption": line}) for video, line in zip(AWKWARD, CAPTIONS, strict=True)]
    (root / "captions.jsonl").write_text("\n".join(lines) + "\n")
    steps = ["index build --partitions 4", "encode --texts .hcq/captions.jsonl", "index build .hcq/texts.hcq"]
    for step in steps:
        run_hcq(*step.split(), cwd=root.parent)
    return root


@pytest.mark.parametrize("shown", [["--json"], []], ids=["json", "people"])
@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("a man cooking", "plain.mp4"),
        ("a man cooking --probe 2 --threads 2", "plain.mp4"),
        ("a man cooking --exact --find videos", "plain.mp4"),
        ("red ball --find texts", "red ball"),
        ("-", "plain.mp4"),
    ],
)
def test_words_import_neither_torch_nor_transformers(
    complete: Path, shown: list[str], asked: str, wanted: str
) -> None:
    modules, out = loaded_by(["query", *asked.split(), *shown], complete.parent, "a man cooking\nred ball\n")
    assert "tokenizers" in modules and not modules & HEAVY
    assert ("onnxruntime" in modules) == (asked == "-"), "one query is less than importing it takes"
    assert wanted in out


@pytest.mark.parametrize("asked", ["plain.mp4", "plain.mp4 --find texts", "plain.mp4#1", "plain.mp4#1 --find videos"])
def test_an_id_imports_no_network_at_all(complete: Path, asked: str) -> None:
    modules, out = loaded_by(["query", "--json", "--like", *asked.split()], complete.parent)
    assert not modules & {*HEAVY, "onnxruntime", "tokenizers"}
    assert "hcq_cli.commands.train" not in modules, "no other command is imported"
    assert json.loads(out)["hits"]


def processor_s(*command: str) -> float:
    """Processor time of a command, threads and children included."""
    before = os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    return (after.children_user + after.children_system) - (before.children_user + before.children_system)


@pytest.mark.long
def test_it_answers_before_torch_would_be_there(workspace: Path) -> None:
    """At most 0.35 of the time that importing takes, in the same run; processor time, so that a busy machine may."""
    query, imports = [], []
    for _ in range(3):
        query.append(processor_s(sys.executable, "-m", "hcq_cli", "query", "red ball", "-w", str(workspace)))
        imports.append(processor_s(sys.executable, "-c", "import torch, transformers"))
    assert min(query) < 0.35 * min(imports), (query, imports)


def test_the_answer_is_that_of_the_checkpoint(hcq: Run, workspace: Path) -> None:
    queries = "\n".join([*CAPTIONS, "ball", "nothing like it " * 30])
    ask = ["query", "-w", workspace, "-", "--json"]
    exported = hcq(*ask, stdin=queries).lines
    loaded = hcq(*ask, "--ckpt", workspace / "model", stdin=queries).lines
    assert len(exported) == 6
    for mine, theirs in zip(exported, loaded, strict=True):
        assert [hit["id"] for hit in mine["hits"]] == [hit["id"] for hit in theirs["hits"]]
        pairs = zip(mine["hits"], theirs["hits"], strict=True)
        assert max(abs(a["score"] - b["score"]) for a, b in pairs) < 1e-4


def test_what_the_index_says_of_it(hcq: Run, workspace: Path) -> None:
    side = hcq("index", "info", "-w", workspace, "--json").json["text_side"]
    assert side["precision"] == "float32" and side["deviation"] < 1e-4
    assert "text side deviation" in hcq("index", "info", "-w", workspace).out
    (file,) = (workspace / "index").glob("tower-*.hcq")
    before = file.stat().st_mtime_ns
    again = hcq("index", "build", "-w", workspace, "--json")
    assert file.stat().st_mtime_ns == before, "a text side that fits is kept"
    assert again.err == ""


@pytest.mark.long
def test_eight_bits_on_request(hcq: Run, workspace: Path, tmp_path: Path) -> None:
    index = tmp_path / "small"
    captions = tmp_path / "captions.jsonl"
    captions.write_text("".join(json.dumps({"video": "v", "caption": line}) + "\n" for line in CAPTIONS))
    hcq("index", "build", "-w", workspace, "--index", index, "--text-side", "int8")
    side = hcq("index", "info", "--index", index, "--json").json["text_side"]
    assert side["precision"] == "int8" and 0 < side["recall_at_10"] <= 1 and side["score_deviation"] > 0
    hits = hcq("query", "-w", workspace, "--index", index, CAPTIONS[0], "--json").json["hits"]
    assert hits[0]["id"] == "plain.mp4"
    hcq("index", "build", "-w", workspace, "--index", index, "--text-side", "none")
    assert not list(index.glob("tower-00000002*"))
    assert hcq("index", "info", "--index", index, "--json").json["text_side"] == {"precision": "none"}
    assert "known are" in hcq("index", "build", "-w", workspace, "--text-side", "int1", code=2).err


@pytest.mark.long
def test_without_the_checkpoint(hcq: Run, workspace: Path, tmp_path: Path) -> None:
    """It may have moved: the index is built all the same, and tells what queries will need."""
    away = tmp_path / ".hcq"
    away.mkdir()
    shutil.copy(workspace / "codes.hcq", away)
    model = workspace / "model"
    model.rename(tmp_path / "elsewhere")
    try:
        built = hcq("index", "build", "--json")
        assert built.json["videos"] == 204
        assert "queries will need --ckpt" in built.err
        assert "--ckpt" in hcq("query", "red ball", code=10).err
        found = hcq("query", "red ball", "--json", "--ckpt", tmp_path / "elsewhere").json["hits"]
    finally:
        (tmp_path / "elsewhere").rename(model)
    hcq("index", "add", away / "codes.hcq")
    assert hcq("index", "info", "--json").json["text_side"]["precision"] == "float32"
    assert [hit["id"] for hit in hcq("query", "red ball", "--json").json["hits"]] == [hit["id"] for hit in found]


def test_damage_is_found(hcq: Run, workspace: Path, tmp_path: Path) -> None:
    shutil.copytree(workspace / "index", tmp_path / "index")
    (file,) = (tmp_path / "index").glob("tower-*.hcq")
    whole = file.read_bytes()
    file.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    assert file.name in hcq("index", "verify", "--index", "index", code=4).err
    assert file.name in hcq("query", "x", "--index", "index", code=4).err
    file.write_bytes(whole[:-1])
    assert file.name in hcq("query", "x", "--index", "index", code=4).err
    file.unlink()
    assert "tower" in hcq("query", "x", "--index", "index", code=10).err
