"""`hcq extract` as a person meets it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sample_videos import clip, film, real_clips, tone
from store_contents import contents

FEW = ("--experts", "appearance,audio")


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clips are so small that a second worker would only cost its start."""
    monkeypatch.setenv("HCQ_EXTRACT_WORKERS", "1")


def test_a_folder_then_nothing_left_to_do(hcq, clips: Path, tmp_path: Path) -> None:
    first = hcq("extract", clips, "--json").json
    assert (first["videos"], first["extracted"], first["skipped"], first["failed"]) == (6, 6, 0, [])
    assert set(first["states"]) == {"appearance", "motion", "audio", "face"}
    assert all(sum(states.values()) == 6 for states in first["states"].values())
    assert first["states"]["audio"]["tokens"] == first["states"]["appearance"]["tokens"] == 6
    assert first["decoders"] == {"pyav": 6} and Path(tmp_path / first["store"]).is_dir()
    again = hcq("extract", clips, "--json").json
    assert (again["extracted"], again["skipped"], again["frames"]) == (0, 6, 0)
    assert again["states"] == first["states"]


def test_for_people_it_ends_with_a_table(hcq, clips: Path) -> None:
    done = hcq("extract", clips / "clip0.mp4", *FEW)
    assert "appearance" in done.out and "no stream" in done.out and "1 extracted, 0 skipped, 0 failed" in done.out


def test_what_is_claimed_without_a_cluster_is_said_to_be_passed_over(hcq, clips: Path) -> None:
    done = hcq("extract", clips / "clip0.mp4", *FEW, "--claim", "worker=gib:2")
    assert "--claim is passed over" in done.err


def test_only_what_is_missing_is_extracted(hcq, clips: Path, tmp_path: Path) -> None:
    hcq("extract", clips, "--experts", "audio")
    planned = hcq("extract", clips, *FEW, "--dry-run", "--json").json
    assert [item["experts"] for item in planned["todo"]] == [["appearance"]] * 6
    assert hcq("extract", clips, *FEW, "--json").json["extracted"] == 6
    hcq("extract", clips, *FEW, "-o", tmp_path / "at-once")
    assert contents(tmp_path / ".hcq/features") == contents(tmp_path / "at-once")


