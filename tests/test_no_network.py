"""Only `hcq models fetch` asks the network: every connection that a command or its children try is written down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_networks
from concept_features import sentence_encoder
from followed_folder import FollowedFolder
from tiny_classifiers import colour_classifier
from toy_dataset import SMALL, video, write_captions, write_store
from trained import save_workspace

WATCH = """
import os, socket

def _told(what):
    with open(os.environ["HCQ_ASKED"], "a") as file:
        file.write(f"{what!r}\\n")
    raise OSError(101, "Network is unreachable")

_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex
socket.socket.connect = lambda self, to: _connect(self, to) if self.family == socket.AF_UNIX else _told(to)
socket.socket.connect_ex = lambda self, to: _connect_ex(self, to) if self.family == socket.AF_UNIX else _told(to)
for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
    setattr(socket, _name, lambda *arguments, **_: _told(arguments))
"""
"""A sitecustomize: what every Python process that the test starts does first."""
MOST_S = 120
"""Of a command on a busy machine; a client that waits for the network to come back takes longer by its time-outs."""


SHORT = [part for each in [*SMALL, "training.epochs=1", "training.min_steps=1"] for part in ("--set", each)]


class Watched:
    """Runs hcq where the network is out of reach, and knows what asked for it."""

    def __init__(self, folder: Path, hcq: Callable[..., Any]) -> None:
        self.folder, self.hcq, self.log = folder, hcq, folder / "asked"
        (folder / "watch").mkdir()
        (folder / "watch" / "sitecustomize.py").write_text(WATCH, "utf-8")
        paths = [str(folder / "watch"), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "HCQ_ASKED": str(self.log),
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_CACHE": str(folder / "hf" / "hub"),
            "HCQ_CACHE": str(folder / "own"),
        }

    def __call__(self, *arguments: Any, code: int | None = 0) -> Any:
        begun = time.monotonic()
        done = self.hcq(*arguments, env=self.environment, code=code, timeout=MOST_S)
        done.seconds = time.monotonic() - begun
        return done

    @property
    def asked(self) -> list[str]:
        return self.log.read_text("utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def watched(tmp_path: Path, hcq: Callable[..., Any]) -> Watched:
    write_store(tmp_path / ".hcq" / "features", [video(n) for n in range(20)])
    write_captions(tmp_path / "captions.jsonl", range(20))
    (tmp_path / "clip.mp4").write_bytes(b"no clip is looked at")
    return Watched(tmp_path, hcq)


def test_fetching_is_seen(watched: Watched) -> None:
    watched("models", "fetch", "some/net", code=1)
    assert watched.asked


@pytest.mark.parametrize("package", ["hcq_cli", "experts"])
def test_onnxruntime_tells_its_maker_nothing(package: str, tmp_path: Path) -> None:
    """It would by itself, from code that no Python sees; what it is going to send it keeps below the home folder."""
    own = {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-P", "-c", f"import {package}, onnxruntime"], env=own, check=True, cwd=tmp_path)
    assert not list(tmp_path.rglob("*onnxruntime*"))


def train(encoder: str) -> tuple[str, ...]:
    return ("train", "--captions", "captions.jsonl", "--set", f"text.encoder={encoder}")


MISSING = {
    "train with an id": (train("some/net"), "hcq models fetch some/net"),
    "train with a revision": (train("some/net@v2"), "hcq models fetch some/net@v2"),
    "train with a short id": (train("bert-base-cased"), "hcq models fetch google-bert/bert-base-cased"),
    "train with a misspelt name": (train("minlm"), "did you mean minilm? --set text.encoder=minilm"),
    "train with no name at all": (train("no such thing"), "--set text.encoder=scratch"),
    "extract": (("extract", "clip.mp4", "--experts", "appearance=some/net"), "hcq models fetch some/net"),
    "experts": (("experts", "--check", "audio=some/net"), "hcq models fetch some/net"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_network_that_is_not_here_is_named_with_the_command_that_fetches_it(watched: Watched, name: str) -> None:
    command, hint = MISSING[name]
    done = watched(*command, "--json", code=10)
    document = json.loads(done.out)
    assert hint in document["hint"] and document["exit_code"] == 10
    assert not watched.asked


def test_the_shape_of_an_imported_encoder_is_looked_for_on_this_machine_alone(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hcq_cli.errors import NotFoundError
    from hcq_cli.importers.official import description, importing
    from hcq_cli.importers.official.pickle_reader import PickledCheckpoint

    held = PickledCheckpoint({"a": torch.zeros(2)}, {}, None)
    model = description.OfficialModel(None, "bert-base-cased", 8, 8, [])  # type: ignore[arg-type]
    monkeypatch.setattr(importing, "read_pickled_checkpoint", lambda _: held)
    monkeypatch.setattr(description, "describe", lambda *_: model)
    monkeypatch.setenv("HF_HUB_CACHE", str(watched.folder / "hf"))
    for given, hint in ((None, "hcq models fetch google-bert/bert-base-cased"), ("some/id", "models fetch some/id")):
        with pytest.raises(NotFoundError) as caught:
            importing.import_official(Path("m.pth"), watched.folder / "out", given, {})
        assert hint in caught.value.hint and "--text-encoder FOLDER" in caught.value.hint


@pytest.mark.long
def test_looking_and_searching_ask_nothing(watched: Watched) -> None:
    save_workspace(watched.folder / ".hcq")
    watched("experts", "--json")
    watched("models", "list", "--json")
    watched("query", "a dog in the snow", "--codes", ".hcq/codes.hcq", "--json")
    assert not watched.asked


@pytest.mark.long
def test_a_folder_is_made_searchable_offline(watched: Watched) -> None:
    """From decoding to the answer, and again with a new clip; workers are Python processes, and watched as well."""
    folder = watched.folder / "own"
    folder.mkdir()
    classifier = colour_classifier(folder)
    classifier.with_suffix(".labels.txt").write_text("red\ndog\nball\n", "utf-8")
    sources = ["--concepts", f"onnx:{classifier}", "--text-encoder", str(sentence_encoder(folder))]
    FollowedFolder(folder).add("in/a.mp4")
    find = ["find", str(folder / "in"), "the red ball", "-w", str(folder / "w"), "--json"]
    assert watched(*find, *sources).json["fitted"]["videos"] == 1
    FollowedFolder(folder).add("in/b.mp4")
    assert {hit["id"] for hit in watched(*find).json["query"]["hits"]} == {"a.mp4", "b.mp4"}
    assert not watched.asked


@pytest.mark.slow
def test_no_verb_asks_the_network(watched: Watched) -> None:
    watched("train", "--captions", "captions.jsonl", *SHORT)
    watched("encode")
    watched("index", "build")
    watched("query", "a red dog", "--json")
    watched("eval", "--captions", "captions.jsonl")
    watched("experts")
    watched("models", "list")
    watched("doctor", code=None)
    for rest in (["recipes"], ["features", "show"], ["captions", "check", "captions.jsonl"], ["import", "mmt", "."]):
        watched(*rest, code=None)
    watched("extract", "clip.mp4", "--workers", "1", code=None)
    assert not watched.asked


@pytest.mark.long
def test_what_was_fetched_trains_offline(watched: Watched) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = watched.folder / "hf" / "hub" / "models--some--net"
    shutil.copytree(tiny_networks.save("bert", watched.folder / "made"), place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit, "utf-8")
    watched(*train("some/net"), *SHORT)
    watched("encode")
    assert not watched.asked


@pytest.mark.slow
def test_the_demo_asks_nothing_either(watched: Watched) -> None:
    watched.hcq("demo", env=watched.environment, timeout=1200)
    assert not watched.asked
