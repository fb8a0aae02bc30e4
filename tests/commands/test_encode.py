"""`hcq encode` on a kept workspace: what it prints and writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from in_process import run_here

from hcq_cli.codes.codefile import open_codes


def test_videos_and_segments_become_codes(kept: Path, tmp_path: Path) -> None:
    document = run_here("encode", "-w", kept, "-o", tmp_path / "whole.hcq", "--json").json
    assert document["videos"] == document["codes_written"] == 15 and document["bytes_per_video"] == 12
    assert len(open_codes(tmp_path / "whole.hcq")) == 15
    shown = run_here("encode", "-w", kept, "-o", tmp_path / "cut.hcq", "--segment-s", "1")
    assert "15 videos in " in shown.out and "stretches" in shown.out and "hcq index build" in shown.err


def test_captions_become_codes(kept: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("a red ball\na dog barks\n")
    document = run_here("encode", "-w", kept, "--texts", lines, "-o", tmp_path / "texts.hcq", "--json").json
    assert document["texts"] == 2
    assert "--segment-s is of videos" in run_here("encode", "--texts", lines, "--segment-s", "2", code=2).err
