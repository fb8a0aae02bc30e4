"""Newer rows override older ones, and features of two identities are not mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_samples import DIMS, same, video, write_in_turn

from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter


def todo(writer: FeatureWriter, id: str, content: str = "c0", **versions: str) -> set[str]:
    wanted = {expert: f"{expert}|{version}|||" for expert, version in versions.items()}
    return writer.todo(id, content, wanted)


@pytest.mark.parametrize("fold_each", [False, True])
def test_overrides(tmp_path: Path, fold_each: bool) -> None:
    def put(one: VideoFeatures) -> None:
        write_in_turn(tmp_path, one)
        if fold_each:
            with FeatureWriter(tmp_path) as writer:
                writer.compact()

    put(video("a"))
    put(video("b", ["motion"]))
    put(video("b", ["face"]))
    with FeatureWriter(tmp_path) as writer:
        assert todo(writer, "a", appearance="1", motion="1", face="1") == set()
        assert todo(writer, "a", appearance="2", motion="1") == {"appearance"}
        assert todo(writer, "b", appearance="1", motion="1", face="1") == {"appearance"}
        assert todo(writer, "a", content="c1", motion="1", face="1") == {"motion", "face"}
        assert todo(writer, "new", motion="1") == {"motion"}
    same(FeatureStore.open(tmp_path), video("b", ["face", "motion"]))
    put(video("a", ["appearance"], version="2"))
    store = FeatureStore.open(tmp_path)
    assert store.row("a") == 0 and set(store.video(0).results) == set(DIMS)
    assert store.video(0).results["appearance"].identity == "appearance|2|||"
    put(video("a", ["motion"], content="c1"))  # another file under the same name: the rest is void
    store = FeatureStore.open(tmp_path)
    same(store, video("a", ["motion"], content="c1"))
    assert set(store.video(store.row("a")).results) == {"motion"}
    assert store.experts.keys() == {"motion", "face"} and len(store) == 2


def test_features_of_two_identities_are_not_mixed(tmp_path: Path) -> None:
    wider = {**DIMS, "appearance": 9}
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos(video(f"v{at}") for at in range(5))
        writer.add_videos(video(f"v{at}", ["appearance"], version="2", dims=wider) for at in range(2))
        assert todo(writer, "v0", appearance="2", motion="1") == set()
        assert todo(writer, "v0", appearance="1") == todo(writer, "v4", appearance="2") == {"appearance"}
        store = FeatureStore.open(tmp_path)
        assert (store.experts["appearance"].dim, store.experts["appearance"].left_out) == (6, 2)
        assert "appearance" not in store.video(0).results and len(store.warnings) == 1
        writer.add_videos(video(f"v{at}", ["appearance"], version="2", dims=wider) for at in range(2, 5))
    store = FeatureStore.open(tmp_path)
    assert store.experts["appearance"].dim == 9 and store.experts["appearance"].version == "2" and not store.warnings
    for at in range(5):
        same(store, video(f"v{at}", ["appearance"], version="2", dims=wider))
