"""A workspace on a machine that is reached by SFTP: sshd on this one, on a port of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_contents import shard_digests

from hcq_cli.remote.mirror import Mirror

pytest.importorskip("paramiko")
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
THERE = SSHD is not None and (os.getuid() != 0 or Path("/run/sshd").is_dir())
pytestmark = [pytest.mark.long, pytest.mark.skipif(not THERE, reason="no sshd (Debian: openssh-server)")]
CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {home}/host
AuthorizedKeysFile {home}/.ssh/id_ed25519.pub
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of somebody who has a key."""
    (tmp_path / ".ssh").mkdir()
    for key in ("host", ".ssh/id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key], check=True)
    return tmp_path


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    """Where a workspace lies on that machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (home / "sshd").write_text(CONFIG.format(port=port, home=home))
    assert SSHD is not None
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", home / "sshd"], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, process.communicate()
                time.sleep(0.1)
        yield f"sftp://{getpass.getuser()}@127.0.0.1:{port}{home}/there/ws"
    finally:
        process.kill()
        process.communicate()


def test_verbs_of_two_machines(
    hcq: Callable[..., Any], home: Path, address: str, clips: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def run(machine: str, *arguments: Any, **how: Any) -> Any:
        environment = {"HOME": str(home), "HCQ_CACHE": str(tmp_path / machine)}
        return hcq(*arguments, "-w", address, env=environment, **how)

    asked = ["extract", clips, "--experts", "audio", "--workers", "1"]
    hcq(*asked, "-w", tmp_path / "alone")
    first = run("one", *asked, "--shard", "1/2")
    assert "let one write at a time" in first.err
    done = run("two", *asked, "--json").json
    assert 0 < done["extracted"] < 6 == done["extracted"] + done["skipped"]
    assert run("three", "features", "info", "--json").json["videos"] == 6
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HCQ_CACHE", str(tmp_path / "three"))
    monkeypatch.setattr(Mirror, "opened", {})
    assert shard_digests(Mirror.at(address).folder / "features") == shard_digests(tmp_path / "alone" / "features")
