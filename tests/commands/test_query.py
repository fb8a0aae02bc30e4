from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import names, random_codes, write_codes
from in_process import run_here
from trained import AWKWARD, CAPTIONS, save_workspace

from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import EXIT_USAGE

Run = Callable[..., Any]


def float_scores(workspace: Path, query: str) -> dict[str, float]:
    """The hybrid score from the float codewords: w_0·cos_coarse + (1-w_0)·mean_l cos_l."""
    from hcq_cli.model import checkpoint

    file = open_codes(workspace / "codes.hcq")
    levels = checkpoint.load(workspace / "model").encode_texts([query])[0]
    scores = {}
    for row, video_id in enumerate(file.ids):
        video = np.concatenate([file.codebooks[s, code] for s, code in enumerate(file.codes[row])]).reshape(4, 32)
        cosines = (levels * video).sum(axis=1) / np.linalg.norm(levels, axis=1) / np.linalg.norm(video, axis=1)
        scores[video_id] = 0.25 * cosines[0] + 0.75 * cosines[1:].mean()
    return scores


def test_words_are_joined_into_one_query(ask: Run, workspace: Path) -> None:
    document = ask("a", "man", "cooking", "--json", "-k", "204").json
    assert document["query"] == "a man cooking"
    assert document["index"] == str(workspace / "index")
    assert document["videos_searched"] == 204
    assert set(document["ms"]) == {"text", "scan"}
    assert document["hits"][0] == {
        "rank": 1,
        "score": document["hits"][0]["score"],
        "id": "plain.mp4",
        "path": "/videos/plain.mp4",
    }
    expected = float_scores(workspace, "a man cooking")
    assert len(document["hits"]) == 204
    assert max(abs(hit["score"] - expected[hit["id"]]) for hit in document["hits"]) < 1e-5


def test_a_code_file_answers_like_its_index(ask: Run, workspace: Path) -> None:
    like = ("--like", "plain.mp4", "--json", "-k", "204")
    by_index, by_codes = ask(*like).json, ask(*like, "--codes", workspace / "codes.hcq").json
    assert by_codes["hits"] == by_index["hits"]
    assert by_codes["index"] == str(workspace / "codes.hcq")
    text = ask("a dog in the snow", "--json", "-k", "1", "--codes", workspace / "codes.hcq").json
    assert text["hits"][0]["id"] == AWKWARD[1]


def test_an_engine_does_not_stop_a_code_file(workspace: Path) -> None:
    """As `on = "ray"` in hcq.toml names one for all commands."""
    codes = ("query", "--like", "plain.mp4", "--codes", workspace / "codes.hcq", "-w", workspace, "--json")
    told = run_here(*codes, "--on", "ray")
    assert told.json["hits"] == run_here(*codes).json["hits"] and "searched on this machine" in told.err
    assert "names no engine" in run_here(*codes, "--on", "slurm", code=EXIT_USAGE).err


def test_a_line_of_input_is_a_query_and_a_waiting_partner_is_answered_at_once(ask: Run, workspace: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hcq_cli", "query", "-", "--json", "-k", "1", "-w", str(workspace)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=workspace,
    )
    assert process.stdin and process.stdout
    answers = []
    for caption in CAPTIONS[:2]:
        process.stdin.write(caption.encode() + b"\n")
        process.stdin.flush()
        answers.append(json.loads(process.stdout.readline()))
    rest = process.communicate(f"\n   \n{CAPTIONS[2]}\r\n{CAPTIONS[3]}".encode(), timeout=60)[0]
    answers += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 0
    assert [answer["query"] for answer in answers] == CAPTIONS
    assert [answer["hits"][0]["id"] for answer in answers] == AWKWARD


def test_people_see_a_table(ask: Run) -> None:
    shown = ask("-", "-k", "3", stdin="two people dance\na dog in the [red] snow\n")
    assert "🎬.mp4" in shown.out
    assert "new\\nline" in shown.out
    assert "a dog in the [red] snow" in shown.out
    assert "204 videos searched" in shown.err
    assert len([line for line in shown.out.splitlines() if line.strip()]) == 12


def test_each_hit_is_shown_in_one_place_with_its_second(hcq: Run, tmp_path: Path) -> None:
    segments = ["a/long.mp4#t=75.5,90", "a/long.mp4#t=3690,3720", "b/short.mp4"]
    write_codes(tmp_path / "codes.hcq", segments, random_codes(3))
    shown = [line.split() for line in hcq("query", "--codes", "codes.hcq", "--like", "b/short.mp4").out.splitlines()]
    assert ["rank", "score", "at", "video"] in shown
    assert ["/videos/a/long.mp4"] in [line[3:] for line in shown if line[2:3] in (["1:15"], ["1:01:30"])]


def test_like_an_indexed_video(ask: Run, workspace: Path) -> None:
    document = ask("--like", "plain.mp4", "--json", "-k", "5").json
    assert document["like"] == "plain.mp4"
    assert len(document["hits"]) == 5
    assert "plain.mp4" not in [hit["id"] for hit in document["hits"]]
    assert (
        ask("--like", "plain.mp4", "--json", "-k", "5", "--codes", workspace / "codes.hcq").json["hits"]
        == (document["hits"])
    )
    ask("--like", "nobody.mp4", code=10)


