"""Recall, and what a caption file holds, called from a program."""

from __future__ import annotations

import pytest
from command import run_hcq

import hcq_cli as hcq
from hcq_cli.errors import NotFoundError, UsageError


def test_recall_by_codes_and_by_dense_vectors(workspace, told):
    done = hcq.evaluate(workspace, captions=workspace.captions, split="all", progress=told)
    assert (done.split, done.kind, done.measured.videos, done.measured.texts) == ("all", "hcq", 14, 98)
    assert done.measured.quantized.t2v.R50 == 100
    assert [point.bytes_per_video for point in done.points] == [12, 192]
    assert done.warnings == told.warnings


def test_videos_that_were_trained_on_are_warned_of(workspace, told):
    done = hcq.evaluate(workspace, progress=told)
    assert done.split == "all" and any("those trained on included" in warning for warning in done.warnings)
    said = run_hcq("eval", "--json", "-w", workspace.root, cwd=workspace.root)
    assert said.json["warnings"] == done.warnings and done.warnings[0] in said.err


def test_what_is_measured_is_given_where_it_cannot_be_kept(read_only):
    assert hcq.evaluate(read_only).measured.videos == 14 and not read_only.evaluation.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"split": "dev"}, "known are"),
        ({"compress": "zip"}, "zip"),
        ({"compress": "pq", "sizes": "7"}, "multiple of"),
    ],
)
def test_what_cannot_be_measured(workspace, arguments, reason):
    with pytest.raises(UsageError, match=reason):
        hcq.evaluate(workspace, **arguments)


def test_captions_are_looked_up_where_there_is_a_store(workspace, told, tmp_path):
    report, store = hcq.check_captions(workspace, workspace.captions)
    assert store is not None and report.clean and len(report.match.captioned) == 14
    report, store = hcq.check_captions(hcq.Workspace(tmp_path), workspace.captions, progress=told)
    assert store is None and report.match is None and "no feature store" in told.notes[0]
    with pytest.raises(NotFoundError):
        hcq.check_captions(workspace, workspace.captions, features=tmp_path / "none")
