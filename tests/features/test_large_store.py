"""A store of 200,000 videos opens at once, and random batches come quickly and in bounded memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VIDEOS = int(os.environ.get("HCQ_TEST_VIDEOS", "200000"))


def run(*arguments: str) -> dict[str, float]:
    script = Path(__file__).parent.parent / "support" / "large_store.py"
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=True)
    print(done.stdout)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_large_store(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 2 * 37_000 * VIDEOS:
        pytest.skip("needs more disk")
    folder = tmp_path / "s"
    try:
        built = run("build", str(folder), str(VIDEOS))
        assert built["peak_mb"] < 600
        read = run("read", str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert read["videos"] == VIDEOS
    assert read["open_s"] < 0.3
    assert read["median_ms"] < 50
    assert read["anon_grown_mb"] < 300
