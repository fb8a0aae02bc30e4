"""What the tests of commands on videos share: small films, and planted decoders and experts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent.parent / "support" / "sample_plugins"


@pytest.fixture(scope="session")
def planted() -> dict[str, str]:
    """Environment in which the decoders and experts of tests/support/sample_plugins look installed."""
    paths = [str(PLUGINS), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six small clips with sound; not to be changed."""
    from sample_videos import clip

    folder = tmp_path_factory.mktemp("clips")
    for seed in range(6):
        clip(folder / f"clip{seed}.mp4", seconds=1.0 + 0.2 * seed, seed=seed)
    return folder
