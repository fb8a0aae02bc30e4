"""The siblings and post-compression as a person runs them; bad input to train, encode and eval."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import SMALL, caption, video, write_captions, write_store

from hcq_cli.codes.codefile import open_codes
from hcq_cli.datasets.captions import read_captions
from hcq_cli.datasets.dataset import load_dataset
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.checkpoint import load
from hcq_cli.training import recipe as recipes
from hcq_cli.training.data import training_data
from hcq_cli.training.loop import train

Run = Callable[..., object]
Kinds = Callable[[str], str]
QUICK = [*SMALL, "model.levels=3", "training.epochs=3", "training.min_steps=30"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose split is marked."""
    folder = tmp_path_factory.mktemp("siblings")
    write_store(folder / ".hcq" / "features", [video(n) for n in range(52)])
    parts = [write_captions(folder / "part", range(40), "train").read_text()]
    parts.append(write_captions(folder / "part", range(40, 52), "test").read_text())
    (folder / "captions.jsonl").write_text("".join(parts))
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> Kinds:
    """Trains a model of a kind, when it is first asked for; gives its folder in the workspace's."""
    store = FeatureStore.open(place / ".hcq" / "features")
    data = training_data(store, load_dataset(store, read_captions(place / "captions.jsonl")))

    @cache
    def train_kind(kind: str) -> str:
        recipe = recipes.load("default", [*QUICK, f"model.kind={kind}"])
        train(data, recipe, place / kind, about={"captions": str(place / "captions.jsonl")})
        return kind

    return train_kind


def test_train_takes_a_kind(hcq: Run, place: Path, tmp_path: Path) -> None:
    settings = [part for setting in QUICK for part in ("--set", setting)]
    arguments = ("train", "--captions", "captions.jsonl", *settings)
    done = hcq(*arguments, "--model", "dcmh", "-o", tmp_path / "run", "--json", cwd=place).json
    assert done["epochs"] == 3 and done["metrics"]["used_codewords"] is None
    assert "known are hcq, hct, jpq, dcmh" in hcq(*arguments, "--model", "abc", cwd=place, code=2).err


@pytest.mark.long
def test_hct_is_dense_everywhere(hcq: Run, place: Path, trained: Kinds) -> None:
    measured = hcq("eval", "--ckpt", trained("hct"), "--json", cwd=place).json
    assert measured["bytes_per_video"] == measured["dense_bytes_per_video"] == 4 * 4 * 32
    assert measured["t2v"] == measured["dense"]["t2v"] and measured["model"] == "hct"
    refused = hcq("encode", "--ckpt", trained("hct"), cwd=place, code=1).err
    assert "dense vectors alone (512 bytes a video)" in refused and "hcq eval --compress" in refused
    assert not (place / ".hcq" / "codes.hcq").exists()


@pytest.mark.slow
def test_binary_codes_are_indexed_and_searched_as_any_others(
    hcq: Run, place: Path, trained: Kinds, tmp_path: Path
) -> None:
    encoded = hcq("encode", "--ckpt", trained("dcmh"), "-o", tmp_path / "codes.hcq", "--json", cwd=place).json
    assert (encoded["levels"], encoded["codebooks"], encoded["codewords"]) == (1, 16, 256)
    assert (encoded["bytes_per_video"], encoded["videos"]) == (16, 52)
    hcq("index", "build", tmp_path / "codes.hcq", "-w", tmp_path / "w", cwd=place)
    query = ("query", caption(3), "-k", "52", "--json", "--ckpt", trained("dcmh"))
    hits = hcq(*query, "-w", tmp_path / "w", cwd=place).json["hits"]
    file = open_codes(tmp_path / "codes.hcq")
    signs = np.unpackbits(file.codes, axis=1, bitorder="little") * 2.0 - 1
    scores = load(place / trained("dcmh")).encode_texts([caption(3)])[0, 0] @ signs.T / np.sqrt(128)
    wanted = dict(zip(file.ids, scores.tolist(), strict=True))
    assert [hit["score"] for hit in hits] == pytest.approx([wanted[hit["id"]] for hit in hits], abs=1e-5)
    assert len(hits) == 52 and hits[0]["score"] == pytest.approx(max(wanted.values()), abs=1e-5)


def test_jpq_is_measured_by_its_codes(hcq: Run, place: Path, trained: Kinds) -> None:
    measured = hcq("eval", "--ckpt", trained("jpq"), "--compress", "itq,lsh", "--json", cwd=place)
    assert (measured.json["bytes_per_video"], measured.json["dense_bytes_per_video"]) == (16, 128)
    # One bit a dimension is all that ITQ can make: it is left out, and said so.
    assert [row["method"] for row in measured.json["compress"]] == ["lsh"] and "left out: itq" in measured.err


@pytest.mark.long
def test_post_compression_side_by_side(hcq: Run, place: Path, trained: Kinds, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    picture = tmp_path / "recall.png"
    compress = ("--compress", "lsh,itq,pq,opq")
    arguments = ("eval", "--ckpt", trained("hct"), *compress, "--bytes", "8,16", "--plot", picture)
    ran = hcq(*arguments, "--json", cwd=place)
    rows = ran.json["compress"]
    assert [(row["method"], row["bytes_per_video"]) for row in rows] == [
        *((name, 8) for name in ("lsh", "itq", "pq", "opq")),
        *((name, 16) for name in ("lsh", "itq", "pq", "opq")),
    ]
    for row in rows:
        assert set(row["t2v"]) == set(row["v2t"]) == {"R1", "R5", "R10", "R50", "MedR", "MeanR", "GM"}
    assert picture.read_bytes().startswith(b"\x89PNG") and ran.json["plot"] == str(picture)
    people = hcq("eval", "--ckpt", trained("hcq"), "--compress", "opq", cwd=place)
    assert "dense + opq" in people.out and "codes" in people.out
    assert hcq("eval", "--compress", "best", cwd=place, code=2).err.count("known are lsh, itq, pq, opq, lsq") == 1
    assert "not a multiple of the model's 4 levels" in hcq(*arguments[:5], "--bytes", "9", cwd=place, code=2).err


def test_the_document_of_eval_is_the_one_promised(hcq: Run, place: Path, trained: Kinds) -> None:
    measured = hcq("eval", "--ckpt", trained("hcq"), "--json", cwd=place).json
    metrics = {"R1", "R5", "R10", "R50", "MedR", "MeanR", "GM"}
    assert set(measured["t2v"]) == set(measured["v2t"]) == metrics
    assert set(measured["dense"]["t2v"]) == set(measured["dense"]["v2t"]) == metrics
    assert (measured["bytes_per_video"], measured["videos"], measured["texts"]) == (16, 12, 24)
    assert measured["compress"] == [] and json.dumps(measured)
