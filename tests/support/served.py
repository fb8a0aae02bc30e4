"""A workspace whose videos can be watched, and how a test asks a server of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
from sample_videos import film, numbered, tone
from schemas import faults
from trained import save_workspace

from hcq_cli.api.indexing import build_index
from hcq_cli.codes.codefile import CodeWriter, open_codes
from hcq_cli.workspace import Workspace

NAMES = ["plain.mp4", "<b>bold.mp4", "a & \"b\" 'c'.mp4", "été 🎬.mp4", "bad\udcff.mp4", "new\nline.mp4", "film.webm"]
"""Of films that lie where the index says; the last is of a kind that every browser plays."""
FPS, FRAMES = 10, 200


@dataclass(frozen=True)
class Served:
    """A running server."""

    workspace: Path
    address: str

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, Any, bytes]:
        """Status, headers and body of an answer."""
        connection = HTTPConnection(urlsplit(self.address).netloc, timeout=60)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def search(self, query: str, **more: Any) -> dict[str, Any]:
        """The JSON of a search."""
        status, _, body = self.get("/api/search?" + urlencode({"q": query, **more}, errors="surrogateescape"))
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found


@contextmanager
def served_here(workspace: Path) -> Iterator[tuple[Served, int]]:
    """`hcq serve` as a person starts it, ended as a person ends it; and its process."""
    command = [sys.executable, "-m", "hcq_cli", "serve", "--port", "0", "--json", "-w", os.fspath(workspace)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HCQ_DEBUG": "1"})
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        assert faults("serve", told) == []
        yield Served(workspace, told["address"]), process.pid
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def make_films(folder: Path) -> list[Path]:
    """A film for each name, whose frames show their numbers."""
    folder.mkdir()
    mp4, webm = folder / NAMES[0], folder / NAMES[-1]
    times, images = [at / FPS for at in range(FRAMES)], [numbered(at) for at in range(FRAMES)]
    film(mp4, times, images)
    film(webm, times, images, tone(FRAMES / FPS, 48_000), 48_000, codec="libvpx", sound_codec="libopus")
    for name in NAMES[1:-1]:
        shutil.copy(mp4, folder / name)
    return [folder / name for name in NAMES]


def make_workspace(root: Path, films: list[Path]) -> Path:
    """An index of films, and of 100 videos that are not there."""
    save_workspace(root)
    codes = open_codes(root / "codes.hcq")
    ids = [path.name for path in films] + [f"gone/{at}.mp4" for at in range(100)]
    paths = [str(path) for path in films] + [f"/gone/{at}.mp4" for at in range(100)]
    with CodeWriter(root / "films.hcq", codes.header, codes.codebooks, codes.scale) as writer:
        writer.append(ids, paths, np.asarray(codes.codes[: len(ids)]))
    (root / "films.hcq").replace(root / "codes.hcq")
    build_index(Workspace(root))
    return root
