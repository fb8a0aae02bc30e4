"""Only what has changed is encoded again, and the file is the same, bit by bit, as if all were."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faults import each_fault, faulty
from feature_samples import video
from small_models import EXPERTS, model

from hcq_cli.codes.codefile import open_codes
from hcq_cli.datasets.segments import Cutting
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.model.encoding import EncodeResult, encode_batches, header
from hcq_cli.model.video_batches import VIDEOS_AT_ONCE, VideoBatches, known_batches

VIDEOS = 250
MODEL = model()
DIMS = {name: expert.dim for name, expert in EXPERTS.items()}
CUT = Cutting(8.0)


def write(folder: Path, ids: Iterable[str], content: str = "", **more: object) -> None:
    with FeatureWriter(folder) as writer:
        made = (video(id, list(DIMS), content=content or id, dims=DIMS) for id in ids)
        # Some are cut into segments.
        writer.add_videos(replace(each, **{"duration_s": 20.0 if "7" in each.id else 5.0, **more}) for each in made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "features", (f"v{number}.mp4" for number in range(VIDEOS)))
    return tmp_path / "features"


def encode(folder: Path, without: Iterable[str] = ()) -> EncodeResult:
    """Encoded with what was encoded before; that the file is that of encoding all anew is checked."""
    batches, path = VideoBatches(MODEL, FeatureStore.open(folder), CUT, set(without)), folder.parent / "codes.hcq"
    done = encode_batches(batches, path, known=known_batches([path], header(MODEL, "videos")))
    anew = encode_batches(batches, folder.parent / "anew.hcq")
    assert anew.taken_over == 0 and path.read_bytes() == anew.codes.read_bytes()
    assert replace(done, codes=path, seconds=0, taken_over=0) == replace(anew, codes=path, seconds=0)
    open_codes(path).verify()
    return done


def encoded_now(done: EncodeResult) -> int:
    return done.items - done.taken_over


@pytest.mark.long
def test_what_has_not_changed_is_taken_over(folder: Path) -> None:
    first = encode(folder)
    there = VIDEOS - first.without_features
    assert first.items == there > 200 and first.taken_over == 0 and first.rows > VIDEOS  # with segments
    assert encoded_now(encode(folder)) == 0
    write(folder, ["v200b.mp4"])  # new
    assert 1 <= encoded_now(done := encode(folder)) < 200 and done.items == there + 1
    write(folder, ["v17.mp4"], content="another")  # changed
    assert 1 <= encoded_now(encode(folder)) < 200
    write(folder, ["v17.mp4"], content="another", duration_s=9.0)  # its length alone, by which it is cut
    assert 1 <= encoded_now(encode(folder)) < 200
    assert encoded_now(done := encode(folder, without=["v40.mp4"])) < 200 and done.items == there  # taken out
    with FeatureWriter(folder) as writer:
        writer.remove(["v99.mp4"])
    write(folder, ["w99.mp4"], content="v99.mp4")  # renamed
    assert encoded_now(encode(folder)) < 230
    write(folder, ["v55.mp4"], path="/elsewhere/v55.mp4")  # moved
    assert 1 <= encoded_now(encode(folder)) < 200
    found = open_codes(folder.parent / "codes.hcq")
    assert "/elsewhere/v55.mp4" in list(found.paths) and {"w99.mp4", "v40.mp4"} < set(found.ids)


def test_batches_are_full_but_for_those_before_a_cut_and_in_the_order_of_ids(folder: Path) -> None:
    batches = VideoBatches(MODEL, store := FeatureStore.open(folder))
    sizes = [len(batches.rows(number)) for number in range(len(batches))]
    assert sum(sizes) == batches.videos and max(sizes) == VIDEOS_AT_ONCE and min(sizes) > 0
    ids = [store.ids[row] for row in batches.rows(0, len(batches)).tolist()]
    assert ids == sorted(ids) and len({batches.digest(number) for number in range(len(batches))}) == len(batches)


def test_a_collection_without_videos_has_no_batch(folder: Path) -> None:
    with FeatureWriter(folder) as writer:
        writer.remove([f"v{number}.mp4" for number in range(1, VIDEOS)])
    assert encode(folder).items == 1
    assert encode(folder, without=["v0.mp4"]).items == 0


def test_codes_of_another_model_way_or_device_are_not_taken_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(folder)
    codes, store = folder.parent / "codes.hcq", FeatureStore.open(folder)
    known = known_batches([codes], open_codes(codes).header)
    digests = {batches.digest(0) for batches in [VideoBatches(MODEL, store, CUT)]}
    assert digests < set(known)
    assert not known_batches([codes], replace(open_codes(codes).header, model_hash="another"))
    assert VideoBatches(MODEL, store, Cutting(3.0)).digest(0) not in known
    monkeypatch.setattr("hcq_cli.model.video_batches.ENCODING_VERSION", 0)
    assert VideoBatches(MODEL, store, CUT).digest(0) not in known


def test_a_damaged_file_gives_nothing(folder: Path) -> None:
    encode(folder)
    codes = folder.parent / "codes.hcq"
    header, data = open_codes(codes).header, bytearray(codes.read_bytes())
    at = data.index(open_codes(codes).codes[:8].tobytes())
    data[at] ^= 1  # a bit of a code, which opening does not check
    codes.write_bytes(data)
    assert not known_batches([codes, folder.parent / "none.hcq"], header)
    assert encode(folder).taken_over == 0


def test_a_kill_leaves_the_old_file_or_the_new_one(folder: Path) -> None:
    encode(folder)
    codes = folder.parent / "codes.hcq"
    old = codes.read_bytes()
    write(folder, ["v200b.mp4"])
    encode(folder)
    new = codes.read_bytes()
    batches = VideoBatches(MODEL, FeatureStore.open(folder), CUT)

    def work() -> None:
        codes.write_bytes(old)
        encode_batches(batches, codes, known=known_batches([codes], header(MODEL, "videos")))

    for at, kind in each_fault(work, stride=3):
        codes.write_bytes(old)
        with suppress(HcqError), faulty(at, kind):
            encode_batches(batches, codes, known=known_batches([codes], header(MODEL, "videos")))
        assert codes.read_bytes() in (old, new), (at, kind)


def test_the_mean_batch_and_what_one_new_video_costs() -> None:
    from hcq_cli.model.video_batches import _begins

    keys = np.random.default_rng(0).integers(0, 2**63, 100_000).astype(np.uint64)
    assert 45 < len(keys) / (len(_begins(keys)) - 1) < 55
