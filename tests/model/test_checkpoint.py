"""A checkpoint comes back whole, alone in its folder, or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import CAPTIONS, batch, model

from hcq_cli.errors import DamagedError, HcqError, NotFoundError
from hcq_cli.model import checkpoint
from hcq_cli.model.checkpoint import Model

VIDEOS = {"appearance": [3, 1], "audio": [2, 0]}


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Model, Path]:
    made = model()
    checkpoint.save(tmp_path / "run", made.network, made.caption_encoder, {"epoch": 3})
    return made, tmp_path / "run"


def test_round_trip(saved: tuple[Model, Path], tmp_path: Path) -> None:
    made, folder = saved
    moved = shutil.move(folder, tmp_path / "else where")
    found = checkpoint.load(Path(moved))
    np.testing.assert_array_equal(found.encode_texts(CAPTIONS), made.encode_texts(CAPTIONS))
    np.testing.assert_array_equal(found.encode_codes(batch(VIDEOS)), made.encode_codes(batch(VIDEOS)))
    np.testing.assert_array_equal(found.codebooks, made.codebooks)
    assert found.config == made.config
    assert found.hash == checkpoint.model_hash(Path(moved)) and len(found.hash) == 64
    assert checkpoint.read_header(Path(moved)).about == {"epoch": 3}
    assert not list(Path(moved).glob(".*"))


def test_the_hash_follows_every_weight_and_the_config(tmp_path: Path) -> None:
    def digest(made: Model, about: dict[str, int]) -> str:
        return checkpoint.save(tmp_path / "run", made.network, made.caption_encoder, about)

    plain = digest(model(), {})
    assert digest(model(), {"epoch": 1}) == plain
    assert digest(model(coarse_weight=0.5), {}) != plain
    changed = model()
    with torch.no_grad():
        next(changed.network.text_encoder.parameters()).view(-1)[0] += 1e-3
    assert digest(changed, {}) != plain


def test_no_checkpoint_and_an_unfinished_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        checkpoint.load(tmp_path)
    assert "hcq train" in caught.value.hint
    (tmp_path / "resume").mkdir()
    with pytest.raises(NotFoundError, match="not finished"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "text_encoder.json", "text.json", "config.json"]
)
def test_one_changed_byte_is_found(saved: tuple[Model, Path], name: str) -> None:
    path = saved[1] / name
    content = bytearray(path.read_bytes())
    at = path.read_bytes().index(b'"hash": "') + 12 if name == "config.json" else len(content) // 2
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError) as caught:
        checkpoint.load(saved[1])
    assert name in caught.value.message and caught.value.hint


def test_a_missing_file_a_foreign_and_a_newer_config(saved: tuple[Model, Path]) -> None:
    config = saved[1] / "config.json"
    document = json.loads(config.read_text())
    for change, said in (({"version": 2}, "upgrade"), ({"format": "other"}, "hcq train")):
        config.write_text(json.dumps({**document, **change}))
        with pytest.raises(DamagedError) as caught:
            checkpoint.load(saved[1])
        assert said in caught.value.hint
    config.write_text(json.dumps(document))
    (saved[1] / "tokenizer.json").unlink()
    with pytest.raises(DamagedError, match=r"tokenizer\.json"):
        checkpoint.load(saved[1])


@pytest.mark.parametrize("name", ["../secret", "/dev/zero", "/etc/passwd", "a/b", ".", "..", "", "a\0"])
def test_a_config_names_no_file_outside(saved: tuple[Model, Path], name: str) -> None:
    config = saved[1] / "config.json"
    document = json.loads(config.read_text())
    for files in ({**document["files"], name: "0" * 64}, [name], name, {}, {"model.safetensors": "0" * 64}):
        config.write_text(
            json.dumps({**document, "files": files, "hash": checkpoint._hash(document["model"], files)})
        )
        with pytest.raises(DamagedError, match="makes no sense"):
            checkpoint.load(saved[1])


def test_a_file_of_a_checkpoint_is_read_from_no_pipe_or_device(saved: tuple[Model, Path]) -> None:
    """A link to a file is followed: its content is the model's, or the checksum tells."""
    whole = checkpoint.load(saved[1]).hash
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        path, kept = saved[1] / name, saved[1] / "kept"
        path.rename(kept)
        path.symlink_to(kept)
        assert checkpoint.load(saved[1]).hash == whole
        for target in ("/dev/zero", "/etc/passwd"):
            path.unlink()
            path.symlink_to(target)
            with pytest.raises(HcqError):
                checkpoint.load(saved[1])
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(HcqError):
            checkpoint.load(saved[1])
        path.unlink()
        kept.rename(path)


def test_features_of_another_width_are_refused(saved: tuple[Model, Path]) -> None:
    videos = batch(VIDEOS)
    videos.features["audio"] = videos.features["audio"][..., :3]
    with pytest.raises(HcqError, match="3 wide; the model was trained on 5"):
        checkpoint.load(saved[1]).encode_videos(videos)


def test_undecodable_bytes_in_a_query_are_encoded(saved: tuple[Model, Path]) -> None:
    found = saved[0].encode_texts(["a \udcff dog", "", "漢字 🎬"])
    assert np.isfinite(found).all()
    assert saved[0].encode_texts([]).shape == (0, 4, 32)
