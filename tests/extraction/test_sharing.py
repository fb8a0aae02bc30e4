"""Several runs extract into one store at once, each its share of the videos: together they give the whole."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command import run_hcq
from sample_videos import clip
from store_contents import shard_digests

from hcq_cli.features.store import FeatureStore

EXPERTS = ["--experts", "appearance,audio"]


@pytest.fixture(scope="module")
def folder(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips, a copy of one, and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    shutil.copytree(clips, folder, dirs_exist_ok=True)
    shutil.copy(folder / "clip1.mp4", folder / "copy.mp4")
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


def extract(hcq, folder: Path, store: str, *more: str) -> dict[str, Any]:
    outcome = hcq("extract", folder, *EXPERTS, "-o", store, "--workers", "1", "--json", *more, code=None)
    assert outcome.code in (0, 3), outcome.err
    return outcome.json


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that one run makes of the same videos."""
    place = tmp_path_factory.mktemp("alone")
    extract(partial(run_hcq, cwd=place), folder, "alone")
    return place / "alone"


def test_shares_in_any_order_put_together_are_the_whole(hcq, folder: Path, alone: Path, tmp_path: Path) -> None:
    for order in itertools.islice(itertools.permutations((1, 2, 3)), 1, 6, 3):
        store = tmp_path / "-".join(map(str, order))
        reports = [extract(hcq, folder, store.name, "--shard", f"{number}/3") for number in order]
        assert sum(report["extracted"] for report in reports) == 6
        assert sum(report["waiting"] for report in reports) == 1
        assert sum(report["videos"] for report in reports) == 8
        assert [each["path"] for report in reports for each in report["failed"]] == [str(folder / "broken.mp4")]
        whole = extract(hcq, folder, store.name)
        assert (whole["extracted"], whole["duplicates"], whole["skipped"]) == (0, 1, 6)
        # Known from the share that tried it: not tried again.
        assert [each["path"] for each in whole["failed"]] == [str(folder / "broken.mp4")]
        assert not list((store / "logs").iterdir()) and not list((store / "incoming").iterdir())
        assert shard_digests(store) == shard_digests(alone)
        assert FeatureStore.open(store).digest == FeatureStore.open(alone).digest


def test_a_share_done_twice_decodes_nothing_and_changes_nothing(hcq, folder: Path, tmp_path: Path) -> None:
    first = extract(hcq, folder, "store", "--shard", "1/2")
    before = {path.name: path.read_bytes() for path in (tmp_path / "store" / "incoming").iterdir()}
    again = extract(hcq, folder, "store", "--shard", "1/2")
    assert first["extracted"] == again["skipped"] > 0 and again["extracted"] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "store" / "incoming").iterdir()} == before


@pytest.mark.long
def test_the_shares_may_run_at_once_beside_the_whole(hcq, folder: Path, alone: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hcq_cli", "extract", str(folder), *EXPERTS, "-o", "store", "--workers", "1"]
    shares = [["--shard", f"{number}/3"] for number in (1, 2, 3)]
    running = [
        subprocess.Popen([*command, *share], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for share in [*shares, *shares, []]  # each twice: a job that was taken for lost
    ]
    for process in running:
        _, err = process.communicate(timeout=600)
        assert process.returncode in (0, 3), err
    extract(hcq, folder, "store")
    assert shard_digests(tmp_path / "store") == shard_digests(alone)


def test_a_failure_is_taken_back_where_the_file_is_better_now(hcq, folder: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(folder / "broken.mp4", videos / "a.mp4")
    assert len(extract(hcq, videos, "store", "--shard", "1/1")["failed"]) == 1
    assert extract(hcq, videos, "store", "--shard", "1/1")["failed"]  # as it was
    clip(videos / "a.mp4", seconds=1.0, seed=3)
    assert extract(hcq, videos, "store", "--shard", "1/1")["extracted"] == 1
    whole = extract(hcq, videos, "store")
    assert (whole["skipped"], whole["failed"]) == (1, [])
    assert (tmp_path / "store" / "failures.jsonl").read_text().strip() == ""


def test_what_is_no_share_is_refused(hcq, folder: Path, tmp_path: Path) -> None:
    assert hcq("extract", folder, "--shard", "4/3", code=2).err
    assert hcq("extract", folder, "--shard", "1/3", "--dry-run", code=2).err
    assert not (tmp_path / ".hcq").exists()