def test_a_changed_file_is_extracted_anew_and_nothing_else(hcq, clips: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(clips, videos)
    hcq("extract", videos, *FEW)
    clip(videos / "clip2.mp4", seconds=1.0, seed=40)
    os.utime(videos / "clip3.mp4")  # touched, not changed
    (videos / "clip4.mp4").rename(videos / "moved.mp4")
    done = hcq("extract", videos, *FEW, "--json").json
    assert (done["extracted"], done["duplicates"], done["skipped"]) == (1, 1, 4)  # what moved is only copied
    fresh = tmp_path / "fresh"
    hcq("extract", videos, *FEW, "-o", fresh)
    after = contents(tmp_path / ".hcq/features")
    assert {id: after[id] for id in contents(fresh)} == contents(fresh)


def test_a_new_version_of_an_expert_is_extracted_anew(hcq, clips: Path, planted: dict[str, str]) -> None:
    run = ("extract", clips, "--experts", "colour", "--json")
    assert hcq(*run, env=planted).json["extracted"] == 6
    assert hcq(*run, env=planted).json["extracted"] == 0
    assert hcq(*run, env={**planted, "COLOUR_VERSION": "2"}).json["extracted"] == 6


def test_sampling_options_are_part_of_what_is_remembered(hcq, clips: Path) -> None:
    run = ("extract", clips / "clip0.mp4", "--experts", "appearance", "--json")
    assert hcq(*run).json["extracted"] == 1
    assert hcq(*run, "--max-seconds", "0.6").json["extracted"] == 1
    assert hcq(*run, "--sample-fps", "4").json["extracted"] == 1
    assert hcq(*run, "--sample-fps", "4").json["skipped"] == 1


def test_sample_fps_and_max_seconds_do_what_they_say(
    hcq, clips: Path, planted: dict[str, str], tmp_path: Path
) -> None:
    run = ("extract", clips / "clip5.mp4", "--experts", "colour")  # 2 s at 10 fps
    for name, options in (("a", ()), ("b", ("--sample-fps", "5")), ("c", ("--max-seconds", "1"))):
        hcq(*run, *options, "-o", tmp_path / name, env=planted)
    counts = [len(contents(tmp_path / name)["clip5.mp4"]["colour"][2]) // 4 for name in "abc"]
    assert counts == [4, 10, 2]


def test_lists_and_standard_input(hcq, clips: Path, tmp_path: Path) -> None:
    names = [str(clips / f"clip{n}.mp4") for n in range(3)]
    (tmp_path / "list.txt").write_text("\n".join(names[:2]) + "\n")
    assert hcq("extract", "--from", "list.txt", *FEW, "--json").json["videos"] == 2
    assert hcq("extract", "--from", "-", *FEW, "--json", stdin="\0".join(names)).json["extracted"] == 1
    assert hcq("extract", f"{clips}/clip[0-3].mp4", *FEW, "--json").json["extracted"] == 1


def test_files_with_the_same_name_keep_apart(hcq, tmp_path: Path) -> None:
    for seed, place in enumerate(("a", "b")):
        (tmp_path / place).mkdir()
        clip(tmp_path / place / "x.mp4", seed=seed)
    assert hcq("extract", "a/x.mp4", *FEW, "--json").json["extracted"] == 1
    assert hcq("extract", "b/x.mp4", *FEW, "--json").json["extracted"] == 1
    assert hcq("extract", "a/x.mp4", "b/x.mp4", *FEW, "--json").json["skipped"] == 2
    assert set(contents(tmp_path / ".hcq/features")) == {"x.mp4", "b/x.mp4"}


def test_files_with_the_same_bytes_are_decoded_once(hcq, clips: Path, planted, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(clips, videos)
    (videos / "again").mkdir()
    for number in (1, 2):
        shutil.copy(clips / f"clip{number}.mp4", videos / "again" / f"copy{number}.mp4")
    shutil.copy(clips / "clip1.mp4", videos / "third.mp4")
    env = {**planted, "OPENED_LOG": str(tmp_path / "log"), "SLOW_S": "0"}
    run = ("extract", videos, "--experts", "colour,audio", "--decoder", "planted:Slow", "--json")
    done = hcq(*run, "--workers", "2", env=env).json
    assert (done["videos"], done["extracted"], done["duplicates"], done["skipped"]) == (9, 6, 3, 0)
    assert len((tmp_path / "log").read_text().split()) == 6
    assert all(sum(states.values()) == 9 for states in done["states"].values())
    found = contents(tmp_path / ".hcq/features")
    assert found["third.mp4"] == found["again/copy1.mp4"] == found["clip1.mp4"] != found["clip2.mp4"]
    assert found["again/copy2.mp4"] == found["clip2.mp4"]
    shown = hcq("features", "show", "again/copy1.mp4", "--json").json
    assert shown["path"] == str(videos / "again" / "copy1.mp4") and shown["decoder"] == "slow"
    assert shown["duration_s"] == hcq("features", "show", "clip1.mp4", "--json").json["duration_s"] > 0
    again = hcq(*run, env=env).json
    assert (again["extracted"], again["duplicates"], again["skipped"]) == (0, 0, 9)
    assert len((tmp_path / "log").read_text().split()) == 6


def test_a_copy_that_comes_later_is_not_decoded(hcq, clips: Path, planted, tmp_path: Path) -> None:
    """The features of another expert, or of another sampling, are another matter."""
    hcq("extract", clips / "clip0.mp4", clips / "clip1.mp4", "--experts", "audio")
    shutil.copy(clips / "clip0.mp4", tmp_path / "later.mp4")
    planned = hcq("extract", "later.mp4", "--experts", "audio", "--dry-run", "--json").json
    assert planned["duplicates"] == [str(tmp_path / "later.mp4")] and planned["todo"] == []
    assert "copy " in hcq("extract", "later.mp4", "--experts", "audio", "--dry-run").out
    people = hcq("extract", "later.mp4", "--experts", "audio").out
    assert "0 extracted, 1 with the same bytes as another, 0 skipped" in people
    sampled = hcq("extract", "later.mp4", "--experts", "audio", "--max-seconds", "0.5", "--json").json
    assert (sampled["extracted"], sampled["duplicates"]) == (1, 0)
    both = hcq("extract", clips / "clip0.mp4", "later.mp4", "--experts", "audio,colour", "--json", env=planted).json
    assert (both["extracted"], both["duplicates"]) == (1, 1)
    found = contents(tmp_path / ".hcq/features")
    assert found["later.mp4"] == found["clip0.mp4"] and set(found["later.mp4"]) == {"audio", "colour"}


def test_a_copy_of_a_broken_file_fails_with_its_reason(hcq, tmp_path: Path, planted) -> None:
    clip(tmp_path / "good.mp4")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("no video " * 99)
    env = {**planted, "OPENED_LOG": str(tmp_path / "log"), "SLOW_S": "0"}
    run = ("extract", "a.mp4", "b.mp4", "good.mp4", *FEW, "--decoder", "planted:Slow", "--json")
    first = hcq(*run, env=env, code=3).json
    assert [Path(item["path"]).name for item in first["failed"]] == ["a.mp4", "b.mp4"]
    assert len({item["error"] for item in first["failed"]}) == 1 and "Invalid data" in first["failed"][0]["error"]
    assert sorted((tmp_path / "log").read_text().split()) == ["a.mp4", "good.mp4"]
    again = hcq(*run, env=env, code=3).json
    assert again["failed"] == first["failed"] and len((tmp_path / "log").read_text().split()) == 2
    retried = hcq(*run, "--retry-failed", env=env, code=3).json
    assert len(retried["failed"]) == 2 and (tmp_path / "log").read_text().split()[2:] == ["a.mp4"]
    lines = [json.loads(line) for line in (tmp_path / ".hcq/features/failures.jsonl").read_text().splitlines()]
    assert {Path(line["path"]).name for line in lines} == {"a.mp4", "b.mp4"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 10, "empty"),
        (["nowhere"], 10, "no such file or folder"),
        (["."], 10, "no videos in this folder"),
        (["CLIPS", "--experts", "nose"], 2, "appearance"),
        (["CLIPS", "--preset", "fancy"], 2, "classic"),
        (["CLIPS", "--decoder", "magic"], 2, "pyav"),
        (["--from", "missing.txt"], 10, "missing.txt"),
    ],
)
def test_mistakes_are_told(hcq, clips: Path, arguments: list[str], code: int, words: str) -> None:
    done = hcq("extract", *(str(clips) if a == "CLIPS" else a for a in arguments), code=code)
    assert words in done.err and "Traceback" not in done.err


def test_a_missing_file_beside_others_is_a_failure_not_the_end(hcq, clips: Path) -> None:
    done = hcq("extract", clips / "clip0.mp4", "nowhere.mp4", *FEW, "--json", code=3).json
    assert done["extracted"] == 1 and done["failed"] == [{"path": "nowhere.mp4", "error": "no such file or folder"}]


def test_dry_run_leaves_nothing(hcq, clips: Path, tmp_path: Path) -> None:
    done = hcq("extract", clips, "--dry-run")
    assert "6 to extract" in done.out and not (tmp_path / ".hcq").exists()


def test_known_broken_files_are_told_again_without_decoding(hcq, tmp_path: Path, planted: dict[str, str]) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "bad.mp4").write_text("no video " * 99)
    clip(tmp_path / "v" / "good.mp4")
    env = {**planted, "OPENED_LOG": str(tmp_path / "log"), "SLOW_S": "0"}
    run = ("extract", "v", *FEW, "--decoder", "planted:Slow", "--json")
    first = hcq(*run, env=env, code=3).json
    assert sorted((tmp_path / "log").read_text().split()) == ["bad.mp4", "good.mp4"]
    again = hcq(*run, env=env, code=3).json
    assert again["failed"] == first["failed"] and again["skipped"] == 1
    assert len((tmp_path / "log").read_text().split()) == 2
    hcq(*run, "--retry-failed", env=env, code=3)
    assert (tmp_path / "log").read_text().split()[2:] == ["bad.mp4"]
    clip(tmp_path / "v" / "bad.mp4", seed=1)  # not the bytes of good.mp4: a copy would not be decoded
    mended = hcq(*run, env=env).json
    assert mended["extracted"] == 1 and mended["failed"] == []


