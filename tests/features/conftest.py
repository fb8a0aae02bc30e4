"""What tests of damage share."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_samples import STORED

from hcq_cli.features.writer import FeatureWriter


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of one shard, which holds `STORED`."""
    with FeatureWriter(tmp_path / "s") as writer:
        writer.add_videos(STORED)
    return tmp_path / "s"
