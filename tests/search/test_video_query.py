"""Which experts here are those that a model was trained on. Whole video queries are in tests/commands."""

from __future__ import annotations

import pytest

from hcq_cli.errors import UsageError
from hcq_cli.model.config import ExpertConfig
from hcq_cli.search import video_query
from hcq_cli.search.video_query import match_experts


def identities_of(names: list[str], sample_fps: float | None, max_seconds: float | None) -> dict[str, ExpertConfig]:
    found = video_query._identities(names, sample_fps, max_seconds)
    return {name: ExpertConfig(8, identity) for name, identity in found.items()}


@pytest.mark.parametrize("sample_fps", [None, 2.0])
@pytest.mark.parametrize("max_seconds", [None, 12.5])
def test_the_settings_that_a_model_was_trained_with_are_found_again(
    sample_fps: float | None, max_seconds: float | None
) -> None:
    trained = identities_of(["appearance", "audio"], sample_fps, max_seconds)
    found = match_experts(trained)
    assert found.names == ["appearance", "audio"] and found.max_seconds == max_seconds
    assert identities_of(found.names, found.sample_fps, found.max_seconds) == trained


def test_experts_of_another_version_or_that_the_model_lacks_are_refused() -> None:
    trained = identities_of(["appearance"], None, None)
    with pytest.raises(UsageError, match="no expert 'face'"):
        match_experts(trained, ["face=somewhere"])
    older = {"appearance": ExpertConfig(8, trained["appearance"].identity.replace("|", "|0.", 1))}
    with pytest.raises(UsageError, match="trained on appearance features"):
        match_experts(older)
