"""What a run learns from: experts that say something, and no test video."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_dataset import DIMS, video, write_captions, write_store

from hcq_cli.datasets.captions import read_captions
from hcq_cli.datasets.dataset import load_dataset
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore
from hcq_cli.training.data import TrainingData, training_data


def loaded(place: Path) -> TrainingData:
    store = FeatureStore.open(place / "features")
    return training_data(store, load_dataset(store, read_captions(place / "captions.jsonl")))


def test_an_expert_that_is_silent_in_training_is_left_out_even_if_test_videos_have_it(tmp_path: Path) -> None:
    write_store(tmp_path / "features", [video(0, absent=("audio",)), video(1, absent=("audio",)), video(2)])
    train = write_captions(tmp_path / "train", range(2), "train").read_text()
    test = write_captions(tmp_path / "test", range(2, 3), "test").read_text()
    (tmp_path / "captions.jsonl").write_text(train + test)
    found = loaded(tmp_path)
    assert {name: expert.dim for name, expert in found.experts.items()} == {"appearance": DIMS["appearance"]}
    assert found.experts["appearance"].identity == "appearance|1||"
    assert found.warnings == ["no training video has tokens of audio: trained without"]
    assert len(found.rows) == len(found.train) == 2 and not len(found.validation)


def test_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path / "features", [video(0)])
    write_captions(tmp_path / "captions.jsonl", range(1), "test")
    with pytest.raises(HcqError, match="no captioned video is in the training split"):
        loaded(tmp_path)
