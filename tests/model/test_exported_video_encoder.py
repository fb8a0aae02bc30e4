"""The file of an exported video encoder: what it is of, and what it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_models import batch, model

from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.model import checkpoint
from hcq_cli.model.checkpoint import VIDEO_FILE, CheckpointHeader
from hcq_cli.model.exported_video_encoder import ExportedVideoEncoder
from hcq_cli.model.video_side import open_video_encoder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CheckpointHeader]:
    folder = tmp_path_factory.mktemp("model")
    exact = model()
    checkpoint.save(folder, exact.network, exact.caption_encoder)
    open_video_encoder(folder)
    return folder / VIDEO_FILE, checkpoint.read_header(folder)


def test_it_is_of_one_model(made: tuple[Path, CheckpointHeader]) -> None:
    path, header = made
    assert ExportedVideoEncoder(path, header).hash == header.hash
    with pytest.raises(HcqError, match="of another model"):
        ExportedVideoEncoder(path, replace(header, hash="0" * 64))


def test_every_changed_bit_is_found(made: tuple[Path, CheckpointHeader], tmp_path: Path) -> None:
    path, header = made
    whole = path.read_bytes()
    for at in (70, len(whole) // 3, len(whole) * 2 // 3, len(whole) - 9000, len(whole) - 3):
        (tmp_path / VIDEO_FILE).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(DamagedError, match=r"video\.hcq"):
            ExportedVideoEncoder(tmp_path / VIDEO_FILE, header)


def test_features_of_another_width_are_refused(made: tuple[Path, CheckpointHeader]) -> None:
    found = ExportedVideoEncoder(*made)
    given = batch({"appearance": [2], "audio": [2]})
    wide = VideoBatch({**given.features, "audio": np.zeros((1, 2, 9), np.float32)}, given.times, given.mask)
    with pytest.raises(HcqError, match="audio are 9 wide; the model was trained on 5"):
        found.encode_codes(wide)
