"""A cluster whose nodes share no folder: each has a mirror of the workspace, and all is as in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from feature_samples import video
from small_models import EXPERTS, model
from store_contents import shard_digests

pytest.importorskip("ray")

from ray_cluster import add_node, two_nodes

from hcq_cli.api.encoding import encode
from hcq_cli.api.indexing import build_index
from hcq_cli.api.opening import mirrored
from hcq_cli.api.searching import Searcher
from hcq_cli.engines.ray_worker import NodeWorker
from hcq_cli.extraction.options import ExtractionOptions
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.files import digest_file
from hcq_cli.model import checkpoint
from hcq_cli.remote.mirror import Mirror
from hcq_cli.search.index import Index
from hcq_cli.search.params import SearchSettings
from hcq_cli.workspace import Workspace

VIDEOS = 2100
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, slowly: dict[str, str]) -> Iterator[tuple[str, list[Path]]]:
    """The cluster, and the cache folders of its nodes: two have one, the third another."""
    caches = [tmp_path_factory.mktemp("node") for _ in range(2)]
    quick = {**slowly, "SLOW_S": "0"}
    with two_nodes({**quick, "HCQ_CACHE": str(caches[0])}) as cluster:
        add_node(cluster, {**quick, "HCQ_CACHE": str(caches[1])}, num_cpus=2)
        yield f"ray:{cluster.address}", caches


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HCQ_CACHE", str(tmp_path / "driver"))
    monkeypatch.setattr(Mirror, "opened", {})
    return f"file://{tmp_path}/there"


def mirrors(nodes: list[Path]) -> list[Path]:
    return [path for node in nodes for path in (node / "mirrors").glob("there-*")]


def test_features_are_those_of_a_folder(
    hcq: Callable[..., Any], nodes: tuple[str, list[Path]], clips: Path, address: str, tmp_path: Path, slowly: Any
) -> None:
    on, _ = nodes
    how = ["extract", clips, "--experts", "colour,audio", "--decoder", "planted:Slow"]
    quick = {**slowly, "SLOW_S": "0"}
    hcq(*how, "-w", tmp_path / "alone", env=quick)
    hcq(*how, "-w", address, "--on", on, env={**quick, "HCQ_CACHE": str(tmp_path / "driver")}, timeout=600)
    with mirrored(address) as workspace:
        assert shard_digests(workspace.features) == shard_digests(tmp_path / "alone" / "features")
    assert not list((tmp_path / "there" / "parts").rglob("*.h5"))


def test_what_a_killed_child_process_left_is_not_put(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {**ExtractionOptions(tmp_path).to_json(), "store": (address, "features")}
    worker = NodeWorker(["colour"], options, [], str(tmp_path))
    assert worker._scratch is not None
    (incoming := (aside := Path(worker._scratch.name)) / "incoming").mkdir()
    (incoming / ".00000000000000000001.0123456789abcdef.tmp").write_bytes(b"half a video")
    (incoming / "1.h5").write_bytes(b"a video")
    assert worker._put(aside) == ["features/incoming/1.h5"]


def test_codes_and_index_are_those_of_a_folder(nodes: tuple[str, list[Path]], address: str, tmp_path: Path) -> None:
    on, caches = nodes
    made, dims = model(), {name: expert.dim for name, expert in EXPERTS.items()}
    with mirrored(address) as workspace:
        checkpoint.save(workspace.model, made.network, made.caption_encoder)
        with FeatureWriter(workspace.features) as writer:
            writer.add_videos(
                replace(video(f"v{at}.mp4", list(dims), dims=dims), duration_s=20.0) for at in range(VIDEOS)
            )
        saved = shutil.copytree(workspace.root, tmp_path / "saved")
    how: dict[str, Any] = {"segment_s": 2.0}
    encode(workspace, **how)
    build_index(workspace, partitions=8, words=False)
    alone, hits = digests(workspace), found(workspace)
    for path in (workspace.codes, workspace.index):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    with mirrored(address) as workspace:
        encode(workspace, on=on, **how)
    with mirrored(address) as workspace:
        build_index(workspace, partitions=8, words=False, on=on)
    assert digests(workspace) == alone
    assert len(mirrors(caches)) == 2, "parts were made on both machines"
    assert not list((tmp_path / "there" / "parts").rglob("*.hcq"))
    assert found(workspace, on=on, partial=False) == hits
    assert (saved / "features").is_dir() and not (saved / "codes.hcq").exists()


def digests(workspace: Workspace) -> list[str]:
    index = Index.open(workspace.index)
    index.verify()
    files = [index.manifest.ivf, *(entry.file for entry in index.manifest.segments)]
    return [digest_file(workspace.codes), *(digest_file(workspace.index / name) for name in files)]


def found(workspace: Workspace, **how: Any) -> list[tuple[str, float]]:
    searcher = Searcher(workspace, SearchSettings(exact=True, **how))
    try:
        return [(hit.id, hit.score) for hit in searcher.text("a red dog runs", k=20).hits]
    finally:
        searcher.close()
