"""Files that were harmed, by the score and by the thousand: the run ends, the others are untouched, nothing is left.

A find is made again from its number: `mutants(…)` of tests/support/damaged_videos.py depends on the seed alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_videos import mutants
from sample_videos import clip, film, tone
from store_contents import contents
from watched_extraction import extract_watched

EXPERTS = "colour,audio"
DEADLINE_S = 60
MOST_HANDLES = 40
"""Open files of one worker: a file, its pipes and the libraries' own; the same after a thousand videos."""


def last_s(times: bytes) -> float:
    return float(np.frombuffer(times, np.float32).max(initial=0.0))


def check(
    sources: list[Path], count: int, decoder: str, tmp_path: Path, env: dict[str, str], timeout_s: float
) -> str:
    """Extract `count` mutants among the unharmed sources; gives figures for people."""
    videos = tmp_path / "videos"
    videos.mkdir()
    made = mutants(sources, videos, count, seed=7)
    for source in sources:
        (videos / source.name).write_bytes(source.read_bytes())
    options = ["--experts", EXPERTS, "--decoder", decoder, "--timeout-s", str(DEADLINE_S)]
    clean, store = tmp_path / "clean", tmp_path / "store"
    names = [str(source) for source in sources]
    quiet = subprocess.run(
        [sys.executable, "-m", "hcq_cli", "extract", *names, *options, "-o", str(clean)],
        env={**os.environ, **env},
        capture_output=True,
    )
    assert quiet.returncode == 0, quiet.stderr
    ended = extract_watched(["videos", *options, "-o", str(store)], tmp_path, env, timeout_s)
    report = ended.report
    assert ended.code == 3 and "Traceback" not in ended.errors
    kept = report["extracted"] + report["duplicates"]  # zeros over zeros are no harm
    assert report["videos"] == kept + len(report["failed"]) == count + len(sources)
    failed = {Path(item["path"]).name: item["error"] for item in report["failed"]}
    assert failed and all(failed.values()) and not any("longer than" in error for error in failed.values()), failed
    found, unharmed = contents(store), contents(clean)
    assert {id: found[id] for id in unharmed} == unharmed
    told = {Path(warning["path"]).name for warning in report["warnings"]}
    short = check_what_is_left(made, found, unharmed, told)
    assert not [path for path in store.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]
    # Not the command itself: it reads the finished videos when it puts them into shards, many at a time.
    most = max(count for process, count in ended.most_handles.items() if process != ended.parent)
    assert most <= MOST_HANDLES, ended.most_handles
    whole, lost = (Counter(made[id][0] for id in ids if id in made) for ids in (found, failed))
    reasons = Counter(error.split(";")[0][:60] for error in failed.values()).most_common(8)
    return json.dumps(
        {
            "decoder": decoder,
            "mutants": count,
            "seconds": round(ended.seconds, 1),
            "kept": whole,
            "failed": lost,
            "kept_in_part": short,
            "warned": len(told),
            "decoders": report["decoders"],
            "most_open_files": most,
            "worker_processes": len(ended.most_handles) - 1,
            "reasons": reasons,
        }
    )


def check_what_is_left(
    made: dict[str, tuple[str, Path]], found: dict[str, Any], unharmed: dict[str, Any], told: set[str]
) -> int:
    """A wrong name changes nothing; of what ends early, somebody is told. Gives how many ended early."""
    short = 0
    for name, (kind, source) in made.items():
        whole = unharmed[source.name]
        if kind == "name":
            assert found[name] == whole, name
        elif name in found and found[name]["colour"][0] != "no_stream":  # a flip may make a sound track of a picture
            ends_s, ended_s = last_s(found[name]["colour"][2]), last_s(whole["colour"][2])
            if ends_s < ended_s - 2.0:  # a second is not worth a word, and the frames are half a second apart
                short += 1
                # A program or transport stream does not know how long it was before it was cut.
                assert name in told or (kind == "cut" and source.suffix in (".mpg", ".ts")), (name, ends_s, ended_s)
    return short


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    times = np.arange(40) / 10
    sound = tone(4.0, 48_000)
    return [
        clip(folder / "one.mp4", seconds=4.0, seed=1),
        clip(folder / "two.mkv", seconds=4.0, seed=2),
        film(folder / "three.avi", times, sound=sound, hz=48_000, codec="mpeg4", sound_codec="libmp3lame", ticks=10),
        film(folder / "four.ts", times, sound=sound, hz=48_000, sound_codec="mp2", options={"g": "10"}),
    ]


@pytest.mark.long
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_score_of_harmed_files(sources: list[Path], decoder: str, tmp_path: Path, planted: dict[str, str]) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    check(sources, 20, decoder, tmp_path, {**planted, "HCQ_EXTRACT_WORKERS": "1"}, timeout_s=240)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_thousand_harmed_files(shared: Path, decoder: str, tmp_path: Path, planted: dict[str, str]) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    clips = sorted(path for path in (shared / "videos").iterdir() if path.suffix in (".mp4", ".mkv", ".avi", ".mpg"))
    print(check(clips, 1000, decoder, tmp_path, planted, timeout_s=3600))
