"""hcq import mmt: features, captions and splits from archives and folders made in MMT's layout."""

from __future__ import annotations

import json
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mmt_files import add, features, h5_bytes, h5_name, msrvtt, pack, unpack, video_bytes

from experts.base import State
from hcq_cli.datasets.captions import read_captions
from hcq_cli.features.store import FeatureStore, verify
from hcq_cli.importers import mmt as importing
from hcq_cli.importers.mmt import Options, import_mmt


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def imported(source: Path, tmp_path: Path, **options):
    return import_mmt(source, Options(tmp_path / "store", tmp_path / "captions.jsonl", **options))


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", "", "folder"])
def test_features_captions_and_splits(form: str, tmp_path: Path, hcq) -> None:
    files = msrvtt()
    if form == "folder":
        source = unpack(files, tmp_path / "data" / "MSRVTT")
    else:
        source = pack(files, tmp_path / "features.tar", "MSRVTT", f"w:{form}")
    said = hcq("import", "mmt", source, "--json").json
    assert (said["dataset"], said["split"], said["videos"], said["imported"]) == ("msrvtt", "1k-A", 9, 9)
    assert said["failed"] == [] and said["warnings"] == [] and said["recipe"] == "msrvtt-1ka"
    store = FeatureStore.open(tmp_path / ".hcq" / "features")
    assert sorted(store.ids) == [f"video{n}" for n in range(9)] and not verify(store.folder).damaged
    row = store.row("video4")
    record, read = store.video(row), store.read([row])
    assert record.decoder == "mmt" and record.duration_s == 3.0 and record.path.endswith(h5_name("video4"))
    for expert in ("s3d", "vggish", "face", "ocr"):
        np.testing.assert_array_equal(read[expert].features, features(4, expert, 3))
    np.testing.assert_array_equal(read["s3d"].times, [0.5, 1.5, 2.5])
    assert np.isnan(read["face"].times).all() and np.isnan(read["ocr"].times).all()
    assert store.video(store.row("video1")).states["face"] == State.NOTHING_FOUND
    captions = read_captions(tmp_path / ".hcq" / "captions.jsonl")
    assert captions.problems == [] and captions.split_counts() == {"test": 3, "train": 6}
    assert captions.videos[0].captions == ["in a kitchen"]  # the one that the split's table names
    assert captions.videos[5].captions == ["a man cooks", "somebody is cooking pasta", "in a kitchen"]


