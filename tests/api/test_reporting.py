"""A report's figures are those that the commands give."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcq_cli.api.features import open_features
from hcq_cli.api.indexing import open_index
from hcq_cli.api.reporting import SIZES, report, write_report
from hcq_cli.errors import NotFoundError
from hcq_cli.workspace import Workspace

KEPT = Path(__file__).parent.parent / "golden" / "workspace"


def test_its_figures_are_those_of_store_and_index(tmp_path: Path) -> None:
    workspace = Workspace(KEPT)
    found, store, index = report(workspace), open_features(workspace), open_index(workspace)
    seconds = [store.video(row).duration_s for row in range(len(store))]
    assert (found.videos, found.found) == (len(store), index.videos)
    assert found.hours == pytest.approx(sum(seconds) / 3600)
    assert sum(found.formats.values()) == found.videos and found.experts == store.states()
    assert found.bytes_per_video == index.header.S and found.epochs and not found.missing
    costs = found.costs()
    assert [cost["videos"] for cost in costs] == list(SIZES)
    assert costs[0]["code_bytes"] == 10_000 * index.header.S
    write_report(found, tmp_path / "r.html")
    assert f"{found.videos} videos" in (tmp_path / "r.html").read_text()


def test_where_nothing_is_it_says_what_comes_first(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as told:
        report(Workspace(tmp_path))
    assert told.value.hint == "hcq extract VIDEOS"
