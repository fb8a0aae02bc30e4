"""Splits and captions of the three data sets: which videos are in which part, and which captions count."""

from __future__ import annotations

import json
from pathlib import Path

from mmt_files import h5_name, imported, json_lines, msrvtt, pack, unpack, video_bytes

from hcq_cli.features.store import FeatureStore


def test_each_split_has_its_captions(tmp_path: Path) -> None:
    source = pack(msrvtt(), tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    done = imported(source, tmp_path, split="1k-B")
    assert [file.split for file in done.captions] == ["1k-B", "1k-A", "full"]
    first = json_lines(tmp_path / "captions.jsonl")
    assert [line["video"] for line in first] == [f"video{n}" for n in range(6)]
    assert [len(line["captions"]) for line in first] == [1, 1, 1, 3, 3, 3]
    assert first[0]["captions"] == ["a man cooks"]
    full = json_lines(tmp_path / "captions-full.jsonl")
    assert [line["split"] for line in full] == ["test"] * 3 + ["val"] * 3 + ["train"] * 3
    assert {len(line["captions"]) for line in full} == {3}


def test_lsmdc_joins_captions_reads_its_tables_and_has_smaller_faces(tmp_path: Path) -> None:
    names = ["0001_American_Beauty_00.00.51.926-00.00.54.129", "1014_2012_00.01.21.399-00.01.23.997", "3001_X_1-2"]
    experts = ["s3d", "face"]
    files = {
        h5_name(name): video_bytes(
            n,
            absent=("face",) if n == 0 else (),
            captions=[] if n == 1 else [["SOMEONE", "waits", "."], ["Then", "leaves", "."]],
            experts=experts,
            widths={"face": 128},
        )
        for n, name in enumerate(names)
    }
    table = "".join(f'{name}\t00.00\t00.01\t0\t1\t"SOMEONE waits\n' for name in names[:2])
    files["symlinked-feats/LSMDC16_annos_training.csv"] = table.encode()
    files["symlinked-feats/LSMDC16_challenge_1000_publictect.csv"] = f"{names[2]}\t0\t1\t\t\tThen.\n".encode()
    done = imported(unpack(files, tmp_path / "LSMDC"), tmp_path)
    assert (done.dataset, done.split, done.videos) == ("lsmdc", "full", 3)
    assert json_lines(tmp_path / "captions.jsonl") == [
        {"video": names[0], "captions": ["SOMEONE waits . Then leaves ."], "split": "train"},
        {"video": names[2], "captions": ["SOMEONE waits . Then leaves ."], "split": "test"},
    ]
    assert done.warnings == ["full: left out, because without caption: 1 video"]
    assert FeatureStore.open(tmp_path / "store").experts["face"].dim == 128
    assert FeatureStore.open(tmp_path / "store").experts["face"].left_out == 0


def test_activitynet_makes_paragraphs_of_two_experts(tmp_path: Path) -> None:
    names = ["v_QOlSCBRmfWY", "v_ehGHCYKzyZ8"]
    files = {h5_name(name): video_bytes(n, experts=["s3d", "vggish", "ocr"]) for n, name in enumerate(names)}
    files["train_list.txt"], files["val_1_list.txt"] = f"{names[0]}\n".encode(), f"{names[1]}\n".encode()
    done = imported(pack(files, tmp_path / "data.tar.gz", "activity-net/symlinked-feats"), tmp_path)
    assert (done.dataset, done.split) == ("activitynet", "full") and done.left_out == {"ocr": 2}
    assert set(FeatureStore.open(tmp_path / "store").experts) == {"s3d", "vggish"}
    assert json_lines(tmp_path / "captions.jsonl")[0]["captions"] == [
        "a man cooks somebody is cooking pasta in a kitchen"
    ]


def test_without_the_table_of_test_captions_all_count_with_a_warning(tmp_path: Path) -> None:
    files = msrvtt()
    key = "symlinked-feats/jsfusion_val_caption_idx.pkl"
    del files[key]
    done = imported(unpack(files, tmp_path / "MSRVTT"), tmp_path)
    assert any("3 test videos no jsfusion_val_caption_idx" in warning for warning in done.warnings)
    files[key.replace(".pkl", ".json")] = json.dumps({f"video{n}": 1 for n in range(3)}).encode()
    done = imported(unpack(files, tmp_path / "MSRVTT"), tmp_path)
    assert done.warnings == []
    assert json_lines(tmp_path / "captions.jsonl")[0]["captions"] == ["somebody is cooking pasta"]
