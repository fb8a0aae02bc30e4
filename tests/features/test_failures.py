"""Files that gave nothing, and hashes of files that are not finished, are remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from feature_samples import video

from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFacts
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter


def test_hashes_and_failures_are_remembered(tmp_path: Path) -> None:
    path = "/videos/bad\udcff 'x'.mp4"
    bad = VideoFacts("", path, "h", 10, 20)
    with FeatureWriter(tmp_path) as writer:
        writer.hashes.put(bad)
        writer.failures.put(bad, "no frames")
        writer.failures.put(VideoFacts("", "/gone"), "broken")
        writer.failures.drop("/gone")
        assert writer.known_hash(bad) == "h" and writer.known_hash(replace(bad, mtime_ns=21)) is None
    with (tmp_path / "failures.jsonl").open("ab") as torn:
        torn.write(b'{"path": "/half')
    with FeatureWriter(tmp_path) as writer:
        assert writer.known_hash(bad) == "h"
        found = writer.failures.about(bad)
        assert (
            found is not None and found.error == "no frames" and writer.failures.about(replace(bad, size=11)) is None
        )
        writer.failures.put(VideoFacts("", "/third"), "broken")
        write_incoming(tmp_path, video("a", path=path))
        writer.compact()
        assert writer.known_hash(replace(bad, size=101, mtime_ns=12345)) == "c0"
    assert [failure.path for failure in FeatureStore.open(tmp_path).failures()] == [path, "/third"]
    assert (tmp_path / "hashes.jsonl").read_text() == ""
