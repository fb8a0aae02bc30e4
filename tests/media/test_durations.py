"""Durations by headers, opened where a crash or a hang costs nothing."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from sample_videos import film

from hcq_cli.media import durations as module
from hcq_cli.process import ChildProcess


def test_what_headers_say_in_the_order_asked_for(clips, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    found = list(module.durations([str(clips / "clip0.mp4"), str(broken), str(clips / "clip5.mp4")]))
    assert found[1] == 0
    assert (found[0], found[2]) == pytest.approx((1.0, 2.0), abs=0.1)


def test_of_films_behind_one_another_and_of_streams_it_is_not_said(clips, tmp_path):
    joined, stream = tmp_path / "joined.mp4", tmp_path / "browser.webm"
    joined.write_bytes((clips / "clip0.mp4").read_bytes() + (clips / "clip5.mp4").read_bytes())
    film(stream, np.arange(20) / 10, codec="libvpx", container_options={"live": "1"})
    assert list(module.durations([str(joined), str(stream)])) == [None, None]


def test_a_file_that_ends_the_process_has_none_and_the_next_is_opened(clips, monkeypatch):
    """The child is killed as it is asked for the first file, as a decoder that crashes would end it."""
    started = []

    class Fragile(ChildProcess):
        def send(self, message, payload=b""):
            if len(started) == 0:
                os.kill(self._process.pid, signal.SIGSEGV)
            started.append(message["path"])
            super().send(message, payload)

    monkeypatch.setattr(module, "ChildProcess", Fragile)
    first, second = module.durations([str(clips / "clip0.mp4"), str(clips / "clip1.mp4")])
    assert first == 0 and second == pytest.approx(1.2, abs=0.1)
