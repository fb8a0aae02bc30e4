"""Recordings behind one another in one file, of containers of which FFmpeg reads the first, or reads on wrongly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sample_videos import film, numbered, tone
from witness import check, joined, part, watch

from hcq_cli.media import sniffing
from hcq_cli.media.joined import HEADERS, begins_of


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".f4v", ".flv", ".wmv", ".asf", ".mkv", ".avi", ".nut"])
def test_all_of_them_are_seen_and_heard_in_their_order(tmp_path: Path, suffix: str) -> None:
    witness, found = watch(joined(tmp_path / f"several{suffix}", (0.0,) * 3))
    check(witness, found, 150, 3.0)
    assert [str(warning)[:36] for warning in found.warnings] == ["3 recordings behind one another: eac"]


def test_flash_animations(tmp_path: Path) -> None:
    parts = []
    for at in range(2):
        images, sound = [numbered(50 * at + each) for each in range(50)], tone(2.0, 44_100) * at
        path = film(
            tmp_path / f"{at}.swf", np.arange(50) / 25, images, sound, 44_100, 0.0, "flv", "libmp3lame", ticks=25
        )
        parts.append(path.read_bytes())
    path = tmp_path / "both.swf"
    path.write_bytes(b"".join(parts))
    witness, found = watch(path)
    assert witness.numbers == list(range(100)) and len(found.warnings) == 1
    assert 1.9 < witness.loud_s[0] < 2.1


def test_another_codec_and_another_size(tmp_path: Path) -> None:
    first = film(tmp_path / "a.mkv", np.arange(50) / 25, codec="mpeg4", ticks=25).read_bytes()
    images = [numbered(50 + at, 320, 192) for at in range(50)]
    second = film(tmp_path / "b.mkv", np.arange(50) / 25, images, codec="libx264").read_bytes()
    path = tmp_path / "two.mkv"
    path.write_bytes(first + second)
    witness, found = watch(path)
    assert witness.numbers == list(range(100)) and len(found.warnings) == 1


def test_where_the_clock_goes_on_a_pause_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pause.mkv"
    path.write_bytes(part(tmp_path / "a.mkv", 0, 50, 100.0) + part(tmp_path / "b.mkv", 50, 50, 104.0))
    witness, found = watch(path)
    assert found.duration_s == pytest.approx(6.0, abs=0.1)
    assert witness.times[witness.numbers.index(60)] == pytest.approx(4.4, abs=0.1)


def test_fragments_behind_one_another_are_one_film(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    whole = part(tmp_path / "fragments.mp4", 0, 50, 0.0, **options)
    assert whole.count(b"moof") > 2
    (tmp_path / "again.mp4").write_bytes(whole + whole)
    assert not watch(tmp_path / "fragments.mp4")[1].warnings
    witness, found = watch(tmp_path / "again.mp4")
    assert witness.numbers == [*range(50), *range(50)] and len(found.warnings) == 1


def test_a_second_file_that_is_damaged_is_said_and_costs_the_first_nothing(tmp_path: Path) -> None:
    first, second = part(tmp_path / "a.mp4", 0, 50, 0.0), part(tmp_path / "b.mp4", 50, 50, 0.0)
    path = tmp_path / "two.mp4"
    path.write_bytes(first + second[: len(second) // 2])
    witness, found = watch(path)
    assert witness.numbers == list(range(50))
    assert f"begin at byte {len(first)} cannot be read" in str(found.warnings[0])
    path.write_bytes(first[: len(first) // 2] + second)  # and the other way round
    witness, found = watch(path)
    assert witness.numbers == list(range(50, 100)) and "begin at byte 0 cannot be read" in str(found.warnings[0])


def test_a_picture_within_a_film_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(part(path, 0, 50, 0.0) + b"\0\0\1\0uuid" + b"\0\0\0\x18ftypheic".ljust(248, b"\0"))
    assert begins_of(str(path), "mov,mp4,m4a,3gp,3g2,mj2") == [0] and not watch(path)[1].warnings


def test_a_header_is_found_wherever_blocks_of_reading_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sniffing, "READ_BYTES", 1024)
    path = tmp_path / "x.mp4"
    for size in range(2040, 2060):
        path.write_bytes(b"\0\0\0\x18ftypisom".ljust(size, b"\7") + b"\0\0\0\x18ftypisom".ljust(900, b"\7"))
        assert begins_of(str(path), next(iter(HEADERS))) == begins_of(str(path)) == [0, size]


def test_holes_of_a_sparse_file_take_no_time_and_hide_nothing(tmp_path: Path) -> None:
    path, header = tmp_path / "holes.mp4", b"\0\0\0\x18ftypisom".ljust(900, b"\7")
    with path.open("wb") as file:
        for at in (0, 1 << 37, 1 << 38):
            file.seek(at)
            file.write(header)
        file.truncate(1 << 39)
    if path.stat().st_blocks > 1000:
        pytest.skip("no holes on this file system")
    assert begins_of(str(path)) == [0, 1 << 37, 1 << 38]  # half a terabyte


def test_of_more_than_are_read_it_is_said_where_the_others_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hcq_cli.media.joined.MOST_PARTS", 2)
    one = part(tmp_path / "a.mp4", 0, 50, 0.0)
    (path := tmp_path / "many.mp4").write_bytes(one * 4)
    witness, found = watch(path)
    assert witness.numbers == [*range(50)] * 2
    told = f"more than 2 recordings seem to be in it: those from byte {2 * len(one)} on may be left out"
    assert told in map(str, found.warnings)
    (path := tmp_path / "one.mkv").write_bytes(part(tmp_path / "a.mkv", 0, 50, 0.0))
    whole, fake = path.read_bytes(), b"\x1aE\xdf\xa3\x93B\x82\x88matroska" + bytes(600)
    cut = whole.find(b"\x1fC\xb6u", len(whole) // 2)  # a cluster
    path.write_bytes(whole[:cut] + b"\xec\x4f\xff" + (fake * 7).ljust(0xFFF, b"\0") + whole[cut:])
    witness, found = watch(path)
    assert witness.numbers == [*range(50)]
