from __future__ import annotations

import os
import resource
import signal
import timeit
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, names, quantizer, random_codes, write_codes

from hcq_cli.codes.codefile import CodeHeader, CodeWriter, open_codes
from hcq_cli.errors import DamagedError, HcqError, NotFoundError

AWKWARD = ["plain.mp4", "a 'b' \"c\".mp4", "new\nline.mp4", "🎬.mp4", "-dash.mp4", "bad\udcff.mp4", ""]


@pytest.mark.parametrize("videos", [0, 1, 7, 1000])
def test_reads_what_was_written(tmp_path: Path, videos: int) -> None:
    codes, ids = random_codes(videos), names(videos)
    file = open_codes(write_codes(tmp_path / "codes.hcq", ids, codes))
    assert len(file) == videos
    assert file.header == HEADER
    assert np.array_equal(file.codes, codes)
    assert list(file.ids) == ids
    assert list(file.paths) == [f"/videos/{video_id}" for video_id in ids]
    assert np.array_equal(file.codebooks, quantizer()[0])
    assert sum(len(part) for part, _, _ in file.batches(rows=13)) == videos
    file.verify()


def test_awkward_names_survive(tmp_path: Path) -> None:
    file = open_codes(write_codes(tmp_path / "c", AWKWARD, random_codes(len(AWKWARD))))
    assert list(file.ids) == AWKWARD


def test_the_checkpoint_is_found_again_after_both_moved(tmp_path: Path) -> None:
    old = tmp_path / "old"
    (old / "model").mkdir(parents=True)
    write_codes(old / "codes.hcq", [], random_codes(0), replace(HEADER, checkpoint=str(old / "model")))
    old.rename(tmp_path / "new")
    places = open_codes(tmp_path / "new" / "codes.hcq").checkpoints
    assert [place.is_dir() for place in places] == [True, False]
    assert places[0].resolve() == tmp_path / "new" / "model"


def test_an_interrupted_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_codes(tmp_path / "codes.hcq", names(3), random_codes(3))
    with pytest.raises(KeyboardInterrupt), CodeWriter(path, HEADER, *quantizer()) as writer:
        writer.append(["x"], ["/x"], random_codes(1))
        raise KeyboardInterrupt
    assert list(open_codes(path).ids) == names(3)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"K": 257}, "do not fit a byte"),
        ({"K": 8}, "codebooks of .* the header says "),
        ({"M": 5}, "cannot be cut"),
        ({"levels": 0}, "not all positive"),
        ({"kind": "cats"}, "neither videos nor texts"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    with pytest.raises((HcqError, ValueError), match=reason):  # of the writer, or of the header itself
        CodeWriter(tmp_path / "c", replace(HEADER, **change), *quantizer())  # type: ignore[arg-type]


def test_codebooks_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    codebooks, scale = quantizer()
    with pytest.raises(HcqError, match="not finite"):
        CodeWriter(tmp_path / "c", HEADER, codebooks, scale * np.float32(np.nan))


def test_a_batch_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with CodeWriter(tmp_path / "c", HEADER, *quantizer()) as writer:
        for ids, codes in [(["a"], random_codes(2)), (["a"], np.full((1, 8), 16, np.uint8))]:
            with pytest.raises(ValueError, match="codes"):
                writer.append(ids, ids, codes)


def test_truncated_foreign_and_missing(tmp_path: Path) -> None:
    raw = write_codes(tmp_path / "codes.hcq", names(50), random_codes(50)).read_bytes()
    broken = tmp_path / "broken.hcq"
    for content in (raw[:-1], raw[:100], b"", b"hello", raw + b"x"):
        broken.write_bytes(content)
        with pytest.raises(DamagedError, match=r"broken\.hcq"):
            open_codes(broken)
    with pytest.raises(NotFoundError) as caught:
        open_codes(tmp_path / "missing.hcq")
    assert caught.value.hint == "hcq encode"


def test_large_files_are_written_in_bounded_memory_and_opened_at_once(tmp_path: Path) -> None:
    header = CodeHeader("videos", "c" * 64, "/m", levels=8, M=32, K=256, D=64)
    codes = np.zeros((20_000, header.S), np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with CodeWriter(tmp_path / "c", header, *quantizer(header)) as writer:
        for at in range(20):
            writer.append(names(20_000, f"{at}-"), names(20_000, "/p"), codes)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 60_000  # the file is 110 MB
    file = open_codes(tmp_path / "c")
    assert min(timeit.repeat(lambda: open_codes(tmp_path / "c"), number=1, repeat=5)) < 0.05
    assert len(file) == 400_000
    assert file.ids[399_999] == "19-19999.mp4"


def test_what_a_killed_writer_left_goes_with_the_next_and_a_living_ones_stays(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with CodeWriter(tmp_path / "codes.hcq", HEADER, *quantizer()) as writer:
            writer.append(["a"], ["/a"], random_codes(1))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob(".*.tmp"))) == 1
    with CodeWriter(tmp_path / "codes.hcq", HEADER, *quantizer()) as writer:
        assert len(list(tmp_path.glob(".*.tmp"))) == 1  # its own
        write_codes(tmp_path / "codes.hcq", ["other"], random_codes(1))
        writer.append(["mine"], ["/mine"], random_codes(1))
    assert list(open_codes(tmp_path / "codes.hcq").ids) == ["mine"]
    assert not list(tmp_path.glob(".*.tmp"))
