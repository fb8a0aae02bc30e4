"""`hcq query --face`: from files to hits, with made-up networks that take whatever is bright for a face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_faces
from handmade import random_codes, write_codes

Run = Callable[..., Any]
cv2 = pytest.importorskip("cv2")
pytest.importorskip("onnx")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, their face vectors, and an index."""
    from command import run_hcq

    folder = tmp_path_factory.mktemp("people")
    networks = tiny_faces.save(folder / "networks")
    (folder / "videos").mkdir()
    shown: dict[str, list[tuple[int, ...]]] = {
        "anna.mkv": [(), (1,), (1,)],
        "both.mkv": [(2,), (), (), (1, 2)],
        "ben.mkv": [(2,), (2,)],
        "nobody.mkv": [(), ()],
    }
    for name, seconds in shown.items():
        tiny_faces.write_video(folder / "videos" / name, seconds)
    cv2.imwrite(str(folder / "anna.png"), tiny_faces.picture(1)[..., ::-1])
    cv2.imwrite(str(folder / "dark.png"), tiny_faces.picture())
    run_hcq("extract", "videos", "--experts", f"face={networks}", "-w", folder / "w", cwd=folder)
    codes = write_codes(folder / "w" / "codes.hcq", list(shown), random_codes(4), folder=str(folder / "videos"))
    run_hcq("index", "build", codes, "-w", folder / "w", cwd=folder)
    return folder


def test_a_photo_finds_who_is_on_it_with_the_second(hcq: Run, place: Path) -> None:
    source = ("--experts", f"face={place / 'networks'}")
    found = hcq("query", "-w", "w", "--face", "anna.png", *source, "--json", cwd=place).json
    assert [(hit["id"], hit["time_s"], hit["end_s"]) for hit in found["hits"][:2]] in (
        [("anna.mkv", 1, 3), ("both.mkv", 3, 4)],
        [("both.mkv", 3, 4), ("anna.mkv", 1, 3)],
    )
    assert found["hits"][0]["score"] > 0.99 and found["face"] == ["anna.png"] and len(found["hits"]) == 3
    asked = ("--face", "anna.png", "--not-face", "videos/ben.mkv", *source)
    left = hcq("query", "-w", "w", *asked, "--json", cwd=place).json
    assert [hit["id"] for hit in left["hits"]] == ["anna.mkv"] and left["not_face"] == ["videos/ben.mkv"]
    shown = hcq("query", "-w", "w", "--face", "anna.png", *source, cwd=place)
    assert "0:01" in shown.out or "0:03" in shown.out


def test_a_second_of_a_video_with_another_example_and_in_python(hcq: Run, place: Path) -> None:
    from hcq_cli import Searcher, SearchSettings, Workspace

    found = hcq("query", "-w", "w", "--face", "ben@1", "--like", "nobody.mkv", "--json", cwd=place).json
    ranks = {hit["id"]: hit["found_by"]["face"] for hit in found["hits"]}
    assert ranks["anna.mkv"] == 3 and ranks.keys() == {"anna.mkv", "both.mkv", "ben.mkv"}  # all bright, so all near
    searcher = Searcher(Workspace(place / "w"), SearchSettings(where="id != 'both.mkv'"))
    answer = searcher.composed(faces=["anna.mkv@2"], not_faces=["ben.mkv@0"], k=9)
    assert [hit.id for hit in answer.hits] == ["anna.mkv"]
    named = hcq("query", "-w", "w", '"anna"', "--face", "ben.mkv@0", "--json", cwd=place).json
    assert [hit["id"] for hit in named["hits"]] == ["anna.mkv"]


def test_what_cannot_be_compared_is_said(hcq: Run, place: Path) -> None:
    source = ("--experts", f"face={place / 'networks'}")
    assert (
        "no face was found in it" in hcq(*("query", "-w", "w", "--face", "dark.png"), *source, cwd=place, code=10).err
    )
    moved = hcq("query", "-w", "w", "--face", "anna.png", cwd=place, code=2).err
    assert "--experts face=SOURCE" in moved
    assert "give its second" in hcq("query", "-w", "w", "--face", "ben.mkv", cwd=place, code=10).err
    assert (
        "no --by segment"
        in hcq(*("query", "-w", "w", "--face", "ben.mkv@0", "--by"), "segment", cwd=place, code=2).err
    )
    assert "stand alone" in hcq("query", "-w", "w", "--face", "a.png", "--video", "b.mkv", cwd=place, code=2).err
    assert (
        "--not-face say what is not looked for"
        in hcq("query", "-w", "w", "--not-face", "ben.mkv@0", cwd=place, code=2).err
    )
    asked = ("query", "-w", "w", "--codes", "w/codes.hcq", "--like", "anna.mkv", "--not-face", "ben.mkv@0")
    assert [hit["id"] for hit in hcq(*asked, "--json", cwd=place).json["hits"]] == ["nobody.mkv"]  # of codes, too


def test_real_faces_are_found_by_a_frame_of_their_clip(hcq: Run, shared: Path, tmp_path: Path) -> None:
    detector = shared / "weights" / "ulfg_version-RFB-320.onnx"
    people = ["drummer_headphones_black_tank.mp4", "grid_speaker_man_black.mpg", "grid_speaker_woman.mpg"]
    people += ["singer_music_video_eighties.mp4", "woman_applying_eye_makeup.avi", "woman_finger_on_lips.mp4"]
    files = [shared / "videos" / name for name in [*people, "brown_bears_resting.mp4"]]
    source = ("--experts", f"face=onnx:{detector}")
    hcq("extract", *files, *source, "-w", "w")
    write_codes(
        tmp_path / "c.hcq", [file.name for file in files], random_codes(len(files)), folder=str(shared / "videos")
    )
    hcq("index", "build", "c.hcq", "-w", "w")
    for name in people:
        hits = hcq("query", "-w", "w", "--face", shared / "videos" / name, *source, "--json").json["hits"]
        assert hits[0]["id"] == name and hits[0]["score"] > 0.99 and len(hits) == len(people)
