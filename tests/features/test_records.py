"""The identity of features holds everything they depend on."""

from __future__ import annotations

from experts.base import Sampling
from hcq_cli.features.records import identity


def test_identity_holds_everything_a_feature_depends_on() -> None:
    class Expert:
        name, dim, version, weights = "motion", 3, "2", "w"
        sampling = Sampling(frames_per_second=2.0)

    plain = identity(Expert())  # type: ignore[arg-type]
    assert plain.startswith("motion|2|w|") and identity(Expert(), {"max_seconds": None}) == plain  # type: ignore
    assert identity(Expert(), {"max_seconds": 3}) != plain  # type: ignore[arg-type]
