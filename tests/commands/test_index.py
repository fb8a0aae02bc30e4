from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import names, other_model, random_codes, write_codes

Run = Callable[..., Any]


@pytest.fixture
def indexed(hcq: Run, tmp_path: Path) -> Path:
    write_codes(tmp_path / ".hcq" / "codes.hcq", names(300), random_codes(300))
    hcq("index", "build")
    return tmp_path / ".hcq" / "index"


def test_the_life_of_an_index(hcq: Run, indexed: Path, tmp_path: Path) -> None:
    write_codes(tmp_path / "more.hcq", ["v0.mp4", "new.mp4"], random_codes(2))
    added = hcq("index", "add", "more.hcq", "--json").json
    assert (added["videos"], added["added"], added["removed"], added["segments"]) == (301, 2, 1, 2)
    removed = hcq("--json", "index", "remove", "v1.mp4", "V299.MP4", code=3)
    assert removed.json["unknown"] == ["V299.MP4"]
    assert "holds no 'V299.MP4'; near it are 'v299.mp4'" in " ".join(removed.err.split())
    info = hcq("index", "info", "--json").json
    assert {
        key: info[key] for key in ("videos", "removed", "segments", "bytes_per_video", "partitions", "format")
    } == {
        "videos": 300,
        "removed": 2,
        "segments": 2,
        "bytes_per_video": 8,
        "partitions": 0,
        "format": 1,
    }
    assert info["model"] == "a" * 64
    assert hcq("index", "compact", "--json").json["segments"] == 1
    assert hcq("index", "info", "--json").json["removed"] == 0
    assert "300 videos" in hcq("index", "verify").out


def test_lists_from_outside(hcq: Run, tmp_path: Path) -> None:
    write_codes(tmp_path / ".hcq" / "codes.hcq", names(900), random_codes(900))
    hcq("index", "build", "--partitions", "12")
    info = hcq("index", "info", "--json").json
    assert info["partitions"] == 12
    assert 1 <= info["probe"] <= 12
    assert 0.9 < info["recall"] <= 1
    assert info["recall_measured_on"].endswith("noisy videos") and info["recall_measured_at"] == 900
    assert "made for" not in hcq("index", "info").err
    like = ("query", "--like", "v5.mp4", "--json", "-k", "900")
    exact = hcq(*like, "--exact").json["hits"]
    assert hcq(*like, "--probe", "12").json["hits"] == exact
    few = hcq("query", "--like", "v5.mp4", "--json", "--probe", "1").json["hits"]
    scores = {hit["id"]: hit["score"] for hit in exact}
    assert few and all(scores[hit["id"]] == hit["score"] for hit in few)
    write_codes(tmp_path / "more.hcq", ["v0.mp4", "new.mp4"], random_codes(2))
    hcq("index", "add", "more.hcq")
    assert hcq("index", "compact", "--json").json["videos"] == 901
    write_codes(tmp_path / "many.hcq", [f"later/{name}" for name in names(950)], random_codes(950))
    hcq("index", "add", "many.hcq")
    assert "made for 900 videos: hcq index build" in " ".join(hcq("index", "info").err.split())
    assert hcq("index", "info", "--json").json["partitions"] == 12
    hcq("index", "verify")
    assert "exclude each other" in hcq(*like, "--probe", "3", "--exact", code=2).err
    for wrong in ("some", "-3", "1.5", "²"):
        assert "--partitions" in hcq("index", "build", "--partitions", wrong, code=2).err
    hcq("index", "build", "--partitions", "auto")
    assert hcq("index", "info", "--json").json["partitions"] == 0


def test_people_see_numbers(hcq: Run, indexed: Path) -> None:
    assert "bytes per video" in hcq("index", "info").out
    assert "300 videos" in hcq("index", "build").out


def test_damage_exits_4_and_names_the_file(hcq: Run, indexed: Path) -> None:
    segment = next(indexed.glob("segment-*"))
    raw = bytearray(segment.read_bytes())
    raw[200] ^= 4
    segment.write_bytes(raw)
    hcq("index", "info")
    failed = hcq("index", "verify", "--json", code=4)
    assert segment.name in failed.err
    assert failed.json["exit_code"] == 4
    assert "hcq index build" in failed.err
    segment.write_bytes(raw[:-1])
    assert segment.name in hcq("index", "info", code=4).err
    (indexed / "manifest-00000009.json").write_text("{}")
    assert "manifest-00000009" in hcq("index", "info", code=4).err
    hcq("index", "build")  # mends everything
    hcq("index", "verify")


def test_nothing_there_yet(hcq: Run, tmp_path: Path) -> None:
    for verb in (["build"], ["info"], ["verify"], ["compact"], ["remove", "x"]):  # the first step that is missing
        assert "→ hcq extract VIDEOS" in hcq("index", *verb, code=10).err
    for made, step in (
        ("features/manifest-00000001.json", "hcq train --captions captions.jsonl, or without captions: hcq fit"),
        ("model/config.json", "hcq encode"),
    ):
        path = tmp_path / ".hcq" / made
        path.parent.mkdir(parents=True)
        path.touch()
        assert f"→ {step}" in hcq("index", "info", code=10).err
    write_codes(tmp_path / ".hcq" / "codes.hcq", ["x"], random_codes(1))
    assert "→ hcq index build" in hcq("index", "info", code=10).err


def test_models_do_not_mix(hcq: Run, indexed: Path, tmp_path: Path) -> None:
    write_codes(tmp_path / "other.hcq", ["x"], random_codes(1), other_model())
    failed = hcq("index", "add", "other.hcq", code=4)
    assert "aaaaaaaaaaaa" in failed.err
    assert "bbbbbbbbbbbb" in failed.err
