"""What hold-outs promise of new videos: much where captions say what is seen, nothing where they are shuffled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_dataset import SMALL, caption, video, write_captions, write_store

from hcq_cli.datasets.captions import read_captions
from hcq_cli.datasets.dataset import load_dataset
from hcq_cli.features.store import FeatureStore
from hcq_cli.training import recipe as recipes
from hcq_cli.training.data import TrainingData, training_data
from hcq_cli.training.hold_outs import _parts, expect_of_new_videos

SETTINGS = [*SMALL, "training.epochs=6", "training.min_steps=60", "training.hold_outs=2"]


def data(folder: Path, captions: str = "") -> TrainingData:
    write_store(folder / "features", [video(n) for n in range(40)])
    write_captions(folder / "captions.jsonl", range(40))
    if captions:
        (folder / "captions.jsonl").write_text(captions)
    store = FeatureStore.open(folder / "features")
    return training_data(store, load_dataset(store, read_captions(folder / "captions.jsonl")))


@pytest.mark.long
def test_captions_that_say_what_is_seen_find_new_videos_and_shuffled_ones_do_not(tmp_path: Path) -> None:
    recipe = recipes.load("default", SETTINGS)
    found = expect_of_new_videos(data(tmp_path / "a"), recipe)
    assert (found["captions"], found["videos"], found["chance"]) == (80, 20, 4.0)
    assert found["first"] > 12 and not found["about_chance"]
    lines = "".join(f'{{"video": "v{n:03d}.mp4", "caption": "{caption(n * 7 % 40 + n // 3)}"}}\n' for n in range(40))
    assert expect_of_new_videos(data(tmp_path / "b", lines), recipe)["about_chance"]
    assert not list(tmp_path.rglob("resume"))  # the models are let go


def test_too_few_videos_or_none_asked_for_tell_nothing(tmp_path: Path) -> None:
    collection = data(tmp_path)
    for settings in (["training.hold_outs=0"], ["training.hold_outs=12"]):
        assert expect_of_new_videos(collection, recipes.load("default", [*SETTINGS, *settings])) == {}


def test_every_video_is_held_out_once_and_copies_together(tmp_path: Path) -> None:
    split = data(tmp_path).train
    split.groups[1] = split.groups[0]
    groups = sorted(set(split.groups.tolist()))
    seen: list[int] = []
    for learned, held_out in _parts(split, np.array(groups), 3, 0):
        assert not set(learned.groups) & set(held_out.groups)
        assert len(learned) + len(held_out) == len(split)
        seen += held_out.rows.tolist()
    assert sorted(seen) == sorted(split.rows.tolist())


@pytest.mark.parametrize("parts", [1, -1])
def test_one_part_alone_makes_no_sense(parts: int) -> None:
    with pytest.raises(Exception, match=r"training\.hold_outs"):
        recipes.load("default", [f"training.hold_outs={parts}"])
