"""What a container says: size and date."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from hcq_cli.media.container_facts import ContainerFacts, container_facts, date_s
from hcq_cli.media.tracks import best_video


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2025-05-03T14:30:00.000000Z", 1746282600.0),
        ("2025-05-03T16:30:00+0200", 1746282600.0),
        ("2025-05-03 14:30:00", 1746282600.0),
        ("2025-05-03", 1746230400.0),
        ("1904-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("2999-01-01", None),
        ("2025", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_date_is_taken_if_it_can_be_true(text: str, seconds: float | None) -> None:
    assert date_s(text) == seconds


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_size_and_date_of_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    with av.open(str(path), "w") as out:
        out.metadata["creation_time"] = "2025-05-03T14:30:00.000000Z"
        stream = out.add_stream("mpeg4", 10)
        stream.width, stream.height = 96, 64
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert container_facts(container, best_video(container)) == ContainerFacts(96, 64, 1746282600.0)


def test_a_turned_picture_is_as_large_as_it_is_shown() -> None:
    assert ContainerFacts(1920, 1080).shown_as(90, 160) == ContainerFacts(1080, 1920)
    assert ContainerFacts(1920, 1080).shown_as(160, 90) == ContainerFacts(1920, 1080)
    assert ContainerFacts(64, 64).shown_as(90, 160) == ContainerFacts(64, 64)
