"""How fast extraction is, beside decoding alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_videos import real_clips

from hcq_cli.bench.extraction import ExtractionTimes, PassTime

FEW = ("--experts", "appearance,audio")


def test_what_is_beyond_decoding_is_compared_with_the_slowest_alone() -> None:
    alone = {"fast": PassTime(2.0, 1.0), "slow": PassTime(4.0, 1.0)}
    both = {"decode_only": PassTime(5.0, 2.0), "extract": PassTime(7.0, 1.5)}
    times = ExtractionTimes(videos=1, failed=0, media_s=10.0, frames=100, workers=2, **both, alone=alone)
    assert (times.ratio, times.together) == (1.4, 0.5)
    assert ExtractionTimes(videos=1, failed=0, media_s=10.0, frames=100, workers=2, **both).together is None


def test_bench_times_each_expert_alone(hcq, clips: Path) -> None:
    measured = hcq("bench", "extract", clips / "clip0.mp4", *FEW, "--alone", "--json").json
    assert set(measured["alone"]) == {"appearance", "audio"} and measured["frames"] == 10
    beyond = measured["extract"]["seconds"] - measured["decode_only"]["seconds"]
    slowest = max(pace["seconds"] for pace in measured["alone"].values())
    assert measured["together"] == pytest.approx(beyond / slowest)


@pytest.mark.slow
def test_time_as_a_multiple_of_decoding(hcq, shared: Path) -> None:
    run = ("bench", "extract", *real_clips(shared), "--workers", "2", "--alone", "--json")
    measured = hcq(*run, timeout=900).json
    print(json.dumps(measured))
    assert (measured["videos"], measured["failed"], measured["workers"]) == (56, 0, 2)
    assert 1 < measured["ratio"] < 4
    assert set(measured["alone"]) == {"appearance", "motion", "audio", "face"}
    assert measured["together"] <= 1.5
