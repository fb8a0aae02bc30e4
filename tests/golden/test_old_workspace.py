"""A workspace written by hcq 0.1.0 opens, verifies, and answers as it did then.

`workspace/` was made from 14 of the demo's clips with a model of 12 bytes a video: 14 videos in a shard and one still
in incoming/, a checkpoint, codes of segments of two seconds, an index with a video removed, and codes and an index of
the captions. What is expected here was printed by the hcq that wrote it.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from hcq_cli.codes.ids import video_of

MODEL = "36cca8ea03b18a719a4da1a0e5ebbd8867d0b8123c7b60fc878d095a7db075e7"
EXPORTED = {
    "ids": "c960b050b32d8a97",
    "audio.features": "78b898ed7b3f0255",
    "audio.times": "69e845fd9b7b0db4",
    "audio.offsets": "79d6a9215fc82899",
    "audio.states": "d6bcaff3d097b026",
    "motion.features": "9c6efc8e13303662",
    "motion.times": "969e43c9cfcf11dd",
    "motion.offsets": "e01a3c8f2eda5a78",
    "motion.states": "252a78e249d3a822",
}
"""The first 16 digits of the SHA-256 of every array."""
RED_BALL = [
    ("clip-0012.mp4#t=1.5,3", 0.345015),
    ("clip-0002.mp4#t=1.5,3", 0.337228),
    ("clip-0004.mp4#t=0,1.2", 0.308302),
]
LIKE_1 = [
    ("clip-0013.mp4#t=0,1.4", 1.169656),
    ("clip-0004.mp4#t=0,1.2", 1.115645),
    ("clip-0010.mp4#t=0,1.2", 1.027146),
]
SENTENCES = [("clip-0003.mp4#7", 1.005779), ("clip-0009.mp4#5", 0.975076), ("clip-0013.mp4#4", 0.975076)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy, because commands write locks and more beside what they read."""
    return Path(shutil.copytree(Path(__file__).parent / "workspace", tmp_path / "old"))


def hits(outcome) -> list[tuple[str, float]]:
    return [(hit.get("segment", hit["id"]), pytest.approx(hit["score"], abs=1e-4)) for hit in outcome.json["hits"]]


def test_the_feature_store_holds_the_same_bytes(hcq, old, tmp_path):
    assert "2 files, all whole" in hcq("features", "verify", "-w", old).out
    known = hcq("features", "info", "-w", old, "--json").json
    assert (known["videos"], known["shards"], known["incoming"]) == (15, 1, 1)
    hcq("features", "export", "-w", old, "-o", tmp_path / "all.npz")
    arrays = np.load(tmp_path / "all.npz")
    assert {name: hashlib.sha256(arrays[name].tobytes()).hexdigest()[:16] for name in arrays} == EXPORTED
    shown = hcq("features", "show", "late 'quoted' 🎬.mp4", "-w", old, "--json").json
    assert (shown["duration_s"], shown["decoder"], shown["warnings"]) == (2.0, "pyav", ["cut short"])


def test_the_index_and_the_code_files_answer_the_same(hcq, old):
    assert "13 videos in 1 segment, all sound" in hcq("index", "verify", "-w", old).out
    known = hcq("index", "info", "-w", old, "--json").json
    assert (known["videos"], known["rows"], known["removed"]) == (13, 26, 2)
    assert (known["generation"], known["model"]) == (2, MODEL)
    assert hits(hcq("query", "a red ball", "-w", old, "-k", "3", "--json")) == RED_BALL
    assert hits(hcq("query", "--like", "clip-0001.mp4", "-w", old, "-k", "3", "--json")) == LIKE_1
    assert "no column 'taken'" in hcq("query", "a red ball", "--sort", "date", "-w", old, code=2).err
    found = hcq("query", "a red ball", "--codes", old / "texts.hcq", "-w", old, "-k", "3", "--json")
    assert hits(found) == SENTENCES
    assert found.json["videos_searched"] == 98


@pytest.mark.long
def test_the_checkpoint_encodes_and_retrieves_the_same(hcq, old, tmp_path):
    measured = hcq("eval", "-w", old, "--captions", old / "captions.jsonl", "--split", "all", "--json").json
    t2v, v2t = measured["t2v"], measured["v2t"]
    assert (measured["videos"], measured["texts"], measured["bytes_per_video"]) == (14, 98, 12)
    # A code may flip where a processor rounds otherwise, and with it a caption or two of 98.
    assert (t2v["R1"], t2v["R10"], v2t["R10"]) == pytest.approx((16.3, 82.7, 71.4), abs=3)
    done = hcq("encode", "-w", old, "--segment-s", "3", "-o", tmp_path / "again.hcq", "--json").json
    assert (done["videos"], done["codes_written"], done["model"]) == (15, 15, MODEL), "none is longer than 4.5 s"
    found = hcq("query", "a red ball", "--codes", tmp_path / "again.hcq", "-w", old, "-k", "4", "--json")
    assert video_of(RED_BALL[0][0]) in [hit["id"] for hit in found.json["hits"]]


def test_it_can_be_written_to(hcq, old):
    added = hcq("index", "add", old / "codes.hcq", "-w", old, "--json").json
    assert (added["videos"], added["rows"], added["generation"]) == (14, 28, 3)
    assert hcq("index", "compact", "-w", old, "--json").json["segments"] == 1
    hcq("features", "verify", "-w", old)
