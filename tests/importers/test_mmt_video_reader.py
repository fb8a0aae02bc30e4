"""Files of MMT are read in a child process: one that hangs or crashes it costs only itself."""

from __future__ import annotations

import numpy as np
import pytest
from mmt_files import video_bytes

from hcq_cli.errors import DamagedError
from hcq_cli.importers import mmt_video_reader
from hcq_cli.importers.mmt_video_file import read_video
from hcq_cli.importers.mmt_video_reader import VideoReader

WIDTHS = {"s3d": 4, "face": 3, "rgb": 2}


def test_a_file_that_hangs_the_library_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmt_video_reader, "MIN_LIMIT_S", 1.5)
    widths = {"s3d": 16, "vggish": 8}
    good = video_bytes(3, experts=list(widths), widths=widths)
    bad = bytearray(good)
    word = good.index(b"kitchen\0", good.index(b"GCOL"))
    bad[word - 8] ^= 0x40  # the length of a string, which leads out of its heap
    with VideoReader() as opened:
        assert opened.read(good, widths, widths).captions[2] == "in a kitchen"
        with pytest.raises(DamagedError):
            opened.read(bytes(bad), widths, widths)
        again = opened.read(good, widths, widths)
    there = read_video(good, widths, widths)
    np.testing.assert_array_equal(again.tokens["s3d"].features, there.tokens["s3d"].features)
    np.testing.assert_array_equal(again.tokens["s3d"].times, there.tokens["s3d"].times)
    assert (again.captions, again.duration_s, again.left_out) == (there.captions, there.duration_s, there.left_out)


def test_a_reading_process_that_dies_is_started_again() -> None:
    good = video_bytes(3, experts=["s3d"], widths={"s3d": 4})
    with VideoReader() as opened:
        opened.read(good, ["s3d"], WIDTHS)
        opened._process.kill()
        with pytest.raises(DamagedError, match="ended the reading process"):
            opened.read(good, ["s3d"], WIDTHS)
        assert len(opened.read(good, ["s3d"], WIDTHS).tokens["s3d"]) == 2
