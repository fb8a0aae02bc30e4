"""hcq import mmt: features, captions and splits from archives and folders made in MMT's layout."""

from __future__ import annotations

import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mmt_files import add, features, h5_bytes, h5_name, imported, json_lines, msrvtt, pack, unpack, video_bytes

from experts.base import State
from hcq_cli.datasets.captions import read_captions
from hcq_cli.errors import DamagedError, NotFoundError, UsageError
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.verification import verify
from hcq_cli.importers.mmt import MmtOptions, import_mmt


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", "", "folder"])
def test_features_captions_and_splits(form: str, tmp_path: Path, hcq) -> None:
    files = msrvtt()
    if form == "folder":
        source = unpack(files, tmp_path / "data" / "MSRVTT")
    else:
        source = pack(files, tmp_path / "features.tar", "MSRVTT", f"w:{form}")
    if form == "folder":  # from outside once, the other forms by the function behind the command
        said = hcq("import", "mmt", source, "--json").json
    else:
        workspace = tmp_path / ".hcq"
        said = vars(import_mmt(source, MmtOptions(workspace / "features", workspace / "captions.jsonl")))
    assert (said["dataset"], said["split"], said["videos"], said["imported"]) == ("msrvtt", "1k-A", 9, 9)
    assert said["failed"] == [] and said["warnings"] == [] and said["recipe"] == "msrvtt-1ka"
    store = FeatureStore.open(tmp_path / ".hcq" / "features")
    assert sorted(store.ids) == [f"video{n}" for n in range(9)] and not verify(store.folder).damaged
    row = store.row("video4")
    record, read = store.facts(row), store.read([row])
    assert record.decoder == "mmt" and record.duration_s == 3.0 and record.path.endswith(h5_name("video4"))
    for expert in ("s3d", "vggish", "face", "ocr"):
        np.testing.assert_array_equal(read[expert].features, features(4, expert, 3))
    np.testing.assert_array_equal(read["s3d"].times, [0.5, 1.5, 2.5])
    assert np.isnan(read["face"].times).all() and np.isnan(read["ocr"].times).all()
    assert store.video(store.row("video1")).results["face"].state == State.NOTHING_FOUND
    captions = read_captions(tmp_path / ".hcq" / "captions.jsonl")
    assert captions.problems == [] and captions.split_counts() == {"test": 3, "train": 6}
    assert captions.videos[0].captions == ["in a kitchen"]  # the one that the split's table names
    assert captions.videos[5].captions == ["a man cooks", "somebody is cooking pasta", "in a kitchen"]


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
        import_mmt(source, MmtOptions(tmp_path / "store", tmp_path / "captions.jsonl"), interrupt)
    before = len(FeatureStore.open(tmp_path / "store"))
    assert 0 < before < 7
    done = imported(source, tmp_path)
    assert (done.skipped, done.imported) == (before, 9 - before)
    assert len(json_lines(tmp_path / "captions.jsonl")) == 9
    again = imported(source, tmp_path)
    assert (again.skipped, again.imported) == (9, 0) and len(json_lines(tmp_path / "captions.jsonl")) == 9


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


def test_split_files_from_another_folder(tmp_path: Path, hcq) -> None:
    files = msrvtt()
    lists = {Path(name).name: data for name, data in files.items() if not name.endswith(".h5")}
    videos = {name: data for name, data in files.items() if name.endswith(".h5")}
    source = pack(videos, tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    done = imported(source, tmp_path)
    assert done.split is None and done.captions[0].videos == {"none": 9}
    assert "--lists" in done.warnings[0]
    refused = hcq("import", "mmt", source, "--split", "1k-b", code=10)
    assert "train_list_miech.txt" in refused.err and "--lists" in refused.err
    unpack(lists, tmp_path / "lists")
    done = imported(source, tmp_path, split="1k-B", lists=tmp_path / "lists")
    assert done.split == "1k-B" and done.captions[0].videos == {"test": 3, "train": 3}


def test_what_cannot_be_is_refused(tmp_path: Path, hcq) -> None:
    (tmp_path / "text.tar").write_text("no archive " * 100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.tar").write_bytes(b"")
    refused = [
        ("text.tar", {}, DamagedError, "is no tar archive"),
        ("empty.tar", {}, DamagedError, "is no tar archive"),
        ("nothing.tar", {}, NotFoundError, "no such file"),
        ("folder", {}, NotFoundError, "no .h5 files"),
        ("folder", {"dataset": "lsmdc", "split": "1k-A"}, UsageError, "has no split '1k-A'"),
    ]
    for name, options, error, message in refused:
        with pytest.raises(error, match=message):
            imported(tmp_path / name, tmp_path, **options)
    assert "is no tar archive" in hcq("import", "mmt", "text.tar", code=4).err
    assert hcq("import", "mmt", "folder", "--experts", " , ", code=2).err


def test_odd_names(tmp_path: Path) -> None:
    odd = ["a \"quote\" 'x'", "emoji 🎬", "line\nbreak", "-dash", "ab", "\udcff\udc80 bytes"]
    files = {f"MSRVTT/{name}.h5": video_bytes(n, experts=["s3d"]) for n, name in enumerate(odd)}
    done = imported(pack(files, tmp_path / "x.tar", "", "w:"), tmp_path)
    assert done.imported == len(odd) and not done.failed
    assert set(FeatureStore.open(tmp_path / "store").ids) == set(odd)
    assert {line["video"] for line in json_lines(tmp_path / "captions.jsonl")} == set(odd)


def test_files_of_another_width_and_without_rows_are_named(tmp_path: Path) -> None:
    files = {f"v{n}.h5": video_bytes(n, experts=["s3d", "vggish"], widths={"s3d": 4, "vggish": 3}) for n in range(3)}
    files["odd.h5"] = video_bytes(3, experts=["s3d", "vggish"], widths={"s3d": 6, "vggish": 3})
    files["bare.h5"] = h5_bytes({"features.s3d": np.zeros((0, 4), np.float32), "raw_captions.0": ["a", "dog"]})
    report = imported(unpack(files, tmp_path / "in"), tmp_path)
    assert report.imported == 5  # both are in the store: vggish of the one is as good as any
    assert "s3d: 6 wide, where others are 4 wide and a model takes one width alone: 1 video: odd" in report.warnings
    assert "no expert has any rows: 1 video: bare" in report.warnings
