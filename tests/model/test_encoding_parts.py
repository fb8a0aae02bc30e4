"""Codes made in parts by several runs are the file that one run makes, bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from feature_samples import video
from small_models import EXPERTS, model

from hcq_cli.datasets.segments import Cutting
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.model import encoding_parts
from hcq_cli.model.encoding import encode_store
from hcq_cli.model.encoding_parts import CodeParts
from hcq_cli.shares import Share

VIDEOS = 150
CUT = Cutting(2.0, shots=False)
"""So short that most videos have segments, too."""


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    dims = {name: expert.dim for name, expert in EXPERTS.items()}
    with FeatureWriter(tmp_path / "features") as writer:
        videos = (video(f"v{number}.mp4", list(dims), dims=dims) for number in range(VIDEOS))
        writer.add_videos(replace(each, duration_s=20.0) for each in videos)
    return FeatureStore.open(tmp_path / "features")


def test_parts_of_any_runs_in_any_order_are_the_whole(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding_parts, "PART_VIDEOS", 64)
    trained, codes, removed = model(), tmp_path / "codes.hcq", {"v7.mp4"}
    expected = encode_store(trained, store, codes, cutting=CUT, without=removed)
    whole = codes.read_bytes()
    assert expected.rows > expected.items
    for order in ([1, 2, 3], [3, 1, 2, 3], [2]):  # one twice; two that never came
        codes.unlink()
        told: list[int] = []
        for number in order:
            CodeParts(trained, store, codes, CUT, removed).encode_share(Share(number, 3), told.append)
        assert not codes.exists()
        parts = CodeParts(trained, store, codes, CUT, removed)
        assert len(parts) == 3 and parts.there_are_any() and len(list(parts.folder.glob("*.hcq"))) == len(set(order))
        joined = parts.join()
        assert codes.read_bytes() == whole and not parts.folder.exists()
        for name in ("items", "rows", "without_features", "warnings", "hours", "model"):
            assert getattr(joined, name) == getattr(expected, name), name


def test_parts_of_other_features_are_not_taken(store: FeatureStore, tmp_path: Path) -> None:
    trained, codes = model(), tmp_path / "codes.hcq"
    CodeParts(trained, store, codes).encode_share(Share(1, 1))
    assert CodeParts(trained, store, codes).there_are_any()
    assert not CodeParts(trained, store, codes, CUT).there_are_any()
    assert not CodeParts(trained, store, codes, without={"v1.mp4"}).there_are_any()
    trained.hash = "of another model"
    assert not CodeParts(trained, store, codes).there_are_any()


def test_a_damaged_part_is_made_again(store: FeatureStore, tmp_path: Path) -> None:
    trained, codes = model(), tmp_path / "codes.hcq"
    encode_store(trained, store, codes)
    whole = codes.read_bytes()
    parts = CodeParts(trained, store, codes)
    parts.encode_share(Share(1, 1))
    (part,) = parts.folder.glob("*.hcq")
    part.write_bytes(part.read_bytes()[:-100])
    parts.join()
    assert codes.read_bytes() == whole
