"""The life of an index, called from a program."""

from __future__ import annotations

import pytest

import hcq_cli as hcq
from hcq_cli.api.index_sources import caption_queries
from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import NotFoundError, UsageError


def test_build_add_remove_compact(workspace, told):
    built = hcq.build_index(workspace, text_side="none", progress=told)
    assert (built.videos, built.kind, built.index) == (14, "videos", workspace.index)  # in 28 rows
    assert told.bars["indexing"] == 28
    added = hcq.add_to_index(workspace, [workspace.codes])
    assert (added.videos, added.removed, added.segments) == (14, 28, 1)  # nothing lives in the old segment
    assert hcq.remove_from_index(workspace, ["clip-0003.mp4"]).removed == 2
    assert hcq.compact_index(workspace, progress=told).segments == 1
    assert hcq.verify_index(workspace).videos == 13


def test_codes_of_captions_go_to_an_index_of_their_own(workspace):
    built = hcq.build_index(workspace, [workspace.texts])
    assert (built.index, built.kind, built.videos) == (workspace.texts_index, "texts", 98)


def test_an_unknown_id_is_warned_of_with_what_is_near(workspace, told):
    change = hcq.remove_from_index(workspace, ["clip-003.mp4"], progress=told)
    assert change.unknown == ("clip-003.mp4",)
    assert "clip-003.mp4" in told.warnings[0] and "near it are 'clip-00" in told.warnings[0]


def test_codes_of_an_older_model_are_warned_of(workspace, told, monkeypatch):
    monkeypatch.setattr("hcq_cli.model.checkpoint.model_hash", lambda folder: "46cc" * 16)
    hcq.build_index(workspace, text_side="none", progress=told)
    assert any("has been trained anew since" in warning for warning in told.warnings)


def test_captions_of_the_workspace_tune_and_time(workspace):
    file = open_codes(workspace.codes)
    assert len(caption_queries(workspace, file).levels) > 20
    workspace.captions.unlink()
    assert caption_queries(workspace, file) is None


def test_what_cannot_be(workspace, tmp_path):
    with pytest.raises(UsageError, match="known are"):
        hcq.build_index(workspace, text_side="float8")
    with pytest.raises(UsageError, match="cannot export"):
        hcq.export_index(workspace, tmp_path / "x", to="milvus")
    with pytest.raises(NotFoundError):
        hcq.open_index(hcq.Workspace(tmp_path))
