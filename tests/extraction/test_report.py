"""What an extraction counts, video by video."""

from __future__ import annotations

from pathlib import Path

from hcq_cli.extraction.executor import Outcome, VideoWarning
from hcq_cli.extraction.plan import Settled, Status
from hcq_cli.extraction.report import ExtractReport
from hcq_cli.features.records import VideoFacts
from hcq_cli.media.inputs import FailedFile, Inputs, InputVideo


def test_every_video_is_counted_once_and_failures_decide_the_exit_code() -> None:
    found = Inputs([InputVideo(name, f"/{name}") for name in "abcd"], [FailedFile("/e", "permission denied")])
    report = ExtractReport.begin(found)
    assert (report.videos, report.done, report.exit_code) == (5, 1, 3)
    facts = {name: VideoFacts(name, f"/{name}", "", 1, 0) for name in "abcd"}
    decoded = Outcome(warnings=[VideoWarning("odd", "audio")], decoder="pyav", duration_s=2.0, packets=9, frames=5)
    report.count(Settled(Status.EXTRACTED, facts["a"], decoded))
    report.count(Settled(Status.FINISHED, facts["b"]))
    report.count(Settled(Status.COPIED, facts["c"]))
    report.count(Settled(Status.FAILED, facts["d"], Outcome(error="no frame", packets=1), known=True))
    assert (report.done, report.extracted, report.skipped, report.duplicates) == (5, 1, 1, 1)
    assert report.failed == [FailedFile("/e", "permission denied"), FailedFile("/d", "no frame", known=True)]
    assert (report.decoders, report.media_s, report.packets, report.frames) == ({"pyav": 1}, 2.0, 10, 5)
    assert report.warnings == [VideoWarning("odd", "audio", "/a")]
    report.warn_of_store(Path("/store"), ["set aside"])
    assert report.warnings[-1] == VideoWarning("set aside", path="/store")


def test_a_run_without_failures_ends_well() -> None:
    assert ExtractReport.begin(Inputs([InputVideo("a", "/a")])).exit_code == 0