def test_an_expert_that_breaks_costs_only_its_own_features(hcq, tmp_path: Path, planted: dict[str, str]) -> None:
    clip(tmp_path / "a.mp4")
    run = ("extract", "a.mp4", "--experts", "fragile,colour,audio", "--json")
    done = hcq(*run, env=planted).json
    assert done["extracted"] == 1 and done["states"]["fragile"]["failed"] == 1
    assert done["states"]["colour"]["tokens"] == done["states"]["audio"]["tokens"] == 1
    (warning,) = done["warnings"]
    assert warning["expert"] == "fragile" and "too wide for me" in warning["message"]
    assert hcq(*run, env=planted).json["skipped"] == 1
    mended = hcq(*run, "--retry-failed", env={**planted, "FRAGILE": "no"}).json
    assert mended["extracted"] == 1 and mended["states"]["fragile"]["tokens"] == 1
    alone = hcq("extract", "a.mp4", "--experts", "fragile", "-o", "other", "--json", env=planted, code=3).json
    assert "too wide for me" in alone["failed"][0]["error"]


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_either_decoder(hcq, clips: Path, decoder: str) -> None:
    pytest.importorskip(decoder if decoder == "decord" else "av")
    done = hcq("extract", clips, *FEW, "--decoder", decoder, "--json").json
    assert done["decoders"] == {decoder: 6} and done["states"]["appearance"]["tokens"] == 6


