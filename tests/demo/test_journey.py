"""`hcq demo` as a person runs it: a tiny one always, the whole one (with the figures it promises) when asked."""

import json
import time

import pytest
from command import run_hcq

from hcq_cli.demo.clips import compose
from hcq_cli.demo.journey import STAGES

TINY = ["--videos", "24", "--set", "training.epochs=1", "--set", "model.width=64"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    place = tmp_path_factory.mktemp("demo")
    return place, run_hcq("demo", "tiny", "--json", *TINY, cwd=place).json


def shown(workspace):
    lines = [json.loads(line) for line in (workspace / "captions.jsonl").read_text("utf-8").splitlines()]
    return {line["video"]: line for line in lines}


def judge_hits(report, workspace, scenes):
    """Judge the hits anew, from the file that lies in the workspace: the report must say the same."""
    from hcq_cli.demo.grammar import five_questions

    clips = shown(workspace)
    for answer, question in zip(report["queries"], five_questions(scenes), strict=True):
        assert answer["query"] == question.text and answer["needs"] == question.needs
        right = [
            all(clips[hit["id"]]["shows"][name] == value for name, value in question.wanted.items())
            for hit in answer["hits"]
        ]
        assert [hit["right"] for hit in answer["hits"]] == right
        assert answer["right"] == right[0] and answer["right_hits"] == sum(right)


def test_a_tiny_demo_goes_all_the_way(tiny):
    place, report = tiny
    workspace = place / report["workspace"]
    assert report["videos"] == 24 and report["test_videos"] == 6
    assert set(STAGES) <= set(report["seconds"])
    assert 0 <= report["R1"] <= report["R10"] <= 100
    states = report["states"]
    assert set(states) == {"appearance", "motion", "audio", "face"}
    clips = shown(workspace)
    heard = sum(clip["shows"]["sound"] != "silence" for clip in clips.values())
    assert states["audio"]["tokens"] == heard
    assert states["audio"]["no_stream"] + states["audio"]["silent"] == 24 - heard
    faces = sum(clip["shows"]["person"] != "nobody" for clip in clips.values())
    assert abs(states["face"]["tokens"] - faces) <= 1
    assert [len(answer["hits"]) for answer in report["queries"]] == [10] * 5
    judge_hits(report, workspace, compose(24, seed=0))


def test_the_workspace_it_leaves_answers_queries_and_evaluates_to_the_same_recall(tiny):
    place, report = tiny
    shown_query = report["queries"][0]
    answer = run_hcq("query", "-w", report["workspace"], shown_query["query"], "--json", cwd=place).json
    assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in shown_query["hits"]]
    assert all((place / hit["path"]).is_file() for hit in answer["hits"])
    measured = run_hcq("eval", "-w", report["workspace"], "--split", "test", "--json", cwd=place).json
    assert measured["videos"] == report["test_videos"]
    assert measured["t2v"]["R1"] == pytest.approx(report["R1"])
    assert measured["t2v"]["R10"] == pytest.approx(report["R10"])


def test_the_score_is_the_hybrid_score_of_the_float_codewords(tiny):
    """The hybrid similarity of HCQ (Wang et al., WWW 2022, arXiv 2202.03384): w_0·coarse + (1−w_0)·mean_l fine_l.

    Here with vectors rebuilt and rotated back, video by video.
    """
    import numpy as np

    from hcq_cli.codes.codefile import open_codes
    from hcq_cli.model import checkpoint

    place, report = tiny
    workspace = place / report["workspace"]
    found = run_hcq("query", "-w", workspace, "a red ball bounces", "-k", "24", "--json", cwd=place).json
    model, file = checkpoint.load(workspace / "model"), open_codes(workspace / "codes.hcq")
    query = model.encode_texts(["a red ball bounces"])[0].astype(np.float64)
    levels, M = file.header.levels, file.header.M
    rotation = model.network.quantizer.rotation.numpy().astype(np.float64)
    scores = {}
    for ids, _, codes in ((names, paths, part) for part, names, paths in file.batches()):
        for name, code in zip(ids, codes, strict=True):
            rotated = file.codebooks[np.arange(levels * M), code].astype(np.float64).ravel() / np.sqrt(M)
            rebuilt = (rotated @ rotation).reshape(levels, -1) * np.sqrt(levels)
            products, coarse_weight = (rebuilt * query).sum(1), 1 / levels
            scores[name] = coarse_weight * products[0] + (1 - coarse_weight) * products[1:].mean()
    assert len(found["hits"]) == len(scores) == 24
    for hit in found["hits"]:
        assert hit["score"] == pytest.approx(scores[hit["id"]], abs=1e-5)
    assert len({round(score, 6) for score in scores.values()}) > 12


@pytest.mark.long
def test_run_again_it_keeps_what_is_done_and_says_the_same(tiny):
    place, report = tiny
    clips = place / "tiny" / "clips"
    before = {path.name: path.stat().st_mtime_ns for path in clips.iterdir()}
    again = run_hcq("demo", "tiny", *TINY, cwd=place).out
    assert {path.name: path.stat().st_mtime_ns for path in clips.iterdir()} == before
    assert f"R@1 {report['R1']:.1f} %" in again and f"R@10 {report['R10']:.1f} %" in again
    for answer in report["queries"]:
        assert answer["query"] in again
    assert "hcq query -w tiny/.hcq" in again


def test_another_demo_is_not_mixed_in(tiny):
    place, _ = tiny
    other = run_hcq("demo", "tiny", *TINY, "--seed", "1", cwd=place, code=2)
    assert "--fresh" in other.err


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "clips").mkdir()
    (mine / "clips" / "wedding.mp4").write_bytes(b"precious")
    for flags in ([], ["--fresh"]):
        run_hcq("demo", "mine", *TINY, *flags, cwd=tmp_path, code=2)
    assert (mine / "clips" / "wedding.mp4").read_bytes() == b"precious"
    assert sorted(path.name for path in mine.iterdir()) == ["clips"]


def test_too_few_clips_are_refused_before_anything_is_made(tmp_path):
    done = run_hcq("demo", "few", "--videos", "5", cwd=tmp_path, code=2)
    assert "--videos 24" in done.err
    assert not (tmp_path / "few").exists()


@pytest.mark.slow
def test_the_whole_demo_keeps_its_promises(tmp_path):
    """Recall, the sound and the motion query, and the time, as the README promises them. Alone on 2 cores."""
    started = time.monotonic()
    report = run_hcq("demo", "--json", cwd=tmp_path, fresh=True, timeout=1800).json
    assert time.monotonic() - started < 240
    assert report["videos"] >= 480 and report["test_videos"] >= 100
    assert report["R10"] >= 65 and report["R1"] >= 25
    by_need = {answer["needs"]: answer for answer in report["queries"]}
    assert by_need["audio"]["right"] and by_need["motion"]["right"]
    assert report["bytes_per_video"] == 256
    judge_hits(report, tmp_path / report["workspace"], compose(report["videos"], seed=0))
