"""What all tests share: where the shared data lies, and how to run the command line from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A busy machine is no failure; what takes too long is told by its own test.
settings.register_profile("hcq", deadline=None)
settings.load_profile("hcq")

# Under nohup, or as a shell's background job, interrupts are ignored, and so they would be in every command run here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The models of the tests are small: where cores are few, a second thread costs more in waiting than it saves.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent
PLUGINS = REPOSITORY / "tests" / "support" / "sample_plugins"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("HCQ_TEST_SLOW") == "1":
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: set HCQ_TEST_SLOW=1"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data (real clips, golden vectors); tests that need it skip where it is absent."""
    folder = Path(os.environ.get("HCQ_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set HCQ_SHARED)")
    return folder


class Outcome:
    """What a run of hcq printed and returned."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def hcq(tmp_path: Path) -> Callable[..., Outcome]:
    """Run `hcq ARGUMENTS` as a person would, in an empty folder; gives exit code, stdout and stderr."""

    def run(
        *arguments: str | os.PathLike[str],
        code: int | None = 0,
        cwd: Path | None = None,
        stdin: str | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 300,
    ) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "hcq_cli", *map(os.fspath, arguments)],
            cwd=cwd or tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            env={**os.environ, "NO_COLOR": "1", "XDG_CONFIG_HOME": str(tmp_path / ".config"), **(env or {})},
        )
        outcome = Outcome(done)
        if code is not None:
            assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return outcome

    return run


@pytest.fixture(scope="session")
def planted() -> dict[str, str]:
    """Environment in which the decoders and experts of tests/support/sample_plugins look installed."""
    paths = [str(PLUGINS), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six small clips with sound; not to be changed."""
    from sample_videos import clip

    folder = tmp_path_factory.mktemp("clips")
    for seed in range(6):
        clip(folder / f"clip{seed}.mp4", seconds=1.0 + 0.2 * seed, seed=seed)
    return folder
