"""A report's figures are those that the commands give."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import large_store
import pytest

from hcq_cli.api.evaluation import evaluate
from hcq_cli.api.features import open_features
from hcq_cli.api.indexing import open_index
from hcq_cli.api.reporting import SIZES, report, write_report
from hcq_cli.errors import NotFoundError
from hcq_cli.evaluation.retrieval import write_evaluated
from hcq_cli.workspace import Workspace

KEPT = Path(__file__).parent.parent / "golden" / "workspace"


def test_its_figures_are_those_of_store_and_index(tmp_path: Path) -> None:
    workspace = Workspace(KEPT)
    found, store, index = report(workspace), open_features(workspace), open_index(workspace)
    seconds = [store.facts(row).duration_s for row in range(len(store))]
    assert (found.videos, found.found) == (len(store), index.videos)
    assert found.hours == pytest.approx(sum(seconds) / 3600)
    assert sum(found.formats.values()) == found.videos and found.experts == store.states()
    assert found.bytes_per_video == index.header.S and found.epochs and not found.missing
    costs = found.costs()
    assert [cost["videos"] for cost in costs] == list(SIZES)
    assert costs[0]["code_bytes"] == 10_000 * index.header.S
    write_report(found, tmp_path / "r.html")
    assert f"{found.videos} videos" in (tmp_path / "r.html").read_text()


def test_recall_against_bytes_is_what_eval_measured_of_this_model(tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(KEPT, tmp_path / "ws"))
    assert report(workspace).evaluated is None
    captions = workspace.root / "captions.jsonl"
    measured = evaluate(workspace, captions=captions, split="all")
    found = report(workspace)
    assert found.evaluated is not None and list(found.evaluated.points) == list(measured.points)
    write_report(found, tmp_path / "r.html")
    assert f"<bdi>{measured.measured.quantized.t2v.R10:.1f}</bdi></td>" in (tmp_path / "r.html").read_text()
    write_evaluated(workspace.evaluation, replace(found.evaluated, model="another"))
    assert report(workspace).evaluated is None


@pytest.mark.long
def test_many_videos_are_reported_on_in_little_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_store, "DIMS", {"appearance": 16, "motion": 8, "audio": 8, "face": 8})
    workspace = Workspace(tmp_path)
    large_store.build(workspace.features, 20_000)
    begun = time.process_time()
    found = report(workspace)
    write_report(found, tmp_path / "r.html")
    assert time.process_time() - begun < 12  # 60 s for 100,000, of which this takes a hundredth
    assert (found.videos, found.hours) == (20_000, pytest.approx(20_000 * 10 / 3600))
    assert (tmp_path / "r.html").stat().st_size < 100_000


def test_where_nothing_is_it_says_what_comes_first(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as told:
        report(Workspace(tmp_path))
    assert told.value.hint == "hcq extract VIDEOS"
