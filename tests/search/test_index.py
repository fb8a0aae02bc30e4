from __future__ import annotations

import json
import os
import resource
import timeit
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, names, other_model, plain_scan, quantizer, random_codes, random_levels, write_codes
from indexes import add, build

from hcq_cli.codes.codefile import CodeHeader
from hcq_cli.codes.ids import video_of
from hcq_cli.errors import DamagedError, LockedError, ModelMismatchError, NotFoundError, UsageError
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import tables
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import compact, remove
from hcq_cli.search.manifest import generations
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import search_levels
from hcq_cli.writer_lock import writer_lock

Videos = dict[str, np.ndarray]


def videos_of(ids: list[str], codes: np.ndarray) -> Videos:
    return dict(zip(ids, codes, strict=True))


@pytest.fixture(params=[0, 7], ids=["flat", "listed"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An index of v0 … v999, once without and once with lists."""
    codes = write_codes(tmp_path / "codes.hcq", names(1000), random_codes(1000))
    build(tmp_path / "index", [codes], lists=request.param)
    return tmp_path / "index"


def assert_holds(index: Index, expected: Videos, *, whole: bool = True) -> None:
    """The index finds these videos in this order, with these codes, and nothing else.

    Of stretches (not `whole`) a search shows each video alone, by the best of them.
    """
    found = [row for row in range(sum(segment.videos for segment in index.segments)) if alive(index, row)]
    assert [index.name(row)[0] for row in found] == list(expected)
    assert all(np.array_equal(index.codes([row])[0], expected[index.name(row)[0]]) for row in found)
    assert index.rows == len(expected) and index.videos == len(set(map(video_of, expected)))
    levels = random_levels(3)
    codes = np.stack(list(expected.values())) if expected else np.empty((0, HEADER.S), np.uint8)
    everything = [SearchParams(exact=True)] + ([SearchParams(nprobe=index.ivf.lists)] if index.ivf else [])
    for params in everything:
        answers = search_levels(index, ["a", "b", "c"], levels, 20, params=params)
        for answer, table in zip(answers, tables(levels, *quantizer()), strict=True):
            scores, rows = plain_scan(codes, table, 20 if whole else len(codes))
            best: dict[str, float] = {}
            for row, score in zip(rows, scores.tolist(), strict=True):
                best.setdefault(video_of(list(expected)[row]), score)
            assert [(hit.id, hit.score) for hit in answer.hits] == list(best.items())[:20]


def alive(index: Index, row: int) -> bool:
    return bool(np.concatenate([segment.alive for segment in index.segments])[row])


def test_build_add_remove_and_compact_follow_a_dictionary(tmp_path: Path, folder: Path) -> None:
    expected = videos_of(names(1000), random_codes(1000))
    assert_holds(Index.open(folder), expected)

    fresh = [*names(300, "w"), "v7.mp4", "🎬'\n\udcff"]
    codes = random_codes(302, seed=5)
    change = add(folder, [write_codes(tmp_path / "more", fresh, codes)])
    del expected["v7.mp4"]
    expected |= videos_of(fresh, codes)
    assert (change.added, change.removed, change.segments) == (302, 1, 2)
    assert_holds(Index.open(folder), expected)

    gone = ["v0.mp4", "v999.mp4", "w5.mp4", "🎬'\n\udcff", "nobody"]
    change = remove(folder, gone)
    assert (change.removed, change.unknown) == (4, ("nobody",))
    expected = {video_id: row for video_id, row in expected.items() if video_id not in gone}
    index = Index.open(folder)
    assert_holds(index, expected)
    assert (index.videos, index.removed) == (len(expected), 5)
    assert index.rows_of("v0.mp4") == []
    assert [index.name(row)[0] for row in index.rows_of("v7.mp4")] == ["v7.mp4"]

    change = compact(folder)
    assert (change.segments, change.videos) == (1, len(expected))
    compacted = Index.open(folder)
    assert_holds(compacted, expected)
    assert compacted.removed == 0
    compacted.verify()
    assert_holds(index, expected)  # the older generation, still mapped


def test_several_files_and_ids_that_come_again(tmp_path: Path) -> None:
    one = write_codes(tmp_path / "one", ["a", "b", "a", "c"], random_codes(4))
    two = write_codes(tmp_path / "two", ["c", "d"], random_codes(2, seed=9))
    change = build(tmp_path / "index", [one, two])
    assert (change.videos, change.removed) == (4, 2)
    rows = [*random_codes(4), *random_codes(2, seed=9)]
    assert_holds(Index.open(tmp_path / "index"), {"b": rows[1], "a": rows[2], "c": rows[4], "d": rows[5]})


def stretches(video: str, *bounds: int) -> list[str]:
    return [f"{video}#t={start},{stop}" for start, stop in pairwise(bounds)]


@pytest.mark.parametrize("lists", [0, 3], ids=["flat", "listed"])
def test_a_video_cut_anew_replaces_every_earlier_cut_of_it(tmp_path: Path, lists: int) -> None:
    """Whole and cut, finely and coarsely, in one build and by adding; what only looks like a stretch stays."""
    halves, thirds = stretches("a", 0, 30, 60), stretches("a", 0, 20, 40, 60)
    others = ["b", *stretches("c", 0, 5, 10), "a#t=x", "aa", "a#t=1,2.mp4", "x/a", *stretches("x/a", 0, 9, 18)]
    folder, kept = tmp_path / "index", videos_of(others, random_codes(len(others), seed=3))
    one = write_codes(tmp_path / "one", [*halves, *others], np.stack([*random_codes(2), *kept.values()]))
    cuts = [thirds, ["a"], halves, thirds, halves]
    paths = [write_codes(tmp_path / f"cut{n}", cut, random_codes(len(cut), seed=n)) for n, cut in enumerate(cuts)]
    change = build(folder, [one, paths[0]], lists=lists)
    assert (change.removed, change.rows, change.videos) == (2, len(others) + 3, 7)
    assert_holds(Index.open(folder), {**kept, **videos_of(thirds, random_codes(3, seed=0))}, whole=False)
    for number, cut in enumerate(cuts[1:], 1):
        assert add(folder, [paths[number]]).removed == len(cuts[number - 1])
        assert_holds(Index.open(folder), {**kept, **videos_of(cut, random_codes(len(cut), seed=number))}, whole=False)
    assert len(Index.open(folder).rows_of("a")) == 2 and len(Index.open(folder).rows_of("c")) == 2
    compact(folder)
    assert add(folder, [paths[1]]).removed == 2
    assert remove(folder, ["c", "x/a"]).removed == 5
    left = [video for video in others if video_of(video) not in ("c", "x/a")]
    expected = {**{video: kept[video] for video in left}, "a": random_codes(1, seed=1)[0]}
    assert_holds(Index.open(folder), expected, whole=False)


@pytest.mark.parametrize("videos", [0, 1, 256, 257])
def test_small_indexes(tmp_path: Path, videos: int) -> None:
    build(tmp_path / "index", [write_codes(tmp_path / "c", names(videos), random_codes(videos))])
    index = Index.open(tmp_path / "index")
    index.verify()
    assert_holds(index, videos_of(names(videos), random_codes(videos)))
    remove(tmp_path / "index", names(videos))
    assert_holds(Index.open(tmp_path / "index"), {})
    assert_holds(index, videos_of(names(videos), random_codes(videos)))
    compact(tmp_path / "index")
    assert_holds(Index.open(tmp_path / "index"), {})


@pytest.mark.parametrize("videos", [0, 1, 256, 257, 1000])
@pytest.mark.parametrize("lists", [1, 5, 300])
def test_small_indexes_with_lists(tmp_path: Path, videos: int, lists: int) -> None:
    codes = write_codes(tmp_path / "c", names(videos), random_codes(videos))
    build(tmp_path / "index", [codes, write_codes(tmp_path / "d", ["z"], random_codes(1))], lists=lists)
    index = Index.open(tmp_path / "index")
    index.verify()
    expected = videos_of([*names(videos), "z"], np.concatenate([random_codes(videos), random_codes(1)]))
    assert_holds(index, expected)
    assert index.ivf and index.ivf.lists == min(lists, videos + 1)
    compact(tmp_path / "index")
    assert_holds(Index.open(tmp_path / "index"), expected)
    remove(tmp_path / "index", list(expected))
    assert_holds(Index.open(tmp_path / "index"), {})
    compact(tmp_path / "index")
    assert_holds(Index.open(tmp_path / "index"), {})
    add(tmp_path / "index", [codes])
    assert_holds(Index.open(tmp_path / "index"), videos_of(names(videos), random_codes(videos)))


def test_a_video_that_a_code_file_holds_twice_is_counted_once(tmp_path: Path) -> None:
    ids = ["a.mp4", "a.mp4#t=0,9", "b.mp4#t=0,9", "b.mp4#t=5,14", "a.mp4", "c.mp4"]
    build(tmp_path / "index", [write_codes(tmp_path / "c", ids, random_codes(6))])
    index = Index.open(tmp_path / "index")
    assert (index.videos, index.rows) == (3, 5)
    assert remove(tmp_path / "index", ["a.mp4"]).videos == 2


def test_building_again_replaces_and_clears_old_files(tmp_path: Path, folder: Path) -> None:
    for size in (10, 20, 30, 40):
        build(folder, [write_codes(tmp_path / "c", names(size), random_codes(size))])
    assert Index.open(folder).videos == 40
    assert len(list(folder.glob("segment-*.hcq"))) <= 3  # one for each kept generation


def test_codes_of_another_model_are_refused(tmp_path: Path, folder: Path) -> None:
    other = write_codes(tmp_path / "other", ["x"], random_codes(1), other_model())
    with pytest.raises(ModelMismatchError, match="aaaaaaaaaaaa") as caught:
        add(folder, [other])
    assert "bbbbbbbbbbbb" in caught.value.message
    same = write_codes(tmp_path / "same", ["y"], random_codes(1))
    with pytest.raises(ModelMismatchError, match="other"):
        build(tmp_path / "new", [same, other])
    assert not (tmp_path / "new").exists()
    texts = write_codes(tmp_path / "texts", ["y"], random_codes(1), replace(HEADER, kind="texts"))
    with pytest.raises(UsageError, match="codes of texts"):
        add(folder, [texts])
    assert Index.open(folder).videos == 1000


def test_a_damaged_code_file_is_not_indexed(tmp_path: Path, folder: Path) -> None:
    path = write_codes(tmp_path / "c", names(500), random_codes(500))
    raw = bytearray(path.read_bytes())
    raw[300] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedError, match="section 'codes'"):
        add(folder, [path])
    assert Index.open(folder).videos == 1000


def test_missing_pieces(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        Index.open(tmp_path / "none")
    assert caught.value.hint == "hcq index build"
    with pytest.raises(NotFoundError):
        remove(tmp_path / "none", ["a"])
    with pytest.raises(UsageError):
        build(tmp_path / "codes.hcq", [tmp_path / "codes.hcq"])
    next(folder.glob("segment-*")).unlink()
    with pytest.raises(DamagedError, match="belongs to the index"):
        Index.open(folder)


def test_verify_finds_every_damaged_byte(folder: Path, tmp_path: Path) -> None:
    add(folder, [write_codes(tmp_path / "c", ["v1.mp4"], random_codes(1))])
    Index.open(folder).verify()
    newest = sorted(folder.glob("manifest-*"))[-1]
    rng = np.random.default_rng(0)
    for path in [*folder.glob("*.hcq"), newest]:
        raw = path.read_bytes()
        for at in [0, 8, 50, len(raw) - 1, *rng.integers(0, len(raw), 12).tolist()]:
            damaged = bytearray(raw)
            damaged[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            with pytest.raises(DamagedError, match=path.name):
                Index.open(folder).verify()
        for length in {0, 1, 63, len(raw) // 2, len(raw) - 1}:
            path.write_bytes(raw[:length])
            with pytest.raises(DamagedError, match=path.name):
                Index.open(folder).verify()
        path.write_bytes(raw)
    Index.open(folder).verify()


def test_a_manifest_cannot_point_outside(folder: Path) -> None:
    content = Index.open(folder).manifest
    body = json.loads(json.dumps(content.to_json()))
    body["quantizer"] = "../codes.hcq"
    generations(folder).publish(body)
    with pytest.raises(DamagedError, match="outside the folder"):
        Index.open(folder)


STRANGE = ["../codes.hcq", "/VICTIM", "/dev/zero", "a/b.hcq", ".", "..", "a\0", "x" * 300, 7, None, ["a"], ""]


@pytest.mark.parametrize("name", STRANGE, ids=str)
@pytest.mark.parametrize("key", ["quantizer", "segment", "tombstones", "partition", "tower"])
def test_every_name_of_a_manifest_is_that_of_a_file_in_the_folder(
    folder: Path, tmp_path: Path, key: str, name: object
) -> None:
    (tmp_path / "victim.hcq").write_text("my diary")
    name = str(tmp_path / "victim.hcq") if name == "/VICTIM" else name
    body = json.loads(json.dumps(Index.open(folder).manifest.to_json()))
    if key in ("segment", "tombstones"):
        body["segments"][0]["file" if key == "segment" else key] = name
    else:
        body[key] = {"file": name, "precision": "float32", "checked": {}} if key == "tower" else name
    generations(folder).publish(body)
    if name in ("", None) and key in ("tombstones", "partition"):  # which says that there is none
        Index.open(folder).verify()
        return
    for work in (Index.open, compact, lambda folder: remove(folder, ["v1.mp4"])):
        with pytest.raises(DamagedError, match="makes no sense"):
            work(folder)
    assert (tmp_path / "victim.hcq").read_text() == "my diary"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link"])
def test_a_file_of_an_index_that_is_none(folder: Path, tmp_path: Path, kind: str) -> None:
    """No pipe is waited for, no device read, and no link followed."""
    for name in Index.open(folder).manifest.files():
        kept = tmp_path / "kept"
        (folder / name).rename(kept)
        if kind == "pipe":
            os.mkfifo(folder / name)
        elif kind == "folder":
            (folder / name).mkdir()
        else:
            (folder / name).symlink_to(kept if kind == "link" else "/dev/zero")
        with pytest.raises(DamagedError, match=name):
            Index.open(folder)
        with pytest.raises(DamagedError, match=name):
            remove(folder, ["v1.mp4"])
        (folder / name).rmdir() if kind == "folder" else (folder / name).unlink()
        kept.rename(folder / name)
    Index.open(folder).verify()


def test_a_second_writer_waits_or_is_refused(tmp_path: Path, folder: Path) -> None:
    codes = write_codes(tmp_path / "c", ["x"], random_codes(1))
    with writer_lock(folder), pytest.raises(LockedError):
        add(folder, [codes], wait_s=0.05)
    add(folder, [codes], wait_s=0.05)


def list_of(index: Index) -> list[str]:
    rows = range(sum(segment.videos for segment in index.segments))
    return [index.name(row)[0] for row in rows if alive(index, row)]


def test_the_checkpoint_is_kept_relative_and_absolute(tmp_path: Path) -> None:
    (tmp_path / "ws" / "model").mkdir(parents=True)
    header = replace(HEADER, checkpoint=str(tmp_path / "ws" / "model"))
    build(tmp_path / "ws" / "index", [write_codes(tmp_path / "ws" / "codes.hcq", ["a"], random_codes(1), header)])
    (tmp_path / "ws").rename(tmp_path / "moved")
    places = Index.open(tmp_path / "moved" / "index").checkpoints
    assert [place.is_dir() for place in places] == [True, False]


def test_opening_takes_milliseconds_and_building_bounded_memory(tmp_path: Path) -> None:
    header = CodeHeader("videos", "c" * 64, "/m", levels=8, M=32, K=256, D=64)
    rng = np.random.default_rng(0)
    videos = 200_000
    path = write_codes(
        tmp_path / "c", names(videos), rng.integers(0, 256, (videos, 256), dtype=np.uint8), header, 20_000
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    build(tmp_path / "index", [path])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000  # KiB; mapped pages count too
    index = Index.open(tmp_path / "index")
    assert min(timeit.repeat(lambda: Index.open(tmp_path / "index"), number=1, repeat=5)) < 0.05
    table = rng.normal(size=(1, 256, 256)).astype(np.float32)
    assert scan(index.sources(), table, 10).rows.shape == (1, 10)
