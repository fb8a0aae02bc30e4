"""The video side of a checkpoint is exported once, and again only where that is of no use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_baselines import baseline
from small_models import batch, model

from hcq_cli.errors import HcqError
from hcq_cli.model import checkpoint
from hcq_cli.model.checkpoint import VIDEO_FILE
from hcq_cli.model.exported_video_encoder import ExportedVideoEncoder
from hcq_cli.model.trained_model import Model
from hcq_cli.model.video_side import export_video_side, open_video_encoder

GIVEN = batch({"appearance": [3, 1, 2], "audio": [0, 2, 2]})


def save(folder: Path, seed: int = 0) -> Model:
    made = model(seed)
    checkpoint.save(folder, made.network, made.caption_encoder)
    return made


def test_it_is_exported_once(tmp_path: Path) -> None:
    save(tmp_path)
    said: list[str] = []
    first = open_video_encoder(tmp_path, said.append)
    assert len(said) == 1 and "once" in said[0]
    written = (tmp_path / VIDEO_FILE).stat().st_mtime_ns
    again = open_video_encoder(tmp_path, said.append)
    assert len(said) == 1 and (tmp_path / VIDEO_FILE).stat().st_mtime_ns == written
    assert isinstance(first, ExportedVideoEncoder) and isinstance(again, ExportedVideoEncoder)
    assert (first.encode_codes(GIVEN) == again.encode_codes(GIVEN)).all()
    assert checkpoint.load(tmp_path).hash == again.hash, "it is no part of the model"


@pytest.mark.parametrize("harm", ["cut", "flipped", "foreign", "folder"])
def test_a_damaged_one_is_made_anew(tmp_path: Path, harm: str) -> None:
    save(tmp_path)
    codes = open_video_encoder(tmp_path).encode_codes(GIVEN)
    file = tmp_path / VIDEO_FILE
    whole = file.read_bytes()
    if harm == "folder":
        file.unlink()
        file.mkdir()
    else:
        flipped = whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
        file.write_bytes({"cut": whole[:-9], "flipped": flipped, "foreign": b"GIF89a" * 99}[harm])
    assert (open_video_encoder(tmp_path).encode_codes(GIVEN) == codes).all()
    assert file.is_dir() or file.read_bytes()[5000] == whole[5000]


def test_that_of_another_model_is_not_taken(tmp_path: Path) -> None:
    save(tmp_path)
    first = open_video_encoder(tmp_path)
    kept = (tmp_path / VIDEO_FILE).read_bytes()
    other = save(tmp_path, seed=1)
    assert not (tmp_path / VIDEO_FILE).exists(), "what follows from the model before goes with it"
    (tmp_path / VIDEO_FILE).write_bytes(kept)  # as a process does that has read that model just before
    found = open_video_encoder(tmp_path)
    assert found.hash == checkpoint.model_hash(tmp_path) != first.hash
    assert np.abs(found.encode_videos(GIVEN) - other.encode_videos(GIVEN)).max() < 1e-4


def test_a_checkpoint_that_nobody_may_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = save(tmp_path)

    def full(*args: object, **kwargs: object) -> None:
        raise HcqError("no space left")

    monkeypatch.setattr("hcq_cli.model.video_export.atomic_open", full)
    found = open_video_encoder(tmp_path)
    assert isinstance(found, ExportedVideoEncoder) and not (tmp_path / VIDEO_FILE).exists()
    assert (found.encode_codes(GIVEN) == made.encode_codes(GIVEN)).all()


def test_where_it_cannot_be_exported_torch_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = save(tmp_path)

    def fail(*args: object, **kwargs: object) -> None:
        raise HcqError("the model's video side cannot be exported (no such operator)")

    monkeypatch.setattr("hcq_cli.model.video_export.export_video_encoder", fail)
    said: list[str] = []
    found = open_video_encoder(tmp_path, said.append)
    assert isinstance(found, Model) and "no such operator" in said[-1] and "torch" in said[-1]
    assert (found.encode_codes(GIVEN) == made.encode_codes(GIVEN)).all()


def test_a_failing_export_of_a_new_model_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path)

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("hcq_cli.model.video_export.export_video_encoder", fail)
        export_video_side(tmp_path)
    assert not (tmp_path / VIDEO_FILE).exists()
    export_video_side(tmp_path)
    assert isinstance(open_video_encoder(tmp_path), ExportedVideoEncoder) and (tmp_path / VIDEO_FILE).is_file()


def test_a_model_without_codes_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    made = baseline("hct")
    checkpoint.save(tmp_path, made.network, made.caption_encoder)
    with pytest.raises(HcqError, match="no codes"):
        open_video_encoder(tmp_path)
    export_video_side(tmp_path)
    assert not (tmp_path / VIDEO_FILE).exists()
