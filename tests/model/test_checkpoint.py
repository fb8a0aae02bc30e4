"""A checkpoint comes back whole, alone in its folder, or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import STRIDES, each_fault, faulty
from small_models import CAPTIONS, batch, model

from hcq_cli.errors import DamagedError, HcqError, NotFoundError
from hcq_cli.model import checkpoint
from hcq_cli.model.trained_model import Model

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


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_another_model_keeps_the_earlier_one_beside_it(saved: tuple[Model, Path]) -> None:
    made, folder = saved
    old = checkpoint.model_hash(folder)
    (folder.parent / "tower-x.hcq").write_text("a tower")
    fitted = checkpoint.save(folder, made.network, made.caption_encoder, towers=[folder.parent / "tower-x.hcq"])
    for seed in (1, 1, 2):
        other = model(seed)
        checkpoint.save(folder, other.network, other.caption_encoder, metrics="{}\n" if seed == 1 else "")
    assert len(checkpoint.earlier(folder)) == 3 and folder / "earlier" / old[:12] in checkpoint.earlier(folder)
    found = checkpoint.load(folder / "earlier" / old[:12])
    assert found.hash == old
    np.testing.assert_array_equal(found.encode_texts(CAPTIONS), made.encode_texts(CAPTIONS))
    assert not {"metrics.jsonl", "tower-x.hcq"} & files(folder)  # those of the earlier models went with them
    assert (folder / "earlier" / fitted[:12] / "tower-x.hcq").read_text() == "a tower"


@pytest.mark.parametrize("stride", STRIDES)
def test_a_fault_at_any_call_leaves_the_old_or_the_new_model(
    saved: tuple[Model, Path], tmp_path: Path, stride: int
) -> None:
    """Killed before or after any write, sync, link, rename and removal, or with the disk full there."""
    old, new = saved[1], model(1)
    clean = shutil.copytree(old, tmp_path / "clean")
    hashes = {checkpoint.model_hash(old), checkpoint.save(clean, new.network, new.caption_encoder, metrics="{}\n")}
    after = files(clean)

    def work() -> None:
        folder = shutil.copytree(old, tmp_path / "work")
        checkpoint.save(folder, new.network, new.caption_encoder, metrics="{}\n")
        shutil.rmtree(folder)

    for at, kind in each_fault(work, stride):
        folder = shutil.copytree(old, tmp_path / f"{at} {kind}")
        try:
            with faulty(at, kind):
                checkpoint.save(folder, new.network, new.caption_encoder, metrics="{}\n")
        except HcqError as error:
            assert str(folder) in error.message, (at, kind)
            assert kind != "ENOSPC" or "MB or more are needed" in error.message, (at, kind)
        assert checkpoint.load(folder).hash in hashes, (at, kind)
        checkpoint.save(folder, new.network, new.caption_encoder, metrics="{}\n")
        assert files(folder) == after, (at, kind)
        shutil.rmtree(folder)


def test_a_model_that_is_replaced_while_it_is_read_is_read_anew(saved: tuple[Model, Path], monkeypatch) -> None:
    new, verify, turns = model(1), checkpoint.CheckpointHeader.verify, [1]

    def interrupted(header: checkpoint.CheckpointHeader) -> None:
        if turns:
            turns.pop()
            checkpoint.save(saved[1], new.network, new.caption_encoder)
        verify(header)

    monkeypatch.setattr(checkpoint.CheckpointHeader, "verify", interrupted)
    assert checkpoint.load(saved[1]).hash == checkpoint.model_hash(saved[1])


def test_other_programs_files_and_newer_checkpoints_are_not_replaced(saved: tuple[Model, Path]) -> None:
    made, folder = saved
    for document in ({"model_type": "bert"}, {"format": checkpoint.FORMAT, "version": 99}):
        (folder / "config.json").write_text(json.dumps(document))
        for work in (checkpoint.need_own, lambda at: checkpoint.save(at, made.network, made.caption_encoder)):
            with pytest.raises(DamagedError):
                work(folder)
        assert json.loads((folder / "config.json").read_text()) == document
    (folder / "config.json").write_text("{ damaged")
    checkpoint.save(folder, made.network, made.caption_encoder)
    assert (checkpoint.earlier(folder)[0] / "model.safetensors").is_file()


def test_no_flip_of_a_bit_in_config_json_goes_unseen(saved: tuple[Model, Path]) -> None:
    path = saved[1] / "config.json"
    content, unseen = path.read_bytes(), []
    for at in range(0, len(content), 5):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            checkpoint.read_header(saved[1])
        except DamagedError:
            continue
        unseen.append((at, bytes(flipped[at - 9 : at + 9])))
    assert unseen == []


def test_an_earlier_versions_config_has_no_checksum(saved: tuple[Model, Path]) -> None:
    path = saved[1] / "config.json"
    document = json.loads(path.read_text())
    del document["checksum"]
    path.write_text(json.dumps(document))
    assert checkpoint.load(saved[1]).hash == document["hash"]


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


ODD = (None, True, -1, 0, 1, 2**31, 2**62, 10**400, 0.5, -1e308, "", "x", "../x", "\x1b[2J", [], [[]], {}, {"a": 1})


def spoiled(document: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A config of which some value is another one, is missing, or has one more beside it; hash and checksum right."""
    changed = json.loads(json.dumps(document))
    where: Any = changed
    while True:
        key = list(where)[rng.integers(len(where))] if isinstance(where, dict) else int(rng.integers(len(where)))
        if not isinstance(where[key], dict | list) or not where[key] or rng.random() < 0.15:
            break
        where = where[key]
    way = rng.integers(8)
    if way == 0 and isinstance(where, dict):
        del where[key]
    elif way == 1 and isinstance(where, dict):
        where["more"] = ODD[rng.integers(len(ODD))]
    else:
        where[key] = ODD[rng.integers(len(ODD))]
    if isinstance(changed.get("model"), dict) and isinstance(changed.get("files"), dict) and "hash" in changed:
        changed["hash"] = checkpoint._hash(changed["model"], changed["files"])
    return changed


def test_hostile_values_with_right_checksums_are_hcqs_own_error(saved: tuple[Model, Path]) -> None:
    path, rng, refused = saved[1] / "config.json", np.random.default_rng(7), 0
    document = {name: value for name, value in json.loads(path.read_text()).items() if name != "checksum"}
    for _ in range(300):
        checkpoint.write_signed(path, spoiled(document, rng))
        try:
            checkpoint.load(saved[1])
        except DamagedError as error:
            refused += 1
            assert error.exit_code == 4 and error.hint and "\x1b" not in error.message, error.message
        except HcqError as error:
            assert "upgrade" in error.hint, error
    assert refused > 150  # the others are harmless: another dropout, a word more about the training
