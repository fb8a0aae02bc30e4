"""An archive or a folder of MMT's files: what is damaged, cut or too large is reported, the rest is read."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from mmt_files import h5_name, imported, msrvtt, pack, unpack

from hcq_cli.importers import mmt
from hcq_cli.importers.mmt import MmtOptions, import_mmt


def test_a_huge_member_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = msrvtt()
    files[h5_name("video2")] += bytes(1 << 20)
    monkeypatch.setattr(mmt, "MAX_FILE_BYTES", 1 << 19)
    for source in (pack(files, tmp_path / "MSRVTT.tar.gz", ""), unpack(files, tmp_path / "MSRVTT")):
        done = import_mmt(source, MmtOptions(tmp_path / f"of-{source.name}", tmp_path / "captions.jsonl"))
        assert [Path(failed.path).name for failed in done.failed] == ["video2.h5"]
        assert "more than 524,288" in done.failed[0].error and done.imported == 8


@pytest.mark.parametrize("form", ["gz", ""])
def test_an_archive_that_breaks_off_gives_what_came_before(form: str, tmp_path: Path) -> None:
    whole = pack(msrvtt(), tmp_path / "MSRVTT.tar", "MSRVTT", f"w:{form}").read_bytes()
    source = tmp_path / "MSRVTT-cut.tar"
    for share in (0.3, 0.55, 0.8):
        source.write_bytes(whole[: int(len(whole) * share)])
        done = import_mmt(source, MmtOptions(tmp_path / f"at-{share}", tmp_path / "captions.jsonl"))
        assert 0 < done.imported < 9 and any("breaks off" in failed.error for failed in done.failed)
    assert done.exit_code == 3


def test_a_flipped_bit_in_a_compressed_archive_is_told(tmp_path: Path) -> None:
    path = pack(msrvtt(), tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # its checksum
    path.write_bytes(data)
    done = imported(path, tmp_path)
    assert done.imported == 9 and [Path(f.path).name for f in done.failed] == ["MSRVTT.tar.gz"]
    assert "checksum" in done.failed[0].error


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = pack(msrvtt(), tmp_path / "MSRVTT.tar", "MSRVTT", "w:")
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[4].offset
    data[offset + 5] ^= 0x40
    path.write_bytes(data)
    done = imported(path, tmp_path)
    assert done.imported == 4 and "breaks off" in done.failed[0].error
