"""How to extract: what is refused, what a worker may take, and how many there are."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from hcq_cli.cores import cores
from hcq_cli.errors import UsageError
from hcq_cli.extraction.options import ExtractionOptions, load_experts

STORE = Path("/store")


def test_memory_is_limited_by_option_environment_or_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HCQ_MEMORY_LIMIT_GIB", raising=False)
    assert ExtractionOptions(STORE).memory_limit_bytes == 4 << 30
    monkeypatch.setenv("HCQ_MEMORY_LIMIT_GIB", "1.5")
    assert ExtractionOptions(STORE).memory_limit_bytes == 3 << 29
    assert ExtractionOptions(STORE, memory_gib=2).memory_limit_bytes == 2 << 30
    assert ExtractionOptions(STORE, device="cuda").memory_limit_bytes == 0
    monkeypatch.setenv("HCQ_MEMORY_LIMIT_GIB", "plenty")
    with pytest.raises(UsageError, match="plenty"):
        ExtractionOptions(STORE)


@pytest.mark.parametrize(("decoder", "known"), [("auto", True), ("pyav", True), ("a.b:C", True), ("vlc", False)])
def test_a_decoder_is_built_in_or_names_a_class(decoder: str, known: bool) -> None:
    with nullcontext() if known else pytest.raises(UsageError, match=decoder):
        ExtractionOptions(STORE, decoder=decoder)


def test_no_more_workers_than_videos_or_cores() -> None:
    assert ExtractionOptions(STORE).worker_count(10**6) == cores()
    assert ExtractionOptions(STORE, workers=3).worker_count(2) == 2
    assert ExtractionOptions(STORE, workers=3).worker_count(0) == 1


def test_a_worker_gets_the_same_options() -> None:
    options = ExtractionOptions(STORE, "pyav", 2, timeout_s=3.5, max_seconds=9, memory_gib=1)
    assert ExtractionOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_frames_a_second_are_set_for_those_that_see() -> None:
    appearance, audio = load_experts(["appearance", "audio"], sample_fps=5.0)
    assert (appearance.sampling.frames_per_second, audio.sampling.frames_per_second) == (5.0, None)
    with pytest.raises(UsageError, match="smell"):
        load_experts(["smell"])
