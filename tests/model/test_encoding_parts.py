"""Codes made in parts by several runs are the file that one run makes, bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from feature_samples import video
from small_models import EXPERTS, model

from hcq_cli.codes.codefile import open_codes
from hcq_cli.datasets.segments import WHOLE, Cutting
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.model import encoding_parts
from hcq_cli.model.encoding import EncodeResult, encode_batches, header
from hcq_cli.model.encoding_parts import encode_share, parts_of, remove_parts
from hcq_cli.model.trained_model import Model
from hcq_cli.model.video_batches import KnownBatches, VideoBatches, known_batches
from hcq_cli.shares import Share

VIDEOS = 250
CUT = Cutting(8.0, shots=False)
"""So short that most videos have segments, too."""
MODEL = model()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder, dims = tmp_path_factory.mktemp("parts"), {name: expert.dim for name, expert in EXPERTS.items()}
    with FeatureWriter(folder / "features") as writer:
        videos = (video(f"v{number}.mp4", list(dims), dims=dims) for number in range(VIDEOS))
        writer.add_videos(replace(each, duration_s=20.0) for each in videos)
    return FeatureStore.open(folder / "features")


@pytest.fixture(autouse=True)
def a_batch_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding_parts, "PART_BATCHES", 1)


def known(codes: Path, network: Model = MODEL) -> KnownBatches:
    return known_batches([codes, *parts_of(codes)], header(network, "videos"))


def join(batches: VideoBatches, codes: Path) -> EncodeResult:
    joined = encode_batches(batches, codes, known=known(codes))
    remove_parts(codes)
    return joined


def test_parts_of_any_runs_in_any_order_are_the_whole(store: FeatureStore, tmp_path: Path) -> None:
    codes = tmp_path / "codes.hcq"
    batches = VideoBatches(MODEL, store, CUT, without={"v7.mp4"})
    expected = encode_batches(batches, codes)
    whole = codes.read_bytes()
    assert expected.rows > expected.items and len(batches) > 3
    left_out = [id for id in store.ids if id != "v7.mp4" and id not in set(open_codes(codes).ids)]
    assert len(left_out) == expected.without_features > 3
    assert expected.warnings[-1].endswith(f"(hcq features show ID says why): {', '.join(left_out[:3])}, …")
    for order in ([1, 2, 3], [3, 1, 2, 3], [2]):  # one twice; two that never came
        codes.unlink()
        told: list[int] = []
        shares = [encode_share(batches, codes, Share(number, 3), known(codes), told.append) for number in order]
        assert sum(told) == sum(share.items for share in shares) and not codes.exists()
        joined = join(batches, codes)
        assert codes.read_bytes() == whole and not parts_of(codes)
        assert (joined.taken_over == joined.items) == (len(order) > 2)
        for name in ("items", "rows", "without_features", "warnings", "hours", "model"):
            assert getattr(joined, name) == getattr(expected, name), name


def test_parts_of_anything_else_are_not_taken(store: FeatureStore, tmp_path: Path) -> None:
    codes = tmp_path / "codes.hcq"
    encode_share(VideoBatches(MODEL, store), codes, Share(1, 1), known(codes))
    others = [(MODEL, CUT), (model(seed=1), WHOLE)]
    others[1][0].hash = "of another model"
    for network, cutting in others:
        encode_batches(VideoBatches(network, store, cutting), tmp_path / "fresh.hcq")
        done = encode_batches(VideoBatches(network, store, cutting), codes, known=known(codes, network))
        assert done.taken_over == 0 and codes.read_bytes() == (tmp_path / "fresh.hcq").read_bytes()


def test_a_damaged_part_is_made_again(store: FeatureStore, tmp_path: Path) -> None:
    codes, batches = tmp_path / "codes.hcq", VideoBatches(MODEL, store)
    encode_batches(batches, codes)
    whole = codes.read_bytes()
    codes.unlink()
    encode_share(batches, codes, Share(1, 1), known(codes))
    first, *_ = parts_of(codes)
    first.write_bytes(first.read_bytes()[:-100])
    encode_share(batches, codes, Share(1, 1), known(codes))
    assert join(batches, codes).taken_over == batches.videos
    assert codes.read_bytes() == whole


def test_the_whole_may_be_put_together_while_a_run_is_at_a_part(store: FeatureStore, tmp_path: Path) -> None:
    codes, batches = tmp_path / "codes.hcq", VideoBatches(MODEL, store)

    def meanwhile(count: int) -> None:  # the part that is being written has no name yet
        join(batches, codes)

    done = encode_share(batches, codes, Share(1, 1), known(codes), meanwhile)
    assert done.items == batches.videos and len(parts_of(codes)) == 1  # the last one, which the whole came before
    assert join(batches, codes).taken_over == batches.videos and not (tmp_path / "codes.hcq.parts").exists()


def test_a_folder_of_parts_that_vanishes_as_one_begins_is_made_again(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, batches, begun = tmp_path / "codes.hcq", VideoBatches(MODEL, store), list[int]()

    def encode_later(*given: Any, **how: Any) -> EncodeResult:
        begun.append(1)
        if len(begun) == 1:
            raise FileNotFoundError
        return encode_batches(*given, **how)

    monkeypatch.setattr(encoding_parts, "encode_batches", encode_later)
    assert encoding_parts.make_part(batches, range(1), codes) and len(parts_of(codes)) == 1


def test_a_part_is_given_up_where_the_folder_of_the_command_has_gone(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, tries, encode = VideoBatches(MODEL, store, CUT), list[Path](), encode_batches

    def counted(batches: VideoBatches, path: Path, *rest: Any, **how: Any) -> EncodeResult:
        tries.append(path)
        assert len(tries) < 50, "it never ends"
        return encode(batches, path, *rest, **how)

    monkeypatch.setattr(encoding_parts, "encode_batches", counted)
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    with pytest.raises(FileNotFoundError):
        encoding_parts.make_part(batches, range(1), Path("codes.hcq"))
