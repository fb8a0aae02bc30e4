"""A long video flows through in the memory of a short one, and at its cost a minute."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np
import pytest
from sample_videos import film
from watched_extraction import extract_watched

CLASSIC = "appearance,motion,audio,face"
MINUTE_S = 60
MOST_BYTES = 1 << 30
MOST_PARENT_BYTES = 500 << 20


def a_minute(path: Path) -> Path:
    """Sixty seconds of small moving pictures and of a melody, at 24 frames a second."""
    rng = np.random.default_rng(3)
    ground = np.kron(rng.integers(0, 255, (12, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    images = [np.roll(ground, (at % 96, 2 * at % 128), axis=(0, 1)) for at in range(MINUTE_S * 24)]
    at = np.arange(MINUTE_S * 16_000) / 16_000
    melody = 0.3 * np.sin(2 * np.pi * 220 * 2 ** (np.floor(2 * at) % 12 / 12) * at)
    times = np.arange(len(images)) / 24
    options = {"preset": "ultrafast", "g": "48", "bf": "0"}
    return film(path, times, images, melody.astype(np.float32), options=options, sound_codec="mp2")


def repeated(minute: Path, path: Path, minutes: int) -> Path:
    """The packets of a minute, again and again: two hours cost no encoding."""
    with av.open(str(path), "w") as out:
        with av.open(str(minute)) as source:
            tracks = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        for number in range(minutes):
            with av.open(str(minute)) as source:
                for packet in source.demux():
                    if packet.dts is None:
                        continue
                    shift = round(number * MINUTE_S / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = tracks[packet.stream.index]
                    out.mux(packet)
    return path


def extract_long(folder: Path, minutes: int, timeout_s: float):
    (folder / str(minutes)).mkdir()
    path = repeated(a_minute(folder / "minute.mkv"), folder / str(minutes) / "long.mkv", minutes)
    options = ["long.mkv", "--experts", CLASSIC, "--workers", "1"]
    ended = extract_watched(options, path.parent, {}, timeout_s)
    assert ended.code == 0 and ended.report["failed"] == ended.report["warnings"] == []
    assert ended.report["frames"] == minutes * MINUTE_S * 24
    assert ended.report["media_seconds"] == pytest.approx(minutes * MINUTE_S, abs=0.2)
    assert ended.report["states"]["audio"]["tokens"] == 1
    assert max(ended.peak_bytes.values()) < MOST_BYTES, ended.peak_bytes
    assert ended.parent_bytes < MOST_PARENT_BYTES
    return ended


@pytest.mark.long
def test_three_minutes_in_bounded_memory(tmp_path: Path) -> None:
    extract_long(tmp_path, 3, 240)


@pytest.mark.slow
def test_two_hours_take_the_memory_and_the_pace_of_ten_minutes(tmp_path: Path) -> None:
    short, long = extract_long(tmp_path, 10, 600), extract_long(tmp_path, 120, 3000)
    begin = extract_long(tmp_path, 1, 600)  # what starting costs comes off, or the long one would look too good
    paces = [(ended.cpu_s - begin.cpu_s) / (minutes - 1) for ended, minutes in ((short, 10), (long, 120))]
    peaks = [max(ended.peak_bytes.values()) / 2**20 for ended in (short, long)]
    parents = [ended.parent_bytes / 2**20 for ended in (short, long)]
    print(f"seconds of a core a minute: {paces}; peak MiB: {peaks}; of the parent: {parents}; {long.seconds:.0f} s")
    assert paces[1] < 1.15 * paces[0]
    # Only the features themselves add up, until they are written: joined, and once more in the file.
    features = sum(path.stat().st_size for path in (tmp_path / "120" / ".hcq").rglob("*.h5")) / 2**20
    assert peaks[1] < peaks[0] + 3 * features


@pytest.mark.slow
def test_the_parent_stays_small_on_the_real_clips(shared: Path, tmp_path: Path) -> None:
    rows = csv.DictReader((shared / "videos" / "MANIFEST.csv").open())
    clips = [str(shared / "videos" / row["file"]) for row in rows if "/" not in row["file"]]
    ended = extract_watched([*clips, "--workers", "2"], tmp_path, {}, 900)
    print(f"peak MiB of the parent {ended.parent_bytes / 2**20:.0f}, of all {ended.peak_bytes}")
    assert ended.code == 0 and ended.report["extracted"] == 56
    assert ended.parent_bytes < MOST_PARENT_BYTES and max(ended.peak_bytes.values()) < MOST_BYTES
