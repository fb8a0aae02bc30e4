"""Captions and features come together: what is left out, and which videos are the same one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_dataset import caption, video, write_captions, write_store

from hcq_cli.datasets.captions import read_captions
from hcq_cli.datasets.dataset import Dataset, load_dataset
from hcq_cli.datasets.splits import Split
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore


def collected(place: Path) -> Dataset:
    return load_dataset(FeatureStore.open(place / "features"), read_captions(place / "captions.jsonl"))


def test_captions_of_nothing(tmp_path: Path) -> None:
    write_store(tmp_path / "features", [video(0)])
    write_captions(tmp_path / "captions.jsonl", range(5, 8))
    with pytest.raises(HcqError, match="of 3 videos in it none has features"):
        collected(tmp_path)


def test_one_video_without_features(tmp_path: Path) -> None:
    write_store(tmp_path / "features", [video(0)])
    write_captions(tmp_path / "captions.jsonl", range(5, 6))
    with pytest.raises(HcqError, match="of 1 video in it none has features"):
        collected(tmp_path)


def test_a_video_without_tokens_is_named_with_what_tells_why(tmp_path: Path) -> None:
    write_store(tmp_path / "features", [video(0), video(1, absent=("appearance", "audio"))])
    write_captions(tmp_path / "captions.jsonl", range(2))
    (warning,) = collected(tmp_path).warnings
    said = "1 captioned video without tokens of any expert left out (hcq features show ID says why), the first"
    assert warning == f"{said} 'v001.mp4'"


def test_copies_share_a_group(tmp_path: Path) -> None:
    write_store(tmp_path / "features", [video(0), video(1, content="f" * 64), video(2, content="f" * 64)])
    write_captions(tmp_path / "captions.jsonl", range(3))
    train = collected(tmp_path).splits["train"]
    groups = dict(zip(train.rows.tolist(), train.groups.tolist(), strict=True))
    store = FeatureStore.open(tmp_path / "features")
    a, b, c = (groups[store.row(f"v00{n}.mp4")] for n in range(3))
    assert a != b == c


def test_splits_know_their_captions() -> None:
    part = Split(np.array([4, 9]), [[caption(0)], [caption(1), caption(2)]], np.array([0, 1]))
    assert part.owner.tolist() == [0, 1, 1] and len(part.sentences) == 3
    assert part.sentences[2] == caption(2)
