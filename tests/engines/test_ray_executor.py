"""Extraction on a Ray cluster: workers, nodes and drivers die; a cluster that cannot do the work says so first."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from sample_videos import clip
from store_contents import shard_digests

pytest.importorskip("ray")

from ray_cluster import actors, add_node, processes, reached

from hcq_cli.engines import ray_cluster
from hcq_cli.errors import HcqError

EXPERTS = ["--experts", "colour,audio"]


def start(cluster: Any, videos: Path, store: Path, env: dict[str, str], *more: str) -> subprocess.Popen[bytes]:
    run = [sys.executable, "-m", "hcq_cli", "extract", str(videos), *EXPERTS, "-o", str(store), *more]
    return subprocess.Popen(
        [*run, "--on", f"ray:{cluster.address}", "--decoder", "planted:Slow"],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(process: subprocess.Popen[bytes], holds: Any, timeout_s: float = 300.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def alone(clips: Path, slowly: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this machine makes of the clips by itself."""
    store = tmp_path_factory.mktemp("alone")
    run = [sys.executable, "-m", "hcq_cli", "extract", str(clips), *EXPERTS, "-o", str(store)]
    subprocess.run(
        [*run, "--decoder", "planted:Slow"],
        env={**os.environ, **slowly, "SLOW_S": "0"},
        check=True,
        capture_output=True,
    )
    return store


@pytest.mark.long
def test_nobody_is_asked_and_there_is_no_dashboard(cluster, clips: Path, slowly, log: Path, tmp_path: Path) -> None:
    asked, rounds = reached(log), 0
    process = start(cluster, clips, tmp_path / "store", slowly)
    while process.poll() is None:
        asked, rounds = asked | reached(log), rounds + 1
        time.sleep(0.2)
    _, errors = process.communicate()
    assert process.returncode == 0 and rounds > 5, errors
    assert not asked
    running = processes(log).values()
    assert sum("/raylet " in command for command in running) == 2
    # Ray starts this process in any case; so it shows nothing, and usage is told to nobody (BEFORE_IMPORT).
    assert all("--disable-frontend" in command for command in running if "/dashboard.py " in command)