def test_what_decord_cannot_open_goes_to_pyav(hcq, shared: Path) -> None:
    pytest.importorskip("decord")
    av1 = shared / "videos" / "edge" / "torchcodec__av1_video.mkv"
    assert hcq("extract", av1, *FEW, "--decoder", "decord", "--json").json["decoders"] == {"pyav": 1}


def make_odd(folder: Path) -> dict[str, str]:
    """Odd files; gives a part of the reason of each that must fail."""
    folder.mkdir()
    (folder / "zero.mp4").touch()
    (folder / "text.mp4").write_text("This is no video.\n" * 100)
    clip(folder / "audio only.mkv").unlink()
    film(folder / "audio only.mkv", sound=tone(2.0))
    film(folder / "one frame.mp4", [0.0])
    film(folder / "variable.mkv", [0, 0.1, 0.15, 1.2, 1.3, 3.0])
    film(folder / "late.ts", 5 + np.arange(20) / 10, sound=tone(2.0), sound_codec="mp2", sound_at_s=5.0)
    film(folder / "no duration.webm", np.arange(20) / 10, codec="libvpx", container_options={"live": "1"})
    black = [np.zeros((96, 160, 3), np.uint8)] * 30
    film(folder / "black.mp4", np.arange(30) / 10, black, np.zeros(48_000, np.float32), sound_codec="aac")
    clip(folder / '-it\'s "new"\nline 😀.mp4')
    clip(Path(folder / os.fsdecode(b"bytes\xff\xfe.mp4")), seed=1)
    whole = clip(folder / "cut late.mkv", seconds=4).read_bytes()
    (folder / "cut late.mkv").write_bytes(whole[: len(whole) // 2])
    whole = clip(folder / "cut header.mp4").read_bytes()
    (folder / "cut header.mp4").write_bytes(whole[: len(whole) // 2])  # the index was at the end
    (folder / "link.mp4").symlink_to("nowhere.mp4")
    clip(folder / "unreadable.mp4").chmod(0)
    os.mkfifo(folder / "pipe.mp4")
    return {
        "zero.mp4": "empty",
        "text.mp4": "Invalid data",
        "cut header.mp4": "Invalid data",
        "link.mp4": "broken symbolic link",
        "unreadable.mp4": "permission denied",
        "pipe.mp4": "not a regular file",
    }


def without_the_powers_of_root() -> None:
    """Root reads files that nobody may read, but not without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    for power in (1, 2):
        ctypes.CDLL(None).prctl(24, power, 0, 0, 0)  # PR_CAPBSET_DROP


def test_odd_files(hcq, tmp_path: Path) -> None:
    reasons = make_odd(tmp_path / "odd")
    run = [sys.executable, "-m", "hcq_cli", "extract", "odd"]
    ended = subprocess.run(
        [*run, "--json"], cwd=tmp_path, preexec_fn=without_the_powers_of_root, capture_output=True, timeout=300
    )
    assert ended.returncode == 3, ended.stderr
    done = json.loads(ended.stdout)
    failed = {os.path.basename(item["path"]): item["error"] for item in done["failed"]}
    assert set(failed) == set(reasons) and len(done["failed"]) == len(failed)
    assert all(failed[name] and part in failed[name] for name, part in reasons.items()), failed
    found = contents(tmp_path / ".hcq/features")
    assert done["extracted"] == len(found) == 9
    states = {id: {name: one[0] for name, one in experts.items()} for id, experts in found.items()}
    assert states["audio only.mkv"] == {
        "appearance": "no_stream",
        "motion": "no_stream",
        "audio": "tokens",
        "face": "no_stream",
    }
    assert states["black.mp4"]["audio"] == "silent" and states["black.mp4"]["appearance"] == "tokens"
    assert states["one frame.mp4"]["appearance"] == "tokens" and states["one frame.mp4"]["audio"] == "no_stream"
    assert any("cut late" in w["path"] and "could be decoded" in w["message"] for w in done["warnings"])
    (tmp_path / "odd" / "unreadable.mp4").unlink()
    people = hcq("extract", "odd", code=3)
    assert people.out.count("text.mp4") == 1 and "5 failed" in people.out


def test_edge_files(hcq, shared: Path, tmp_path: Path) -> None:
    done = hcq("extract", shared / "videos" / "edge", "--experts", "appearance", "--max-seconds", "8", "--json").json
    assert (done["extracted"], done["failed"]) == (11, [])
    (warning,) = [w for w in done["warnings"] if "corrupted" in w["path"]][:1]
    assert "2.8 s" in warning["message"]
    assert done["states"]["appearance"]["no_stream"] == 1


@pytest.mark.slow
def test_the_real_clips(hcq, shared: Path, tmp_path: Path) -> None:
    clips = real_clips(shared)
    report = hcq("extract", "--from", "-", "--json", stdin="\n".join(clips), timeout=600).json
    assert (report["videos"], report["extracted"], report["failed"]) == (56, 56, [])
    found = contents(tmp_path / ".hcq/features")
    with_face = set()
    for row in clips.values():
        states = {name: one[0] for name, one in found[row["file"]].items()}
        assert states["appearance"] == states["motion"] == "tokens"
        assert (states["audio"] == "no_stream") == (row["audio"] == "no")
        if states["face"] == "tokens":
            with_face.add(row["file"])
    marked = {row["file"] for row in clips.values() if row["faces"] == "yes"}
    assert len(with_face & marked) >= 15 and len(with_face - marked) <= 5
