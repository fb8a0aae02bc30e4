"""Copies and parts planted among strangers that share intros and black pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_duplicates import VARIANTS, Planted, plant

from experts.base import Tokens
from experts.classic.appearance import Appearance
from experts.classic.mirror import in_mirror
from hcq_cli.duplicates.groups import Duplicates, find_duplicates, read_duplicates
from hcq_cli.errors import NotFoundError
from hcq_cli.features.records import VideoFeatures, identity
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter

Run = Callable[..., Any]


def original(id: str) -> str:
    return id.rsplit("-", 1)[-1]


def pairs(found: Duplicates, kind: str) -> set[tuple[str, str]]:
    return {
        (a.id, b.id)
        for group in found.groups
        if group.kind == kind
        for a in group.members
        for b in group.members
        if a.id < b.id
    }


def check(folder: Path, planted: Planted) -> Duplicates:
    """See that copies are found with precision and recall of 0.95, and parts of 0.9."""
    found = find_duplicates(FeatureStore.open(folder))
    copies, parts = pairs(found, "copy"), pairs(found, "part")
    wanted = {tuple(sorted(pair)): kind for pair, kind in planted.copies.items()}
    right = [pair for pair in copies if original(pair[0]) == original(pair[1])]
    assert len(right) >= 0.95 * len(copies)
    assert len(copies & wanted.keys()) >= 0.95 * len(wanted)
    shared = {tuple(sorted(pair)) for pair in planted.parts}
    # A copy of the container has the part as well.
    of_originals = {tuple(sorted(map(original, pair))) for pair in parts}
    assert len(of_originals & shared) >= 0.9 * len(shared)
    extra = [pair for pair in of_originals - shared if pair[0] != pair[1]]
    assert len(extra) <= 0.1 * len(of_originals)
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    folder = tmp_path_factory.mktemp("planted") / "features"
    return folder, plant(folder, strangers=60, planted=4)


def test_copies_and_parts_are_found_and_strangers_are_not(small: tuple[Path, Planted]) -> None:
    found = check(*small)
    every = len(FeatureStore.open(small[0]))
    assert found.videos == every == 60 + 4 * (len(VARIANTS) + 1)


def test_the_stretches_of_a_part_are_where_it_lies(small: tuple[Path, Planted]) -> None:
    groups = [group for group in find_duplicates(FeatureStore.open(small[0])).groups if group.kind == "part"]
    first_part = [
        next(member for member in group.members if member.id.startswith("part"))
        for group in groups
        if any(member.id.startswith("part") for member in group.members)
    ]
    assert first_part
    for member in first_part:
        assert member.start_s is not None and member.end_s is not None
        # Ten seconds of one video from second 8 on, twelve of another from 18 on.
        assert min(abs(member.start_s - 8), abs(member.start_s - 18)) <= 2
        assert 6 <= member.end_s - member.start_s <= 14


@pytest.mark.slow
def test_among_thousands(tmp_path: Path) -> None:
    check(tmp_path / "features", plant(tmp_path / "features", strangers=10_000, planted=50))


def test_files_of_the_same_bytes_are_copies_whatever_they_show(hcq: Run, tmp_path: Path) -> None:
    black = Tokens(np.ones((8, 4), np.float32), np.arange(8, dtype=np.float32) / 2)
    video = VideoFeatures(
        "a.mp4",
        "/v/a.mp4",
        "same",
        1,
        1,
        duration_s=4.0,
        tokens={"appearance": black},
        identities={"appearance": "1"},
    )
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([video, replace(video, id="b.mp4", path="/v/b.mp4")])
    (group,) = find_duplicates(FeatureStore.open(tmp_path)).groups
    assert (group.kind, group.score, [member.id for member in group.members]) == ("copy", 1.0, ["a.mp4", "b.mp4"])
    assert not find_duplicates(FeatureStore.open(tmp_path), without=["b.mp4"]).groups
    assert "2 videos: 1 group of copies, 0 shared parts (" in hcq("dedupe", tmp_path).err


def test_a_mirrored_copy_is_told_by_its_pictures(tmp_path: Path) -> None:
    """Tokens that say so much of left and right alone that nothing else is alike, and no sound."""
    rng, (order, signs) = np.random.default_rng(0), in_mirror()
    with FeatureWriter(tmp_path) as writer:
        for number in range(12):
            # Every picture lasts two seconds, and moves a little.
            walk = rng.normal(size=(10, len(order))).repeat(4, axis=0) + 0.2 * rng.normal(size=(40, len(order)))
            for id, seen in ((f"{number}.mp4", walk), (f"mirrored-{number}.mp4", walk[:, order] * signs)):
                noisy = seen + 0.2 * rng.normal(size=seen.shape)
                tokens = Tokens(noisy.astype(np.float32), np.arange(40, dtype=np.float32) / 2)
                identities = {"appearance": identity(Appearance())}
                features = {"appearance": tokens}
                writer.add_videos([VideoFeatures(id, f"/v/{id}", id, 1, 1, 20.0, "", [], features, identities)])
    found = pairs(find_duplicates(FeatureStore.open(tmp_path)), "copy")
    assert found == {(f"{number}.mp4", f"mirrored-{number}.mp4") for number in range(12)}


def test_without_pictures_there_is_nothing_to_tell_copies_by(kept_features: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no appearance"):
        find_duplicates(FeatureStore.open(kept_features))


@pytest.fixture
def kept_features() -> Path:
    return Path(__file__).parent.parent / "golden" / "workspace" / "features"


def test_the_command_lists_groups_and_deletes_nothing(hcq: Run, small: tuple[Path, Planted]) -> None:
    before = sorted(path.name for path in small[0].rglob("*"))
    document = hcq("dedupe", small[0], "--json").json
    assert set(document) == {"groups", "videos", "compared"}
    assert {group["kind"] for group in document["groups"]} == {"copy", "part"}
    for group in document["groups"]:
        keys = {"id", "path"} if group["kind"] == "copy" else {"id", "path", "start_s", "end_s"}
        assert all(set(member) == keys for member in group["members"]) and len(group["members"]) >= 2
        assert 0.65 <= group["score"] <= 1
    strict = hcq("dedupe", small[0], "--threshold", "0.99", "--json").json
    assert len(strict["groups"]) < len(document["groups"])
    shown = hcq("dedupe", "-w", small[0].parent)  # the workspace's own features: what was found is kept there
    assert read_duplicates(small[0].parent / "duplicates.json") == find_duplicates(FeatureStore.open(small[0]))
    assert "copy" in shown.out and "nothing was deleted" in shown.err
    hcq("dedupe", small[0], "--threshold", "2", code=2)
    assert sorted(path.name for path in small[0].rglob("*")) == before
