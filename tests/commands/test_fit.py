"""hcq fit from outside: features, a model without captions, codes, an index and answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from concept_features import classifiers, sentence_encoder, write_store
from in_process import run_here

from hcq_cli.errors import EXIT_NOT_FOUND, EXIT_SOME_FAILED, EXIT_USAGE, DamagedError
from hcq_cli.model.checkpoint import VIDEO_FILE, load, write
from hcq_cli.model.confidence import chance_among
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.search.index import Index
from hcq_cli.search.text_encoder import CheckpointTextEncoder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything was done; its workspace is `.hcq`."""
    folder = tmp_path_factory.mktemp("fitted")
    paths, workspace = classifiers(folder), folder / ".hcq"
    write_store(workspace / "features", paths)
    sources = ",".join(f"onnx:{path}" for path in paths.values())
    encoder = ["--text-encoder", str(sentence_encoder(folder)), "--bytes", "8"]
    done = run_here("fit", "--concepts", sources, *encoder, "-w", workspace, "--json").json
    assert done["epochs"] == 0 and done["metrics"]["videos"] == 3 and done["bytes_per_video"] == 8
    assert done["checkpoint"] == str(workspace / "model") and done["experts"] == {"objects": 1.0, "sounds": 0.5}
    assert (workspace / "model" / VIDEO_FILE).is_file(), "the first encoding loads torch once more"
    run_here("encode", "-w", workspace, "--json")
    run_here("index", "build", "-w", workspace, "--json")
    return folder


