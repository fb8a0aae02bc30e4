"""The extraction, whatever runs its jobs: each video once, each in the report, at most so many jobs at a time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import av
import pytest
from sample_videos import clip
from serial_executor import SerialExecutor
from store_contents import contents

from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.extraction.executor import Job, Outcome, Status, VideoWarning
from hcq_cli.extraction.extract import extract
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.report import ExtractReport
from hcq_cli.features.records import VideoFacts
from hcq_cli.media.inputs import FailedFile, find_inputs

NAMES = ["appearance", "audio"]


@pytest.fixture
def videos(clips: Path, tmp_path: Path) -> Path:
    """Six clips, a copy of one of them, and an empty file."""
    folder = tmp_path / "videos"
    shutil.copytree(clips, folder)
    shutil.copy(folder / "clip1.mp4", folder / "copy.mp4")
    (folder / "empty.mp4").touch()
    return folder


def run(videos: Path, store: Path, **options) -> tuple[ExtractReport, SerialExecutor]:
    asked = ExtractionOptions(store, **options)
    experts = load_experts(NAMES, asked.sample_fps)
    for expert in experts:
        expert.prepare("cpu")
    executor = SerialExecutor(experts, asked)
    return extract(find_inputs([str(videos)]), NAMES, asked, executor=executor), executor


def test_another_executor_gives_the_same_store_as_the_pool_of_workers(videos: Path, tmp_path: Path) -> None:
    told: list[int] = []
    options = ExtractionOptions(tmp_path / "pool", workers=2)
    pool = extract(find_inputs([str(videos)]), NAMES, options, on_video=lambda report, path: told.append(report.done))
    serial, executor = run(videos, tmp_path / "serial")
    assert contents(tmp_path / "serial") == contents(tmp_path / "pool")
    assert (serial.videos, serial.extracted, serial.duplicates, len(serial.failed)) == (8, 6, 1, 1)
    for name in ("videos", "extracted", "duplicates", "failed", "states", "decoders", "packets", "frames"):
        assert getattr(serial, name) == getattr(pool, name), name
    assert serial.media_s == pytest.approx(pool.media_s)
    assert len(executor.extracted) == len(set(executor.extracted)) == 6
    assert executor.most_jobs == executor.slots
    assert max(told) == 8 and told == sorted(told)


def test_what_is_finished_touched_or_moved_is_not_decoded_again(videos: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(videos, store)
    os.utime(videos / "clip3.mp4")
    (videos / "clip4.mp4").rename(videos / "moved.mp4")
    clip(videos / "clip2.mp4", seconds=1.0, seed=40)
    again, executor = run(videos, store)
    assert executor.extracted == ["clip2.mp4"]
    assert (again.extracted, again.duplicates, again.skipped, len(again.failed)) == (1, 1, 5, 1)


def test_names_that_mean_nothing_are_refused_before_anything_is_made(videos: Path, tmp_path: Path) -> None:
    found = find_inputs([str(videos)])
    with pytest.raises(UsageError, match="hearing"):
        extract(found, ["hearing"], ExtractionOptions(tmp_path / "store"))
    with pytest.raises(UsageError, match="no decoder"):
        extract(found, NAMES, ExtractionOptions(tmp_path / "store", decoder="cinema"))
    with pytest.raises(NotFoundError):
        find_inputs([str(tmp_path / "nowhere")])
    assert not (tmp_path / "store").exists()


def test_a_run_decodes_every_video_once_and_says_so(hcq, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    paths = [clip(videos / f"{seed}.mp4", seconds=1.0 + seed, seed=seed) for seed in range(3)]
    packets = frames = 0
    for path in paths:
        with av.open(str(path)) as container:
            for packet in container.demux(container.streams.video[0], container.streams.audio[0]):
                packets += 1
                frames += len(packet.decode()) if packet.stream.type == "video" else 0
    every = hcq("extract", videos, "--json", "--workers", "1").json
    assert (every["packets"], every["frames"], every["extracted"]) == (packets, frames, 3)


def test_every_video_is_counted_once_and_failures_decide_the_exit_code() -> None:
    report = ExtractReport(videos=5, failed=[FailedFile("/e", "permission denied")])
    assert (report.videos, report.done, report.exit_code) == (5, 1, 3)
    jobs = {name: Job(VideoFacts(name, f"/{name}", "", 1, 0)) for name in "abcd"}
    decoded = Outcome(warnings=[VideoWarning("odd", "audio")], decoder="pyav", duration_s=2.0, packets=9, frames=5)
    report.count(jobs["a"], decoded)
    report.count(jobs["b"], Outcome(status=Status.FINISHED))
    report.count(jobs["c"], Outcome(status=Status.COPIED))
    report.count(jobs["d"], Outcome(error="no frame", known=True, packets=1))
    assert (report.done, report.extracted, report.skipped, report.duplicates) == (5, 1, 1, 1)
    assert report.failed == [FailedFile("/e", "permission denied"), FailedFile("/d", "no frame", known=True)]
    assert (report.decoders, report.media_s, report.packets, report.frames) == ({"pyav": 1}, 2.0, 10, 5)
    assert report.warnings == [VideoWarning("odd", "audio", "/a")]


def test_a_run_without_failures_ends_well() -> None:
    assert ExtractReport(videos=1).exit_code == 0


def test_a_damaged_file_of_the_store_is_told_once(tmp_path: Path) -> None:
    incoming = tmp_path / "store" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / f"{1:020d}-{'0' * 12}.h5").touch()
    (tmp_path / "a.mp4").touch()
    report = extract(find_inputs([str(tmp_path / "a.mp4")]), ["audio"], ExtractionOptions(tmp_path / "store"))
    assert len(report.warnings) == 1 and "set-aside" in report.warnings[0].message
