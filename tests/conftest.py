"""What all tests share: where the shared data lies, and how to run the command line from outside."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import PLANTED, Outcome, run_hcq
from hypothesis import settings

# A busy machine is no failure; what takes too long is told by its own test.
settings.register_profile("hcq", deadline=None)
settings.load_profile("hcq")

# Under nohup, or as a shell's background job, interrupts are ignored, and so they would be in every command run here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What a killed process has written is there without a sync, and no test pulls the plug: waiting for the disk at each
# would take minutes. Where a test wants the call to fail, it does (support/faults.py).
os.fsync = lambda handle: None

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Three tiers: all but the long ones, those of some seconds to a minute too, and those of many minutes.
    slow = os.environ.get("HCQ_TEST_SLOW") == "1"
    long = slow or os.environ.get("HCQ_TEST_LONG") == "1"
    for item in items:
        if item.get_closest_marker("slow") and not slow:
            item.add_marker(pytest.mark.skip(reason="slow: set HCQ_TEST_SLOW=1"))
        elif item.get_closest_marker("long") and not long:
            item.add_marker(pytest.mark.skip(reason="long: set HCQ_TEST_LONG=1"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data (real clips, golden vectors); tests that need it skip where it is absent."""
    folder = Path(os.environ.get("HCQ_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set HCQ_SHARED)")
    return folder


@pytest.fixture
def hcq(tmp_path: Path) -> Callable[..., Outcome]:
    """Run `hcq ARGUMENTS` as a person would, in an empty folder; gives exit code, stdout and stderr."""

    def run(*arguments: str | os.PathLike[str], cwd: Path | None = None, **how: Any) -> Outcome:
        how["env"] = {"XDG_CONFIG_HOME": str(tmp_path / ".config"), **(how.get("env") or {})}
        return run_hcq(*arguments, cwd=cwd or tmp_path, **how)

    return run


@pytest.fixture(scope="session")
def planted() -> dict[str, str]:
    """Environment in which the decoders and experts of tests/support/sample_plugins look installed."""
    return dict(PLANTED)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six small clips with sound; not to be changed."""
    from sample_videos import clip

    folder = tmp_path_factory.mktemp("clips")
    for seed in range(6):
        clip(folder / f"clip{seed}.mp4", seconds=1.0 + 0.2 * seed, seed=seed)
    return folder
