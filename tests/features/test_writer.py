"""What is still to do is said right, and a moved file is no other file."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_samples import same, video, write_in_turn

from experts.base import State, Tokens
from hcq_cli.features.records import VideoFacts, VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter


def test_failed_experts_and_states(tmp_path: Path) -> None:
    broken = Tokens.none(3, State.FAILED)
    write_in_turn(
        tmp_path, VideoFeatures("a", "/a", "c", 1, 2, 0.0, "", [], {"motion": broken}, {"motion": "motion|1|||"})
    )
    with FeatureWriter(tmp_path) as writer:
        wanted = {"motion": "motion|1|||"}
        assert writer.todo("a", "c", wanted) == set()
        assert writer.todo("a", "c", wanted, retry_failed=True) == {"motion"}
    assert FeatureStore.open(tmp_path).states()["motion"]["failed"] == 1


@pytest.mark.parametrize("folded", [False, True])
def test_moved_videos_only_change_their_path(tmp_path: Path, folded: bool) -> None:
    write_in_turn(tmp_path / "s", video("a"))
    moved = tmp_path / "elsewhere.mp4"
    moved.write_bytes(b"12345")
    with FeatureWriter(tmp_path / "s") as writer:
        if folded:
            writer.compact()
        writer.set_path("a", str(moved))
    same(FeatureStore.open(tmp_path / "s"), video("a", path=str(moved)))
    with FeatureWriter(tmp_path / "s") as writer:
        assert writer.known_hash(VideoFacts("", str(moved), size=5, mtime_ns=moved.stat().st_mtime_ns)) == "c0"
        assert writer.known_hash(VideoFacts("", "/videos/a", size=101, mtime_ns=12345)) is None


def test_a_removed_video_is_gone_and_the_others_are_as_they_were(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([video("a"), video("b"), video("c")])
        writer.add_videos([video("b", path="/moved/b")])  # b lies in two shards
        write_in_turn(tmp_path, video("d"))
        assert writer.remove(["b", "d", "never there"]) == 2
        assert list(writer.store.ids) == ["a", "c"]
    for kept in (video("a"), video("c")):
        same(FeatureStore.open(tmp_path), kept)
    with FeatureWriter(tmp_path) as writer:
        assert writer.remove(["a", "c"]) == 2
    assert len(FeatureStore.open(tmp_path)) == 0