def test_threads_and_kernels_change_nothing(ask: Run) -> None:
    like = ("--like", "plain.mp4", "--json")
    hits = ask(*like).json["hits"]
    assert ask(*like, "--threads", "3").json["hits"] == hits
    assert ask(*like, env={"HCQ_KERNEL": "numpy"}).json["hits"] == hits
    assert "abacus" in ask(*like, env={"HCQ_KERNEL": "abacus"}, code=2).err


def test_usage_errors(ask: Run) -> None:
    for arguments in ([""], [" "], [], ["-", "--like", "y"], ["x", "-k", "0"], ["x", "--codes", "a", "--index", "b"]):
        ask(*arguments, code=2)
    assert "takes no words beside it" in ask("-", "a man", code=2).err


def test_probing_an_index_without_lists_says_that_it_searches_everything(ask: Run) -> None:
    assert "no lists to probe" in ask("--like", "plain.mp4", "--probe", "3").err


def test_without_an_index_or_a_checkpoint(hcq: Run, tmp_path: Path) -> None:
    missing = hcq("query", "x", "--json", code=10)
    assert "hcq extract" in missing.err and missing.json["hint"] == "hcq extract VIDEOS"
    write_codes(tmp_path / "codes.hcq", names(3), random_codes(3))
    assert "no checkpoint" in hcq("query", "x", "--codes", "codes.hcq", code=10).err
    assert "hcq query --codes codes.hcq" in hcq("query", "x", "--index", "codes.hcq", code=10).err
    (tmp_path / "junk").write_text("not codes")
    assert "junk" in hcq("query", "x", "--codes", "junk", code=4).err


def test_codes_of_another_model(hcq: Run, workspace: Path, tmp_path: Path) -> None:
    write_codes(tmp_path / "codes.hcq", names(3), random_codes(3))
    failed = hcq("query", "x", "--codes", "codes.hcq", "--ckpt", workspace / "model", code=4)
    assert "aaaaaaaaaaaa" in failed.err
    assert os.fspath(workspace / "model") in failed.err


def test_an_index_of_codes_from_before_the_last_training_says_so(hcq: Run, tmp_path: Path) -> None:
    workspace = save_workspace(tmp_path / "own")
    assert "trained anew" not in hcq("-w", workspace, "index", "build").err
    write_codes(workspace / "codes.hcq", names(3), random_codes(3))
    told = hcq("-w", workspace, "index", "build", "--text-side", "none").err
    assert "trained anew since" in told
    assert "hcq encode" in told


def test_like_finds_an_accent_however_it_is_written(hcq: Run, tmp_path: Path) -> None:
    write_codes(tmp_path / "codes.hcq", ["e\u0301tude.mp4", "a.mp4", "b.mp4"], random_codes(3))
    for name in ("\u00e9tude.mp4", "e\u0301tude.mp4"):
        document = hcq("query", "--like", name, "--codes", "codes.hcq", "--json").json
        assert sorted(hit["id"] for hit in document["hits"]) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("query", ["\u732b", "\u0643\u0644\u0628", "\U0001f415", "\U0001f415 \u732b"])
def test_a_query_of_unknown_words_alone_is_answered_with_a_note(workspace: Path, query: str) -> None:
    found = run_here("query", "-w", workspace, query, "--json").json
    assert "no word of the query is known" in found["note"] and len(found["hits"]) == 10
    assert "no word of the query is known" in run_here("query", "-w", workspace, query).err
    assert "note" not in run_here("query", "-w", workspace, f"{query} dog", "--json").json


@pytest.mark.parametrize("query", ["\u200b", "\u0007", "\u00a0", " \u200b \u2060"])
def test_a_query_without_any_token_is_refused(workspace: Path, query: str) -> None:
    assert "quer" in run_here("query", "-w", workspace, query, code=2).err


def test_a_line_without_any_token_has_no_hits_and_stops_nothing(ask: Run) -> None:
    lines = ask("-", "--json", "-k", "2", stdin="a dog\n\u200b\n\u732b\na man\n").lines
    assert [len(line["hits"]) for line in lines] == [2, 0, 2, 2]
    assert ["note" in line for line in lines] == [False, True, True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells a process's peak on Linux alone")
def test_a_text_query_holds_little_memory(workspace: Path) -> None:
    """Besides its codes at most 64 MiB, of which Python, NumPy and tokenizers are two thirds: no onnxruntime, and no
    weight of the text encoder for longer than it is multiplied."""
    code = """
import sys
from hcq_cli.__main__ import run
try:
    run()
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""
    command = [sys.executable, "-P", "-c", code, "query", "a dog in the snow", "-w", str(workspace)]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True)
    assert int(done.stderr.split("VmHWM:")[1].split()[0]) <= 64 << 10  # KiB
