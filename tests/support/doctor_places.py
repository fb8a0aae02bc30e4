"""What the doctor is shown: broken modules that stand before the installed ones, and a small workspace."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from feature_samples import write_in_turn
from handmade import names, random_codes, write_codes
from indexes import build

from experts.base import Tokens
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.workspace import Workspace


def plant(folder: Path, **modules: str) -> dict[str, str]:
    """Modules that stand before the installed ones; gives the environment in which they do."""
    folder.mkdir(exist_ok=True)
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}


def small_workspace(folder: Path) -> Workspace:
    """A workspace with two videos extracted, encoded and indexed; no checkpoint."""
    place = Workspace(folder / ".hcq")
    for at in range(2):
        tokens = Tokens(np.ones((3, 4), np.float32), np.arange(3, dtype=np.float32))
        facts = VideoFeatures(
            f"{at}.mp4",
            f"/v/{at}.mp4",
            str(at) * 64,
            1,
            1,
            1.0,
            "pyav",
            [],
            {"motion": tokens},
            {"motion": "motion|1||"},
        )
        write_in_turn(place.features, facts)
    with FeatureWriter(place.features) as writer:
        writer.compact()
    write_codes(place.codes, names(2), random_codes(2))
    build(place.index, [place.codes])
    return place
