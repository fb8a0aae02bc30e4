"""A workspace in a bucket, spoken to over HTTP: a server of S3 on this machine, another process."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import PLANTED
from small_models import model
from store_contents import shard_digests

from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import EXIT_FAILED, EXIT_NOT_FOUND, HcqError, LockedError, NotFoundError
from hcq_cli.features.store import FeatureStore
from hcq_cli.files import digest_bytes, digest_file
from hcq_cli.model import checkpoint
from hcq_cli.model.config import ExpertConfig
from hcq_cli.remote import remote_generations
from hcq_cli.remote.mirror import Mirror
from hcq_cli.search.index import Index
from hcq_cli.workspace import Workspace

pytest.importorskip("moto")
s3fs = pytest.importorskip("s3fs")
pytestmark = pytest.mark.long
START_S = 120.0


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """The environment in which the server is found, with a bucket `videos`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.1)
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }
        own = {**os.environ, **environment}
        bucket = "import s3fs; s3fs.S3FileSystem().mkdir('videos')"
        subprocess.run([sys.executable, "-c", bucket], env=own, check=True)
        yield environment
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def at_server(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.items():
        monkeypatch.setenv(name, value)


def write(machine: Mirror, name: str, text: str) -> None:
    (machine.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (beside := machine.folder / "beside").write_text(text)
    beside.replace(machine.folder / name)


def test_two_machines_and_a_bucket(at_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (Mirror("s3://videos/a/ws", tmp_path / name) for name in ("one", "other"))
    assert not one.fetch().warnings, "it creates exclusively"
    large = "x" * (12 << 20)  # which goes in several pieces
    for name, text in {"codes.hcq": "codes", "index/manifest-00000001.json": "1", "model/weights": large}.items():
        write(one, name, text)
    one.publish()
    other.fetch()
    assert (other.folder / "model/weights").read_text() == large and one.publish().files == 0
    write(one, "codes.hcq", "one's")
    write(other, "codes.hcq", "other's")
    one.publish()
    with pytest.raises(LockedError, match="has changed codes"):
        other.publish()
    there = other._generations
    with monkeypatch.context() as behind, pytest.raises(LockedError, match="another machine has published"):
        behind.setattr(there, "newest", lambda **_: (1, there._read(1)))  # so that both want the second place
        other.publish()
    other.fetch()
    assert (other.folder / "codes.hcq").read_text() == "one's"
    write(one, "features/incoming/1.h5", "part")
    one.keep()
    other.fetch()
    (other.folder / "features/incoming/1.h5").unlink()
    write(other, "features/shards/1.h5", "part")
    other.publish()
    assert not other._there.listed("parts")
    one.fetch()
    assert not (one.folder / "features/incoming/1.h5").exists() and (one.folder / "features/shards/1.h5").exists()
    monkeypatch.setattr(remote_generations, "GRACE_S", -1.0)
    for number in range(4):
        write(one, "codes.hcq", f"the {number}.")
        one.publish()
    assert len(one._there.listed("files")) == 6, "what three generations name"


def test_what_is_wrong_with_a_bucket_is_told_before_anything_is_done(
    at_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError, match=r"s3://nowhere/ws: .*bucket") as told:
        Mirror("s3://nowhere/ws", tmp_path / "one").fetch()
    assert "credentials" in told.value.hint
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(HcqError, match="s3://videos/ws: ") as lost:
        Mirror("s3://videos/ws", tmp_path / "two").fetch()
    assert "what is finished is kept" in lost.value.hint


def test_the_verbs_work_there(hcq: Callable[..., Any], server: dict[str, str], clips: Path, tmp_path: Path) -> None:
    def run(machine: str, *arguments: Any, **how: Any) -> Any:
        environment = {**server, "HCQ_CACHE": str(tmp_path / machine)}
        return hcq(*arguments, "-w", "s3://videos/ws", env=environment, fresh=True, **how)

    asked = ["extract", clips, "--experts", "audio", "--workers", "1"]
    run("one", *asked, "--shard", "1/2")
    run("two", *asked, "--shard", "2/2")
    done = run("three", *asked, "--json")
    assert (done.json["extracted"], done.json["skipped"]) == (0, 6) and "fetched" in done.err
    assert run("four", "features", "info", "--json").json["videos"] == 6
    assert "no index there" in run("four", "query", "a dog", code=EXIT_NOT_FOUND).err
    dead = {**server, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "HCQ_CACHE": str(tmp_path / "four")}
    told = hcq("features", "info", "-w", "s3://videos/ws", env=dead, fresh=True, code=EXIT_FAILED).err
    assert "s3://videos/ws: " in told and "what is finished is kept" in told


def digests(workspace: Workspace) -> list[Any]:
    """SHA-256 of what it holds, but for names made by chance and of folders: a code file names its checkpoint."""
    index, codes = Index.open(workspace.index), open_codes(workspace.codes)
    segments = [digest_file(workspace.index / entry.file) for entry in index.manifest.segments]
    return [shard_digests(workspace.features), list(codes.ids), digest_bytes(codes.codes.tobytes()), segments]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "s3"])
def test_verbs_that_are_killed_leave_the_old_state_or_the_new_one(
    hcq: Callable[..., Any], server: dict[str, str], clips: Path, tmp_path: Path, monkeypatch: Any, kind: str
) -> None:
    """Each verb is killed at a random moment, and run again, there or by a machine that has nothing."""
    rng, here = random.Random(kind), Workspace(tmp_path / "alone")
    extract = ["extract", clips, "--experts", "colour,audio", "--workers", "1"]
    verbs: list[list[Any]] = [extract, ["encode"], ["index", "build", "--no-words"]]
    hcq(*extract, "-w", here.root, env=PLANTED)
    experts = FeatureStore.open(here.features).experts
    made = model(experts={name: ExpertConfig(expert.dim) for name, expert in experts.items()})
    checkpoint.save(here.model, made.network, made.caption_encoder)
    for verb in verbs[1:]:
        hcq(*verb, "-w", here.root)
    expected, took_s = digests(here), dict[str, float]()
    for name, value in {**server, **PLANTED}.items():
        monkeypatch.setenv(name, value)
    killed = 0
    for at in range(int(os.environ.get("HCQ_TEST_KILLS", "7")) + 1):
        there = f"s3://videos/{at}" if kind == "s3" else f"file://{tmp_path}/there{at}"

        def start(machine: str, verb: list[Any], there: str = there) -> subprocess.Popen[bytes]:
            monkeypatch.setenv("HCQ_CACHE", str(tmp_path / machine))
            run = [sys.executable, "-m", "hcq_cli", *map(str, verb), "-w", there]
            return subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)

        def finished(machine: str, verb: list[Any], start: Any = start) -> None:
            begun, process = time.monotonic(), start(machine, verb)
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors.decode()
            took_s[verb[0]] = time.monotonic() - begun

        def mirrored(machine: str, there: str = there) -> Workspace:
            monkeypatch.setenv("HCQ_CACHE", str(tmp_path / machine))
            monkeypatch.setattr(Mirror, "opened", {})
            return Workspace(Mirror.at(there).folder)

        for verb in verbs:
            if at:  # how long it takes is known
                process = start(f"one{at}", verb)
                time.sleep(rng.uniform(0.2, 1.0) * took_s[verb[0]])
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                killed += process.returncode == -signal.SIGKILL
            finished(rng.choice([f"one{at}", f"{verb[0]}{at}"]), verb)
            if verb is extract:
                shutil.copytree(here.model, mirrored(f"one{at}").model)
                finished(f"one{at}", ["features", "info"])  # which puts it
        finished(f"new{at}", ["features", "info"])
        assert digests(mirrored(f"new{at}")) == expected, at
        print(kind, at, "killed", killed, took_s, flush=True)
    assert killed > 3
