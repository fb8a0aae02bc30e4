"""Real clips and the demo's, on a cluster and in shares: features, codes and index of one machine. Slow."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from small_models import model
from store_contents import shard_digests

pytest.importorskip("ray")

from ray_cluster import two_nodes

from hcq_cli.features.store import FeatureStore
from hcq_cli.files import digest_file
from hcq_cli.media.inputs import find_inputs
from hcq_cli.model import checkpoint
from hcq_cli.model.config import ExpertConfig
from hcq_cli.search.index import Index
from hcq_cli.workspace import Workspace

pytestmark = pytest.mark.slow
SHARES = (["--shard", "2/3"], ["--shard", "3/3"], ["--shard", "1/3"])


@pytest.fixture(params=["real", "demo"])
def videos(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The real clips, odd files among them; or the 720 that `hcq demo` draws."""
    if request.param == "real":
        folder = request.getfixturevalue("shared") / "videos"
    else:
        from hcq_cli.demo.clips import compose
        from hcq_cli.demo.render import render_all

        folder = tmp_path / "clips"
        render_all(compose(720, 0), 0, folder, 2)
    return list(find_inputs([str(folder)]).videos.values())


def digests(workspace: Workspace) -> dict[str, list[str]]:
    """SHA-256 of what it holds, but for files that tell names made by chance."""
    index = Index.open(workspace.index)
    return {
        "features": shard_digests(workspace.features),
        "codes": [digest_file(workspace.codes)],
        "index": [digest_file(workspace.index / entry.file) for entry in index.manifest.segments],
    }


def test_features_codes_and_index_are_the_bytes_of_one_machine(
    hcq: Callable[..., object], videos: list[str], tmp_path: Path
) -> None:
    shuffled = random.Random(5).sample(videos, len(videos))
    for name, order in (("sorted", videos), ("shuffled", shuffled)):
        (tmp_path / name).write_text("".join(f"{path}\n" for path in order))

    def run(
        place: str, order: str, workers: int, *, on: Sequence[str] = (), shares: Sequence[list[str]] = ()
    ) -> dict[str, list[str]]:
        workspace, trained = Workspace(tmp_path / place), tmp_path / "model"
        how = ["-w", workspace.root, *on]
        for share in (*shares, []):
            # A film of two minutes has five of the clock, which is not enough where others use the machine.
            taken = ["extract", "--from", tmp_path / order, "--workers", str(workers), "--timeout-s", "3000"]
            hcq(*taken, *how, *share, code=None, timeout=3000)
        if not trained.exists():
            experts = FeatureStore.open(workspace.features).experts
            made = model(experts={name: ExpertConfig(expert.dim) for name, expert in experts.items()})
            checkpoint.save(trained, made.network, made.caption_encoder)
        for share in (*shares, []):
            hcq("encode", "--ckpt", trained, *how, *share, timeout=3000)
        hcq("index", "build", *how, timeout=3000)
        print(place, found := digests(workspace), flush=True)
        return found

    alone = run("alone", "sorted", 2)
    assert run("shares", "shuffled", 2, shares=SHARES) == alone
    with two_nodes({}, num_cpus=2) as cluster:
        on = ["--on", f"ray:{cluster.address}"]
        for workers, order in ((1, "sorted"), (2, "shuffled"), (4, "sorted"), (4, "shuffled")):
            assert run(f"ray{workers}-{order}", order, workers, on=on) == alone
