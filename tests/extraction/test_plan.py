"""What is left to do with a file, by what the store and this run know of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from experts.base import State, Tokens
from hcq_cli.extraction.dry_run import dry_run
from hcq_cli.extraction.executor import Job, Outcome, Status, hash_file
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.plan import ExtractionPlan
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFeatures, identity
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.media.inputs import find_inputs

EXPERTS = load_experts(["audio"])
TEXT = "text, not a video: download it again"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def writer(store: Path) -> Iterator[FeatureWriter]:
    with FeatureWriter(store) as opened:
        yield opened


def planned(writer: FeatureWriter, retry_failed: bool = False) -> ExtractionPlan:
    return ExtractionPlan(writer, EXPERTS, ExtractionOptions(writer.folder, retry_failed=retry_failed))


def file(path: Path, content: bytes) -> tuple[str, str]:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path.name, str(path)


def hashed(judge: ExtractionPlan, video: tuple[str, str]) -> tuple[Job, Outcome | None]:
    """What is to be done with a new file once its hash is known."""
    job, outcome = judge.judge(*video)
    assert outcome is None and job.only_hash
    return judge.settle(job, hash_file(job))


def extracted(writer: FeatureWriter, job: Job) -> None:
    """Write what a worker would."""
    tokens = {
        name: Tokens.none(expert.dim, State.SILENT) for name, expert in zip(job.identities, EXPERTS, strict=True)
    }
    write_incoming(writer.folder, VideoFeatures(**vars(job.facts), tokens=tokens, identities=job.identities))
    writer.compact()


def test_a_new_file_is_hashed_then_extracted_then_finished(writer: FeatureWriter, tmp_path: Path) -> None:
    video = file(tmp_path / "a.mp4", b"one")
    judge = planned(writer)
    job, outcome = hashed(judge, video)
    assert outcome is None and list(job.identities) == ["audio"] and job.facts.id == "a.mp4"
    extracted(writer, job)
    _, done = judge.settle(job, Outcome())
    assert done is not None and done.error is None and done.status is Status.EXTRACTED
    job, again = planned(writer).judge(*video)
    assert again is not None and again.status is Status.FINISHED and job.facts.id == "a.mp4"


def test_a_duplicate_waits_and_is_given_what_the_other_file_has(writer: FeatureWriter, tmp_path: Path) -> None:
    judge = planned(writer)
    first, _ = hashed(judge, file(tmp_path / "a.mp4", b"same"))
    assert hashed(judge, file(tmp_path / "b.mp4", b"same"))[1] == Outcome(status=Status.WAITING)
    extracted(writer, first)
    ((job, copied),) = judge.copy(duplicates=True)
    assert copied == Outcome(status=Status.COPIED) and job.facts.id == "b.mp4" and not judge.duplicates
    assert writer.store.facts_of("b.mp4") is not None


def test_a_lasting_failure_is_remembered_until_the_file_changes(writer: FeatureWriter, tmp_path: Path) -> None:
    video = file(tmp_path / "a.mp4", b"broken")
    judge = planned(writer)
    job, _ = hashed(judge, video)
    assert hashed(judge, file(tmp_path / "b.mp4", b"broken"))[1] == Outcome(status=Status.WAITING)
    _, failed = judge.settle(job, Outcome(error="no frame in it"))
    assert failed is not None and not failed.known
    ((_, other),) = judge.copy(duplicates=True)
    assert other.error == failed.error == f"{TEXT} (no frame in it)"
    _, again = planned(writer).judge(*video)
    assert again is not None and again.error == f"{TEXT} (no frame in it)" and again.known
    assert planned(writer, retry_failed=True).judge(*video)[1] is None
    assert hashed(planned(writer), file(tmp_path / "a.mp4", b"mended"))[1] is None


def test_a_passing_failure_is_not_remembered(writer: FeatureWriter, tmp_path: Path) -> None:
    video = file(tmp_path / "a.mp4", b"fine")
    judge = planned(writer)
    job, _ = hashed(judge, video)
    judge.settle(job, Outcome(error="somebody killed it", lasting=False))
    assert planned(writer).judge(*video)[1] is None


def test_what_is_empty_or_gone_fails_at_once(writer: FeatureWriter, tmp_path: Path) -> None:
    judge = planned(writer)
    assert judge.judge(*file(tmp_path / "a.mp4", b""))[1] == Outcome(error="the file is empty")
    _, gone = judge.judge("b.mp4", str(tmp_path / "b.mp4"))
    assert gone is not None and "No such file" in str(gone.error)


def test_a_clock_that_has_gone_wrong_costs_nothing(writer: FeatureWriter, tmp_path: Path) -> None:
    """A store's 64 bits of nanoseconds end in the year 2262, file systems do not; and some clocks lie before 1970."""
    for name, changed_s in (("late.mp4", 1e10), ("early.mp4", -86_400 * 3650)):
        video = file(tmp_path / name, name.encode())
        os.utime(video[1], (changed_s, changed_s))
        job, _ = hashed(planned(writer), video)
        extracted(writer, job)
        writer.set_path(*video)
        assert planned(writer).judge(*video)[1] == Outcome(status=Status.FINISHED)


