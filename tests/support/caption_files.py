"""Caption files of any content, written and read."""

from __future__ import annotations

from pathlib import Path

from hcq_cli.datasets.captions import read_captions


def put(folder: Path, content: str | bytes, name: str = "captions.any") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(folder: Path, content: str | bytes) -> tuple[dict[str, tuple[list[str], str | None]], list[tuple[int, str]]]:
    captions = read_captions(put(folder, content))
    videos = {video.video: (video.captions, video.split) for video in captions.videos}
    return videos, [(problem.line, problem.message) for problem in captions.problems]
