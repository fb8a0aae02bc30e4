"""`hcq encode` on a kept workspace: what it prints and writes, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

from in_process import run_here

from hcq_cli.codes.codefile import open_codes


def test_videos_and_segments_become_codes(kept: Path, tmp_path: Path) -> None:
    document = run_here("encode", "-w", kept, "-o", tmp_path / "whole.hcq", "--json").json
    assert document["videos"] == document["codes_written"] == 15 and document["bytes_per_video"] == 12
    assert len(open_codes(tmp_path / "whole.hcq")) == 15
    shown = run_here("encode", "-w", kept, "-o", tmp_path / "cut.hcq", "--segment-s", "1")
    assert re.search(r"15 videos and \d+ moments · 12 bytes each, \d+ KB an hour", shown.out)
    assert "hcq index build" in shown.err
    again = run_here("encode", "-w", kept, "-o", tmp_path / "cut.hcq", "--segment-s", "1", "--json").json
    assert again["codes_written"] == 15 + again["moments"] and again["moments"] > 30
    hours = again["codes_written"] * 12 / again["bytes_per_hour"]
    assert 15 / 3600 < hours < 60 / 3600
    refused = run_here("encode", "-w", kept, "--no-segments", "--segment-s", "1", code=2)
    assert "exclude each other" in refused.err


def test_captions_become_codes(kept: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("a red ball\na dog barks\n")
    document = run_here("encode", "-w", kept, "--texts", lines, "-o", tmp_path / "texts.hcq", "--json").json
    assert document["texts"] == 2
    assert "--segment-s is of videos" in run_here("encode", "--texts", lines, "--segment-s", "2", code=2).err