@pytest.mark.long
def test_a_worker_that_dies_costs_one_more_decoding(
    cluster, clips: Path, alone: Path, slowly, log: Path, tmp_path: Path
) -> None:
    log.write_text("")
    process = start(cluster, clips, tmp_path / "store", slowly)
    wait_for(process, lambda: len(log.read_text().split()) >= 2 and actors("NodeWorker", log))
    os.kill(actors("NodeWorker", log)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert shard_digests(tmp_path / "store") == shard_digests(alone)
    assert 6 <= len(log.read_text().split()) <= 8


@pytest.mark.long
def test_a_node_that_dies_costs_what_its_workers_were_at(
    cluster, clips: Path, alone: Path, slowly, log: Path, tmp_path: Path
) -> None:
    node = add_node(cluster, slowly)
    log.write_text("")
    process = start(cluster, clips, tmp_path / "store", slowly)
    wait_for(process, lambda: len(log.read_text().split()) >= 3)
    cluster.remove_node(node, allow_graceful=False)
    _, errors = process.communicate(timeout=400)
    if process.returncode != 0:  # all nodes have one address here, and it was the node that the command had chosen
        again = start(cluster, clips, tmp_path / "store", slowly)
        _, errors = again.communicate(timeout=400)
        assert again.returncode == 0, errors
    assert shard_digests(tmp_path / "store") == shard_digests(alone)
    assert 6 <= len(log.read_text().split()) <= 9


@pytest.mark.long
def test_a_video_that_kills_three_workers_is_named_and_costs_no_other(
    cluster, hcq, clips: Path, slowly, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(clips / "clip0.mp4", videos)
    clip(videos / "murder.mp4", seed=50)
    run = ("extract", videos, *EXPERTS, "--decoder", "planted:Mischief", "--json")
    done = hcq(*run, "--on", f"ray:{cluster.address}", env=slowly, code=3).json
    assert [(Path(each["path"]).name, each["error"]) for each in done["failed"]] == [
        ("murder.mp4", "3 workers died or hung while they were at it")
    ]
    assert done["extracted"] == 1
    assert "murder.mp4" in (tmp_path / ".hcq" / "features" / "failures.jsonl").read_text()


@pytest.mark.long
def test_nodes_that_see_other_files_or_have_another_hcq_are_named(
    cluster, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking() -> list[str]:
        nodes = ray_cluster.living_nodes()
        told = ray_cluster.check_nodes(nodes, tmp_path / "store", [str(clips / "clip0.mp4")])
        assert not told or told.keys() == {node.id for node in nodes}
        return [error.message for error in told.values()]

    with ray_cluster.connected(f"ray:{cluster.address}"):
        assert not lacking()
        with monkeypatch.context() as changed:
            changed.setattr(ray_cluster, "_marked", lambda folder: nullcontext([str(folder / "nowhere")]))
            assert all("does not see the folder" in each for each in lacking())
        with monkeypatch.context() as changed:
            changed.setattr("importlib.metadata.version", lambda name: "9.9")
            assert all(re.search(r"has hcq .*, this machine hcq 9", each) for each in lacking())


@pytest.mark.long
def test_a_node_of_another_hcq_that_joins_is_left_out(cluster, hcq, clips: Path, slowly, log, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(48):  # enough for a node to join meanwhile; what follows the film is not looked at
        film = (clips / f"clip{number % 6}.mp4").read_bytes()
        (videos / f"{number}.mp4").write_bytes(film + number.to_bytes(4, "big"))
    hcq("extract", videos, *EXPERTS, "--decoder", "planted:Slow", env={**slowly, "SLOW_S": "0"})
    other = tmp_path / "other" / "hcq-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: hcq\nVersion: 9.9\n")
    log.write_text("")
    process = start(cluster, videos, tmp_path / "store", slowly, "--json")
    wait_for(process, lambda: log.read_text())
    older = f"{other.parent}:{slowly.get('PYTHONPATH', os.environ.get('PYTHONPATH', ''))}"
    node = add_node(cluster, {**slowly, "PYTHONPATH": older}, num_cpus=2)
    said, errors = process.communicate(timeout=400)
    cluster.remove_node(node)
    assert process.returncode == 0, errors
    [warning] = json.loads(said)["warnings"]
    assert re.search(r"node .* has hcq 9.9 on Python .*, this machine hcq .*; it is left out", warning["message"])
    assert shard_digests(tmp_path / "store") == shard_digests(tmp_path / ".hcq" / "features")


@pytest.mark.long
def test_a_full_cluster_is_told_before_anything_begins(cluster, hcq, clips: Path, slowly, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, cluster.address],
        env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline().strip() == b"held"
        done = hcq("extract", clips, *EXPERTS, "--on", f"ray:{cluster.address}", env=slowly, code=1)
        assert "is full" in done.err and "Traceback" not in done.err
    finally:
        holder.kill()
        holder.communicate()
    assert not (tmp_path / ".hcq" / "features" / "shards").exists()


HOLD = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1)
class Holder:
    def ready(self):
        return True
held = [Holder.remote() for _ in range(2)]
ray.get([each.ready.remote() for each in held])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.long
def test_a_cluster_of_this_machine_alone_listens_to_this_machine_alone_and_tells_nobody() -> None:
    """Whoever reaches a Ray cluster may run anything on it; how it is used Ray reports, unless told otherwise."""
    done = subprocess.run([sys.executable, "-c", ALONE], check=True, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout)
    listening = found["listening"]
    assert len(listening) > 5 and all(each.removeprefix("::ffff:") == "127.0.0.1" for each in listening), listening
    assert found["pages"] == [[True, "0"]], "the one process that could show or report"


ALONE = """
import json, time
from hcq_cli.engines.ray_cluster import connected
with connected("ray:local"):
    import psutil  # Ray brings it
    time.sleep(5)
    running = psutil.Process().children(recursive=True)
    sockets = [each for one in running for each in one.net_connections("inet")]
    pages = [one for one in running if "/dashboard/dashboard.py" in " ".join(one.cmdline())]
    print(json.dumps({
        "listening": [each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN],
        "pages": [["--disable-frontend" in one.cmdline(), one.environ()["RAY_USAGE_STATS_ENABLED"]] for one in pages],
    }))
"""


@pytest.mark.long
def test_a_cluster_that_is_not_there_is_told_at_once(hcq, clips: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    done = hcq("extract", clips, *EXPERTS[:1], "audio", "--on", "ray:127.0.0.1:9", code=1)
    assert "Ray cannot be reached at 127.0.0.1:9" in done.err and time.monotonic() - begun < 60
    assert "no engine" in hcq("extract", clips, "--on", "slurm", code=2).err
    assert not (tmp_path / ".hcq" / "features").exists()


def test_other_versions_and_files_are_told() -> None:
    here = ("1.0", "3.11.2", {"a.mp4": (3, 4)})
    ray_cluster._compare("node7", here, here)
    for theirs, told in (
        (("0.0.1", *here[1:]), "hcq 0.0.1 on Python 3.11.2, this machine hcq 1.0 on Python 3.11.2"),
        (("1.0", "3.9.1", here[2]), "hcq 1.0 on Python 3.9.1"),
        (("", *here[1:]), "has no hcq"),
        ((*here[:2], {"a.mp4": (3, 5)}), "a.mp4 is another file there"),
        ((*here[:2], {"a.mp4": None}), "a.mp4 is not there"),
    ):
        with pytest.raises(HcqError, match=f"node7.* {told}"):
            ray_cluster._compare("node7", here, theirs)


def test_a_machine_that_is_too_busy_for_a_cluster_of_its_own_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**how: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(HcqError, match=r"Ray does not start here: .* timed out") as told:
        with ray_cluster.connected("ray:local"):
            raise AssertionError
    assert "less busy" in told.value.hint


def test_an_address_in_somebodys_settings_is_not_taken(hcq, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "hcq.toml").write_text('[extract]\non = "ray:10.0.0.7:6379"\n')
    done = hcq("extract", clips, "--experts", "audio")
    assert "names a machine to connect to" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["worker", "driver", "node"])
def test_twenty_kills_at_random_moments(
    cluster, clips: Path, alone: Path, slowly, log: Path, tmp_path: Path, kind: str
) -> None:
    """Run again the bytes are the same, and few videos were decoded twice."""
    rng = random.Random(kind)
    for at in range(20):
        store = tmp_path / f"{kind}{at}"
        node = add_node(cluster, slowly) if kind == "node" else None
        log.write_text("")
        process = start(cluster, clips, store, slowly)
        wait_for(process, lambda: log.read_text())
        time.sleep(rng.uniform(0, 3))
        if node is not None:
            cluster.remove_node(node, allow_graceful=False)
        elif kind == "driver":
            process.kill()
        elif alive := actors("NodeWorker", log):
            os.kill(rng.choice(alive), signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
        assert kind != "worker" or process.returncode == 0, errors
        again = start(cluster, clips, store, slowly)
        _, errors = again.communicate(timeout=300)
        assert again.returncode == 0, errors
        assert shard_digests(store) == shard_digests(alone), at
        decoded = len(log.read_text().split())
        print(kind, at, "ended", process.returncode, "decoded", decoded, flush=True)
        assert decoded <= 6 + 3, at
        shutil.rmtree(store)