def test_each_split_has_its_captions(tmp_path: Path) -> None:
    source = pack(msrvtt(), tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    done = imported(source, tmp_path, split="1k-B")
    assert [file.split for file in done.captions] == ["1k-B", "1k-A", "full"]
    first = lines(tmp_path / "captions.jsonl")
    assert [line["video"] for line in first] == [f"video{n}" for n in range(6)]
    assert [len(line["captions"]) for line in first] == [1, 1, 1, 3, 3, 3]
    assert first[0]["captions"] == ["a man cooks"]
    full = lines(tmp_path / "captions-full.jsonl")
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
    assert lines(tmp_path / "captions.jsonl") == [
        {"video": names[0], "captions": ["SOMEONE waits . Then leaves ."], "split": "train"},
        {"video": names[2], "captions": ["SOMEONE waits . Then leaves ."], "split": "test"},
    ]
    assert done.warnings == ["full: 1 videos have no caption and are left out"]
    assert FeatureStore.open(tmp_path / "store").experts["face"].dim == 128
    assert FeatureStore.open(tmp_path / "store").experts["face"].left_out == 0


def test_activitynet_makes_paragraphs_of_two_experts(tmp_path: Path) -> None:
    names = ["v_QOlSCBRmfWY", "v_ehGHCYKzyZ8"]
    files = {h5_name(name): video_bytes(n, experts=["s3d", "vggish", "ocr"]) for n, name in enumerate(names)}
    files["train_list.txt"], files["val_1_list.txt"] = f"{names[0]}\n".encode(), f"{names[1]}\n".encode()
    done = imported(pack(files, tmp_path / "data.tar.gz", "activity-net/symlinked-feats"), tmp_path)
    assert (done.dataset, done.split) == ("activitynet", "full") and done.left_out == {"ocr": 2}
    assert set(FeatureStore.open(tmp_path / "store").experts) == {"s3d", "vggish"}
    assert lines(tmp_path / "captions.jsonl")[0]["captions"] == ["a man cooks somebody is cooking pasta in a kitchen"]


def test_an_interrupted_import_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pack(msrvtt(), tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    monkeypatch.setattr("hcq_cli.features.writer.BULK_BYTES", 60_000)  # a shard of a few videos
    seen = 0

    def interrupt(report, position) -> None:
        nonlocal seen
        seen += 1
        if seen == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_mmt(source, Options(tmp_path / "store", tmp_path / "captions.jsonl"), interrupt)
    before = len(FeatureStore.open(tmp_path / "store"))
    assert 0 < before < 7
    done = imported(source, tmp_path)
    assert (done.skipped, done.imported) == (before, 9 - before)
    assert len(lines(tmp_path / "captions.jsonl")) == 9
    again = imported(source, tmp_path)
    assert (again.skipped, again.imported) == (9, 0) and len(lines(tmp_path / "captions.jsonl")) == 9


def test_memory_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = h5_bytes({"features.s3d": np.ones((700, 1024), np.float32), "raw_captions.0": ["a", "man"]})
    with tarfile.open(tmp_path / "MSRVTT.tar", "w") as archive:
        for n in range(40):
            add(archive, h5_name(f"video{n}"), data)
    monkeypatch.setattr("hcq_cli.features.writer.BULK_BYTES", 8 << 20)
    tracemalloc.start()
    try:
        assert imported(tmp_path / "MSRVTT.tar", tmp_path).imported == 40
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(data) * 40 > 100 << 20 and peak < 32 << 20


def test_what_is_damaged_is_listed_and_costs_only_itself(tmp_path: Path, hcq) -> None:
    files = msrvtt()
    name = h5_name("video4")
    files[name] = files[name][: len(files[name]) // 2]
    files[h5_name("video5")] = b"no HDF5 at all"
    files["vid_feat_files/again/video0.h5"] = files[h5_name("video0")]
    source = pack(files, tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        with tarfile.open(source) as good:
            for member in good:
                archive.addfile(member, good.extractfile(member))
        add(archive, "/etc/video7.h5", b"x")
        add(archive, "MSRVTT/../../video8.h5", b"x")
        add(archive, "MSRVTT/v/link.h5", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    said = hcq("import", "mmt", "bad.tar", "--json", code=3).json
    failed = {Path(item["path"]).name: item["error"] for item in said["failed"]}
    assert set(failed) == {"video4.h5", "video5.h5", "video0.h5", "video7.h5", "video8.h5", "link.h5"}
    assert "HDF5" in failed["video4.h5"] and "HDF5" in failed["video5.h5"]
    assert "second file of video0" in failed["video0.h5"]
    assert "leads out" in failed["video7.h5"] and "leads out" in failed["video8.h5"]
    assert "a link" in failed["link.h5"]
    assert said["imported"] == 7 and any("2 of the 9 videos" in warning for warning in said["warnings"])
    assert "video4.h5" in hcq("import", "mmt", "bad.tar", code=3).err
    assert not list(tmp_path.rglob("video8.h5"))


def test_a_huge_member_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = msrvtt()
    files[h5_name("video2")] += bytes(1 << 20)
    monkeypatch.setattr(importing, "MOST_FILE_BYTES", 1 << 19)
    for source in (pack(files, tmp_path / "MSRVTT.tar.gz", ""), unpack(files, tmp_path / "MSRVTT")):
        done = import_mmt(source, Options(tmp_path / f"of-{source.name}", tmp_path / "captions.jsonl"))
        assert [Path(failed.path).name for failed in done.failed] == ["video2.h5"]
        assert "more than 524,288" in done.failed[0].error and done.imported == 8


@pytest.mark.parametrize("form", ["gz", ""])
def test_an_archive_that_breaks_off_gives_what_came_before(form: str, tmp_path: Path) -> None:
    whole = pack(msrvtt(), tmp_path / "MSRVTT.tar", "MSRVTT", f"w:{form}").read_bytes()
    source = tmp_path / "MSRVTT-cut.tar"
    for share in (0.3, 0.55, 0.8):
        source.write_bytes(whole[: int(len(whole) * share)])
        done = import_mmt(source, Options(tmp_path / f"at-{share}", tmp_path / "captions.jsonl"))
        assert 0 < done.imported < 9 and any("breaks off" in failed.error for failed in done.failed)
    assert done.exit_code == 3


def test_a_flipped_bit_in_a_compressed_archive_is_told(tmp_path: Path) -> None:
    path = pack(msrvtt(), tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # its checksum
    path.write_bytes(data)
    done = imported(path, tmp_path)
    assert done.imported == 9 and [Path(f.path).name for f in done.failed] == ["MSRVTT.tar.gz"]
    assert "checksum" in done.failed[0].error


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = pack(msrvtt(), tmp_path / "MSRVTT.tar", "MSRVTT", "w:")
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[4].offset
    data[offset + 5] ^= 0x40
    path.write_bytes(data)
    done = imported(path, tmp_path)
    assert done.imported == 4 and "breaks off" in done.failed[0].error


def test_split_files_from_another_folder(tmp_path: Path, hcq) -> None:
    files = msrvtt()
    lists = {Path(name).name: data for name, data in files.items() if not name.endswith(".h5")}
    videos = {name: data for name, data in files.items() if name.endswith(".h5")}
    source = pack(videos, tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    said = hcq("import", "mmt", source, "--json").json
    assert said["split"] is None and said["captions"][0]["videos"] == {"none": 9}
    assert "--lists" in said["warnings"][0]
    refused = hcq("import", "mmt", source, "--split", "1k-b", code=10)
    assert "train_list_miech.txt" in refused.err and "--lists" in refused.err
    unpack(lists, tmp_path / "lists")
    said = hcq("import", "mmt", source, "--split", "1k-B", "--lists", "lists", "--json").json
    assert said["split"] == "1k-B" and said["captions"][0]["videos"] == {"test": 3, "train": 3}


def test_without_the_table_of_test_captions_all_count_with_a_warning(tmp_path: Path) -> None:
    files = msrvtt()
    key = "symlinked-feats/jsfusion_val_caption_idx.pkl"
    del files[key]
    done = imported(unpack(files, tmp_path / "MSRVTT"), tmp_path)
    assert any("3 test videos no jsfusion_val_caption_idx" in warning for warning in done.warnings)
    files[key.replace(".pkl", ".json")] = json.dumps({f"video{n}": 1 for n in range(3)}).encode()
    done = imported(unpack(files, tmp_path / "MSRVTT"), tmp_path)
    assert done.warnings == []
    assert lines(tmp_path / "captions.jsonl")[0]["captions"] == ["somebody is cooking pasta"]


def test_what_cannot_be_is_refused(tmp_path: Path, hcq) -> None:
    (tmp_path / "text.tar").write_text("no archive " * 100)
    (tmp_path / "folder").mkdir()
    assert "is no tar archive" in hcq("import", "mmt", "text.tar", code=4).err
    assert "no such file" in hcq("import", "mmt", "nothing.tar", code=10).err
    assert "no .h5 files" in hcq("import", "mmt", "folder", code=10).err
    assert (
        "has no split '1k-A'" in hcq("import", "mmt", "folder", "--dataset", "lsmdc", "--split", "1k-A", code=2).err
    )
    assert hcq("import", "mmt", "folder", "--experts", " , ", code=2).err
    (tmp_path / "empty.tar").write_bytes(b"")
    assert hcq("import", "mmt", "empty.tar", code=4).err


def test_odd_names(tmp_path: Path) -> None:
    odd = ["a \"quote\" 'x'", "emoji 🎬", "line\nbreak", "-dash", "ab", "\udcff\udc80 bytes"]
    files = {f"MSRVTT/{name}.h5": video_bytes(n, experts=["s3d"]) for n, name in enumerate(odd)}
    done = imported(pack(files, tmp_path / "x.tar", "", "w:"), tmp_path)
    assert done.imported == len(odd) and not done.failed
    assert set(FeatureStore.open(tmp_path / "store").ids) == set(odd)
    assert {line["video"] for line in lines(tmp_path / "captions.jsonl")} == set(odd)
