"""hcq find: from a folder to the answer, and again when the folder has changed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import onnx
import pytest
import tiny_duals
import tiny_networks
from concept_features import sentence_encoder
from faults import faulty
from followed_folder import FollowedFolder
from in_process import run_here
from tiny_classifiers import colour_classifier

from experts.neural.classes import OnnxObjects
from hcq_cli.errors import EXIT_DAMAGED, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_SOME_FAILED, EXIT_USAGE
from hcq_cli.model.checkpoint import read_header
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `in` of two clips, and a classifier beside it."""
    folder = tmp_path_factory.mktemp("find")
    colour_classifier(folder).with_suffix(".labels.txt").write_text("red\ndog\nball\n", "utf-8")
    FollowedFolder(folder).add("in/a.mp4", "in/b.mp4")
    return folder


def test_the_same_line_again_looks_only_at_what_changed(place: Path) -> None:
    def find(*options: str | Path) -> dict:
        return run_here(
            "find", place / "in", "the red ball", "-w", place / "w", "--workers", "1", "--json", *options
        ).json

    sources = ["--concepts", f"onnx:{place / 'colours.onnx'}", "--text-encoder", str(sentence_encoder(place))]
    first = find(*sources)
    assert (first["new"], first["extract"]["extracted"], first["fitted"]["videos"]) == (2, 2, 2)
    assert {hit["id"] for hit in first["query"]["hits"]} == {"a.mp4", "b.mp4"}
    again = find()
    assert (
        again["fitted"] is None
        and again["extract"]["skipped"] == 2
        and again["query"]["hits"] == first["query"]["hits"]
    )
    FollowedFolder(place).add("in/c.mp4")
    (place / "in/a.mp4").rename(place / "in/z.mp4")
    (place / "in/b.mp4").unlink()
    changed = find(*sources)
    assert [changed[key] for key in ("new", "changed", "renamed", "deleted")] == [1, 0, 1, 1]
    assert changed["fitted"] is None and changed["extract"]["extracted"] == 1
    assert {hit["id"] for hit in changed["query"]["hits"]} == {"c.mp4", "z.mp4"}
    FollowedFolder(place).add(*(f"in/more{at}.mp4" for at in range(3)))
    grown = find()
    assert grown["new"] == 3 and grown["fitted"]["videos"] == 5 and grown["query"]["videos_searched"] == 5
    _no_torch_for_what_is_new(place)