def test_another_file_of_the_same_name_gets_a_longer_id(writer: FeatureWriter, tmp_path: Path) -> None:
    judge = planned(writer)
    first, _ = hashed(judge, file(tmp_path / "x" / "a.mp4", b"one"))
    second, _ = hashed(judge, file(tmp_path / "y" / "a.mp4", b"two"))
    assert (first.facts.id, second.facts.id) == ("a.mp4", "y/a.mp4")


def test_a_dry_run_tells_all_of_it_and_makes_nothing(store: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for name, content in (("a.mp4", b"one"), ("b.mp4", b"one"), ("c.mp4", b"")):
        file(videos / name, content)
    found, options = find_inputs([str(videos)]), ExtractionOptions(store)
    assert len(dry_run(found, ["audio"], options).todo) == 3 and not store.exists()
    with FeatureWriter(store) as writer:
        extracted(writer, hashed(planned(writer), file(videos / "d.mp4", b"four"))[0])
    told = dry_run(find_inputs([str(videos)]), ["audio"], options)
    assert [(video.id, video.experts) for video in told.todo] == [("a.mp4", ["audio"])]
    assert told.duplicates == [str(videos / "b.mp4")] and told.finished == ["d.mp4"]
    assert [failed.path for failed in told.failed] == [str(videos / "c.mp4")] and told.videos == 4


def test_a_finished_video_is_passed_in_microseconds(tmp_path: Path) -> None:
    """By whole columns: 100,000 in five seconds, with what else a run does."""
    folder = tmp_path / "videos"
    folder.mkdir()
    experts = load_experts(["appearance", "motion"])
    identities = {each.name: identity(each, {"max_seconds": None}) for each in experts}
    tokens = {each.name: Tokens(np.zeros((1, each.dim), np.float32), np.zeros(1, np.float32)) for each in experts}
    features = []
    for at in range(1000):
        path = folder / f"{at}.mp4"
        path.write_bytes(b"x")
        found = path.stat()
        facts = (path.name, str(path), f"{at:064x}", 1, found.st_mtime_ns, 1.0, "pyav", [])
        features.append(VideoFeatures(*facts, tokens, identities))
    options = ExtractionOptions(tmp_path / "store")
    with FeatureWriter(options.store) as writer:
        writer.add_videos(features)
        plan = ExtractionPlan(writer, experts, options)
        begun = time.process_time()
        ends = [plan.judge(each.id, each.path)[1] for each in features]
        spent_s = time.process_time() - begun
        assert all(end == Outcome(status=Status.FINISHED) for end in ends)
        assert spent_s / len(ends) < 1e-4  # 20 µs on an idle machine
        os.utime(features[7].path, ns=(1, 1))  # touched: found by its hash again
        assert plan.judge(features[7].id, features[7].path)[1] is None
