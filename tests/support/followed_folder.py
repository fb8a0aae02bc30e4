"""A folder of tiny videos that changes from day to day, extracted in this very process."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sample_videos import clip
from serial_executor import SerialExecutor

from hcq_cli.api.extraction import known_roots
from hcq_cli.extraction.extract import extract
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.report import ExtractReport
from hcq_cli.features.store import FeatureStore
from hcq_cli.media.inputs import find_inputs

NAMES = ["audio"]


class FollowedFolder:
    """Videos of other bytes each, and a feature store that follows them."""

    def __init__(self, place: Path) -> None:
        self.place, self.store = place, place / "store"
        self._seed = clip(place / "seed.mp4", seconds=0.2)

    def add(self, *names: str) -> None:
        for name in names:
            path = self.place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._seed, path)
            with path.open("ab") as out:  # a box that players pass over makes the bytes its own
                note = os.fsencode(name)
                out.write((len(note) + 8).to_bytes(4, "big") + b"free" + note)

    def extract(self, *names: str, everything: bool = False, **options) -> ExtractReport:
        """Extract what `names` below the place stand for; the report remembers what was decoded."""
        inputs = find_inputs(
            [str(self.place / name) for name in names], known_roots(self.store), everything=everything
        )
        experts = load_experts(NAMES)
        for expert in experts:
            expert.prepare("cpu")
        asked = ExtractionOptions(self.store, **options)
        return extract(inputs, NAMES, asked, executor=SerialExecutor(experts, asked))

    @property
    def ids(self) -> list[str]:
        return sorted(FeatureStore.open(self.store).ids)