def test_a_model_of_features_of_another_version_is_fitted_anew(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FollowedFolder(tmp_path).add("in/a.mp4")
    sources = ["--concepts", f"onnx:{place / 'colours.onnx'}", "--text-encoder", str(sentence_encoder(place))]
    asked = ["find", tmp_path / "in", "dog", "-w", tmp_path / "w", "--workers", "1"]
    with monkeypatch.context() as earlier:
        earlier.setattr(OnnxObjects, "version", "1")
        run_here(*asked, *sources)
    again = run_here(*asked, "--json")
    assert "objects: looks at videos otherwise" in again.err
    assert again.json["extract"]["extracted"] == 1 and again.json["fitted"]["videos"] == 1
    assert run_here(*asked, "--json").json["fitted"] is None


def _no_torch_for_what_is_new(place: Path) -> None:
    """Neither in the command nor in a process that it starts; and the same codes as those made beside torch."""
    FollowedFolder(place).add("in/last.mp4")
    (place / "poison").mkdir()
    (place / "poison" / "torch.py").write_text("raise ImportError('torch is not to be loaded')", "utf-8")
    command = [sys.executable, "-m", "hcq_cli", "find", str(place / "in"), "dog", "-w", str(place / "w"), "--json"]
    paths = os.pathsep.join(filter(None, [str(place / "poison"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": paths})
    found = json.loads(done.stdout)
    assert found["new"] == 1 and len(found["query"]["hits"]) == 6


@pytest.mark.long
def test_it_stays_and_answers_again_when_the_folder_changes(place: Path, tmp_path: Path) -> None:
    folder = FollowedFolder(tmp_path)
    folder.add("in/a.mp4")
    sources = ["--concepts", f"onnx:{place / 'colours.onnx'}", "--text-encoder", str(sentence_encoder(place))]
    command = [sys.executable, "-m", "hcq_cli", "find", "in", "dog", "--watch", "--json", "--workers", "1", *sources]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            assert [hit["id"] for hit in json.loads(running.stdout.readline())["query"]["hits"]] == ["a.mp4"]
            folder.add("in/b.mp4")
            (tmp_path / "in/a.mp4").unlink()
            while (ids := [hit["id"] for hit in json.loads(running.stdout.readline())["query"]["hits"]]) != ["b.mp4"]:
                assert set(ids) <= {"a.mp4", "b.mp4"}, "an answer in between, when one of the two was seen alone"
            os.kill(running.pid, signal.SIGINT)
            assert running.wait(60) == 130
        finally:
            running.kill()


@pytest.mark.long
def test_a_benchmark_in_the_layout_of_msr_vtt_is_measured_by_two_commands(tmp_path: Path) -> None:
    names = [f"video{number}" for number in (7010, 7011, 7012, 12, 13)]
    FollowedFolder(tmp_path).add(*(f"MSRVTT/videos/all/{name}.mp4" for name in names))
    rows = [f"ret{at},msr{name[5:]},{name},a dog number {at}" for at, name in enumerate(names[:3])]
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("\n".join(["key,vid_key,video_id,sentence", *rows]))
    document = {
        "info": {},
        "videos": [{"video_id": name, "split": "test" if at < 3 else "train"} for at, name in enumerate(names)],
        "sentences": [{"video_id": name, "caption": f"{name} is shown", "sen_id": 0} for name in names * 2],
    }
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(document))
    place, dual = tmp_path / "w", tiny_duals.save("clip", tmp_path)
    found = run_here(
        "find", tmp_path / "MSRVTT/videos", "a dog", "--dual", dual, "--workers", "1", "-w", place, "--json"
    ).json
    assert found["fitted"]["videos"] == 5 and found["query"]["videos_searched"] == 5
    measured = run_here("eval", "--captions", tmp_path / "MSRVTT_JSFUSION_test.csv", "-w", place, "--json").json
    assert (measured["videos"], measured["texts"], measured["bytes_per_video"]) == (3, 3, 64)
    assert measured["t2v"]["R10"] == 100.0 and 0 <= measured["dense"]["t2v"]["R1"] <= 100
    whole = run_here("eval", "--captions", tmp_path / "MSRVTT_data.json", "-w", place, "--json").json
    assert (whole["videos"], whole["texts"]) == (3, 6)  # of the split test, every caption


def test_what_is_missing_is_said_before_anything_long(place: Path, tmp_path: Path) -> None:
    def find(*options: str | Path, code: int) -> str:
        return run_here("find", place / "in", "dog", "-w", tmp_path / "w", *options, code=code).err

    assert "hcq models fetch light" in find(code=EXIT_NOT_FOUND)
    assert "no such file" in find("--concepts", f"onnx:{tmp_path / 'none.onnx'}", code=EXIT_NOT_FOUND)
    nameless = colour_classifier(tmp_path)
    assert "have no names" in find("--concepts", f"onnx:{nameless}", code=EXIT_NOT_FOUND)
    assert "no preset" in find("--preset", "huge", code=EXIT_USAGE)
    assert not (tmp_path / "w").exists()


def test_folders_with_next_to_nothing_in_them(place: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sources = ["--concepts", f"onnx:{place / 'colours.onnx'}", "--text-encoder", str(sentence_encoder(place))]
    asked = ["find", tmp_path / "in", "the red ball", *sources, "--workers", "1", "-w", tmp_path / "w"]
    assert "no videos in this folder" in run_here(*asked, code=EXIT_NOT_FOUND).err
    assert not (tmp_path / "w" / "model").exists()
    # Neither pictures nor sound: a film of subtitles, and half a file.
    with av.open(str(tmp_path / "in" / "words.mkv"), "w") as container:
        container.add_stream("ass")
        container.start_encoding()  # else nothing is written
    (tmp_path / "in" / "half.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42")
    said = run_here(*asked, code=EXIT_FAILED).err
    assert "nothing can be seen or heard in any of its files" in said and (
        "half.mp4: " in said or "words.mkv: " in said
    )
    FollowedFolder(tmp_path).add("in/one.mp4")
    one = run_here(*asked, "--json", code=EXIT_SOME_FAILED).json
    assert [hit["id"] for hit in one["query"]["hits"]] == ["one.mp4"] and one["fitted"]["videos"] == 1
    assert {Path(each["path"]).name for each in one["extract"]["failed"]} == {"half.mp4", "words.mkv"}


def test_a_classifier_whose_numbers_lie_elsewhere_is_refused(place: Path, tmp_path: Path) -> None:
    graph = onnx.load(place / "colours.onnx")
    tensor = graph.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    (tmp_path / "evil.onnx").write_bytes(graph.SerializeToString())
    (tmp_path / "evil.labels.txt").write_text("red\ndog\nball\n", "utf-8")
    asked = ["find", place / "in", "dog", "--concepts", f"onnx:{tmp_path / 'evil.onnx'}", "-w", tmp_path / "w"]
    said = run_here(*asked, code=EXIT_DAMAGED).err
    assert "would be read from ../secret.bin, which does not lie in its folder" in said


def test_a_model_stays_of_its_kind_when_it_is_fitted_anew(place: Path, tmp_path: Path) -> None:
    videos, encoder, at = tmp_path / "in", str(sentence_encoder(place)), ("-w", tmp_path / "w")
    FollowedFolder(tmp_path).add("in/a.mp4", "in/b.mp4")
    source = f"onnx:{place / 'colours.onnx'}"

    def find(*options: str | Path) -> dict | None:
        return run_here("find", videos, "dog", *at, "--workers", "1", "--json", *options).json["fitted"]

    def kind() -> tuple[str, int, float]:
        config = read_header(tmp_path / "w/model").config
        return config.text.encoder, config.code_bytes, config.experts["objects"].weight

    run_here("extract", videos, *at, "--workers", "1", "--experts", f"objects={source}")
    ask = ("--concepts", source, "--text-encoder", encoder, "--bytes", "16", "--weight", "objects=0.3")
    run_here("fit", *ask, *at)
    assert kind() == (encoder, 16, 0.3)
    assert find("--concepts", source, "--text-encoder", encoder) is None  # named once more, it is the same model
    FollowedFolder(tmp_path).add("in/c.mp4", "in/d.mp4", "in/e.mp4")
    assert find("--concepts", source) is not None and kind() == (encoder, 16, 0.3)
    other = str(tiny_networks.save("bert", tmp_path / "other"))
    assert find("--text-encoder", other) is not None and kind() == (other, 16, 0.3)
    assert find("--text-encoder", other) is None


def searchable(workspace: Path) -> dict[str, object]:
    """What of a workspace answers queries, byte for byte; the names of an index's files end in what no other writer
    has, and stand in the graph of its text side, too."""
    found: dict[str, object] = {
        "model": read_header(workspace / "model").hash,
        "codes": (workspace / "codes.hcq").read_bytes(),
    }
    for path in sorted((workspace / "index").glob("*-*")):
        if path.suffix == ".hcq":
            kind, generation, suffix = path.stem.split("-", 2)
            body = path.read_bytes()
            if kind == "tower":
                tower = ExportedTextEncoder(path)
                parts = [tower.file.section(name) for name in ("weights", "graph", "tokenizer")]
                body = b"".join(parts).replace(suffix.encode(), b"")
            found[f"{kind}-{generation}"] = body
    return found


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_it_makes_the_same_index(place: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    sources = ["--concepts", f"onnx:{place / 'colours.onnx'}", "--text-encoder", str(sentence_encoder(place))]
    FollowedFolder(tmp_path).add("in/a.mp4", "in/b.mp4", "in/c.mp4")

    def find() -> dict:
        return run_here("find", tmp_path / "in", "dog", "-w", workspace, "--workers", "1", "--json", *sources).json

    with faulty() as whole:
        answer = find()
    made = searchable(workspace)
    assert whole.calls > 40 and len(made) > 4
    for at in sorted(random.Random(0).sample(range(1, whole.calls + 1), 20)):
        shutil.rmtree(workspace)
        with faulty(at, random.Random(at).choice(["kill before", "kill after"])):
            find()
        assert find()["query"]["hits"] == answer["query"]["hits"], at
        assert searchable(workspace) == made, at
