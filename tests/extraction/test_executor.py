"""What travels between an extraction and whatever runs it; and an extraction that something else runs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from experts.base import Tokens
from hcq_cli.extraction import executor
from hcq_cli.extraction.executor import Job, Outcome, VideoWarning, hash_file
from hcq_cli.extraction.pipeline import ExtractedVideo
from hcq_cli.features.records import VideoFacts


def test_a_job_survives_the_way_whatever_its_file_is_called() -> None:
    name = os.fsdecode(b"caf\xe9\n.mp4")
    job = Job(VideoFacts(name, f"/videos/{name}", "ab" * 32, 7, 2**60 + 1), {"audio": "audio|1||"})
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job and not job.only_hash


def test_an_outcome_leaves_the_features_behind() -> None:
    tokens = {"audio": Tokens(np.ones((1, 2), np.float32), np.zeros(1, np.float32))}
    warnings = [VideoWarning("late"), VideoWarning("deaf", "audio")]
    found = ExtractedVideo(warnings=warnings, decoder="pyav", duration_s=2.5, frames=9, tokens=tokens)
    told = Outcome.from_json(json.loads(json.dumps(found.to_json())))
    assert told == Outcome(warnings=warnings, decoder="pyav", duration_s=2.5, frames=9)
    assert [str(warning) for warning in told.warnings] == ["late", "audio: deaf"]


def test_a_job_without_a_hash_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"some bytes")
    job = Job(VideoFacts("a.mp4", str(path), content_hash="", size=10, mtime_ns=0))
    assert job.only_hash and hash_file(job) == Outcome(content_hash=hashlib.sha256(b"some bytes").hexdigest())
    path.unlink()
    gone = hash_file(job)
    assert gone.error == "No such file or directory" and not gone.lasting


def test_how_far_the_reading_of_a_large_file_is_is_told_and_one_that_grows_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told = tmp_path / "holes.mp4", list[str]()
    with path.open("wb") as file:
        file.truncate(3 << 24)
    monkeypatch.setattr(executor, "TOLD_BYTES", 2 << 24)
    job = Job(VideoFacts("a", str(path), size=3 << 24))
    assert hash_file(job, told.append).content_hash == hashlib.sha256(bytes(3 << 24)).hexdigest()
    assert told == ["reading 0.0 of 0.1 GB  holes.mp4", "reading 0.1 of 0.1 GB  holes.mp4"]
    changed = hash_file(Job(VideoFacts("a", str(path), size=1 << 24)))
    assert changed.error == "it was changed while it was being read" and not changed.lasting