def test_an_engine_stops_neither_fitting_nor_captions(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both run on this machine, say so, and their bytes are the same."""
    monkeypatch.chdir(tmp_path)
    paths, workspace = classifiers(tmp_path), fitted / ".hcq"
    sources = ",".join(f"onnx:{path}" for path in paths.values())
    fit = [
        "fit",
        "--concepts",
        sources,
        "--text-encoder",
        sentence_encoder(tmp_path),
        "--bytes",
        "8",
        "-w",
        workspace,
    ]
    Path("lines.txt").write_text("a dog\n")
    texts = ["encode", "--texts", "lines.txt", "-w", workspace]
    run_here(*fit, "-o", "alone"), run_here(*texts, "-o", "alone.hcq")
    assert "fitting runs on this machine" in run_here(*fit, "--on", "ray", "-o", "run").err
    assert "captions are encoded on this machine" in run_here(*texts, "--on", "ray", "-o", "run.hcq").err
    weights = [*Path("alone").glob("*.safetensors"), Path("alone.hcq")]
    assert len(weights) > 1
    for path in weights:
        assert path.read_bytes() == Path(str(path).replace("alone", "run")).read_bytes()
    assert "names no engine" in run_here(*fit, "--on", "slurm", code=EXIT_USAGE).err
    assert "names no engine" in run_here(*texts, "--on", "slurm", code=EXIT_USAGE).err


def test_the_chain_runs_without_a_caption(fitted: Path) -> None:
    workspace = fitted / ".hcq"
    for word, video in (("dog", "dog.mp4"), ("ball", "ball.mp4"), ("the red", "red.mkv")):
        answer = run_here("query", word, "-w", workspace, "--json").json
        assert answer["hits"][0]["id"] == video and answer["videos_searched"] == 3
        sure = [hit["confidence"] for hit in answer["hits"]]
        assert sure == sorted(sure, reverse=True) and 0 <= sure[-1] < sure[0] <= 1
    captions = fitted / "captions.jsonl"
    captions.write_text("\n".join(json.dumps({"video": f"{n}.mp4", "caption": n}) for n in ("dog", "ball")))
    measured = run_here("eval", "--captions", captions, "-w", workspace, "--json").json
    assert measured["t2v"]["R1"] == 100.0 and measured["bytes_per_video"] == 8 and measured["dense"]["t2v"]
    pytest.importorskip("matplotlib")
    picture = fitted / "sure.png"
    asked = ["eval", "--captions", captions, "-w", workspace, "--calibration", picture]
    sure = run_here(*asked, "--json").json["calibration"]
    # Two captions, each asked with its video and without; with it the first hit is right.
    assert sum(each["questions"] for each in sure["bins"]) == 4 and 0 <= sure["ece"] <= 1
    assert sum(each["questions"] * each["right"] for each in sure["bins"]) == pytest.approx(2)
    assert picture.read_bytes().startswith(b"\x89PNG") and "something fits" in run_here(*asked).out


def test_where_nothing_fits_it_is_said(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = fitted / ".hcq"
    asked = ["query", "jumps", "-w", workspace]  # a word that is in no file's name
    hits = run_here(*asked, "--json").json["hits"]
    first, last, best = hits[0]["id"], hits[-1]["id"], hits[0]["confidence"]
    monkeypatch.setattr("hcq_cli.search.query.CUT_OFF", best + 0.01)
    monkeypatch.setattr("hcq_cli.search.arranging.CUT_OFF", best + 0.01)
    answer = run_here(*asked, "--json").json
    assert answer["note"] == "nothing here fits well" and len(answer["hits"]) == 3
    monkeypatch.setattr("hcq_cli.search.arranging.BEST_OF_NOTHING", 1)
    shown = run_here(*asked).out
    assert "nothing here fits well; the best 1 of it" in shown and first in shown and last not in shown
    assert last in run_here(*asked, "--all").out
    clips = (*asked, "--save-clips", tmp_path, "--json")  # there are no such files, which each clip says
    assert [clip["rank"] for clip in run_here(*clips, code=EXIT_SOME_FAILED).json["clips"]] == [1]
    assert len(run_here(*clips, "--all", code=EXIT_SOME_FAILED).json["clips"]) == 3
    kept = run_here(*asked, "--min-confidence", str(best - 1e-4), "--json").json
    assert [hit["id"] for hit in kept["hits"]] == [first]


def test_fewer_videos_must_be_better_than_fewer_made_up_ones(fitted: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    shutil.copytree(fitted / ".hcq" / "index", index)
    checkpoint, exported = CheckpointTextEncoder(fitted / ".hcq" / "model"), Index.open(index).text_encoder()
    assert exported.made_up == pytest.approx(checkpoint.made_up, abs=2e-3)  # half precision
    asked = ["query", "jumps", "--index", index, "--json"]
    hits = run_here(*asked).json["hits"]
    run_here("index", "remove", hits[0]["id"], "--index", index)
    left = run_here(*asked).json["hits"]
    assert left[0]["id"] == hits[1]["id"] and left[0]["score"] == hits[1]["score"]
    assert left[0]["confidence"] > hits[1]["confidence"]
    for count, found in ((3, hits), (2, left)):
        levels = exported.encode(["jumps"])
        (chance,) = chance_among(checkpoint.chance_scores, checkpoint.made_up, levels, count)
        assert found[0]["confidence"] == pytest.approx(chance.confidence(found[0]["score"]), abs=1e-2)


def test_made_up_videos_of_another_width_are_damage(fitted: Path, tmp_path: Path) -> None:
    model = load(fitted / ".hcq" / "model")
    for shape in ((4, 2, 3), (8,), ()):
        model.network.made_up = torch.zeros(shape).half()
        write(tmp_path, model.network, model.caption_encoder)
        with pytest.raises(DamagedError, match="weights do not fit"):
            load(tmp_path)


def test_without_made_up_videos_generic_sentences_are_asked_of_what_is_indexed_now(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExportedTextEncoder, "made_up", None)
    index = tmp_path / "index"
    shutil.copytree(fitted / ".hcq" / "index", index)
    asked = ["query", "jumps", "--index", index, "--json"]
    run_here("index", "remove", run_here(*asked).json["hits"][0]["id"], "--index", index)
    measured, left = Index.open(index).manifest.chance, run_here(*asked).json["hits"]
    assert measured is not None
    assert left[0]["confidence"] == pytest.approx(measured.confidence(left[0]["score"]), abs=1e-3)
    run_here("index", "compact", "--index", index)
    assert Index.open(index).manifest.chance == measured


def test_how_far_a_collection_has_drifted_is_said(tmp_path: Path, kept: Path) -> None:
    paths, at = classifiers(tmp_path), ("-w", tmp_path / ".hcq")

    def drift() -> float:
        run_here("encode", *at, "--json")
        run_here("index", "build", *at, "--json")
        return run_here("index", "info", *at, "--json").json["drift"]

    # All alike at first: mostly the first class, more and less of it.
    alike = {f"{n}.mp4": [[0.9 - n / 100, 0.1, n / 100]] for n in range(9)}
    write_store(tmp_path / ".hcq" / "features", paths, alike, heard={})
    encoder = ["--text-encoder", str(sentence_encoder(tmp_path)), "--bytes", "8"]
    run_here("fit", "--concepts", ",".join(f"onnx:{path}" for path in paths.values()), *encoder, *at, "--json")
    first = drift()
    assert first < 0.01 and "refit" not in run_here("index", "info", *at).err
    others = {f"other{n}.mp4": [[0.0, 0.1 + n / 100, 0.9]] for n in range(40)}
    heard = {name: [[0.9 - n / 100, 0.1]] for n, name in enumerate(others)}
    write_store(tmp_path / ".hcq" / "features", paths, others, heard)
    assert drift() > first + 0.15 and "refit" in run_here("index", "info", *at).err
    # Codes and index of earlier versions know none.
    assert "drift" not in run_here("index", "info", "-w", kept, "--json").json


def test_a_query_loads_no_torch(fitted: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from hcq_cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "query", "dog", "-w", str(fitted / ".hcq"), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["hits"][0]["id"] == "dog.mp4"


def test_what_is_missing_is_said_with_the_command_that_brings_it(tmp_path: Path) -> None:
    workspace, paths = tmp_path / ".hcq", classifiers(tmp_path)
    assert "hcq extract VIDEOS" in run_here("fit", "-w", workspace, code=EXIT_NOT_FOUND).err
    write_store(workspace / "features", paths)
    assert "hcq fit --concepts onnx:FILE" in run_here("fit", "-w", workspace, code=EXIT_USAGE).err
    wrong = ["--concepts", f"onnx:{paths['objects']}", "--bytes", "0", "-w", workspace]
    assert "--bytes 0" in run_here("fit", *wrong, code=EXIT_USAGE).err
    unknown = ["--concepts", f"onnx:{paths['objects']}", "--text-encoder", "minilmm", "-w", workspace]
    assert "--text-encoder minilm" in run_here("fit", *unknown, code=EXIT_NOT_FOUND).err


def test_a_fitted_model_is_not_trained(tmp_path: Path) -> None:
    write_store(tmp_path / ".hcq" / "features", classifiers(tmp_path))
    (tmp_path / "captions.jsonl").write_text('{"video": "dog.mp4", "caption": "a dog"}\n')
    asked = [
        "train",
        "--captions",
        tmp_path / "captions.jsonl",
        "--set",
        "model.kind=fitted",
        "-w",
        tmp_path / ".hcq",
    ]
    assert "hcq fit" in run_here(*asked, code=EXIT_USAGE).err
