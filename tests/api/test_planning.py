"""What a collection would take: counted by headers, measured on a sample, nothing kept."""

from __future__ import annotations

import pytest

import hcq_cli as hcq
from hcq_cli.api import planning
from hcq_cli.errors import NotFoundError, UsageError


def test_what_is_left_and_what_it_takes(clips, tmp_path, told):
    workspace = hcq.Workspace(tmp_path / "work")
    planned = hcq.plan_collection(workspace, [clips], experts="appearance", workers=1, progress=told)
    (cost,) = planned.costs
    assert (planned.videos, cost.videos, planned.code_bytes) == (6, 6, 6 * 256)
    assert planned.media_s == pytest.approx(sum(1.0 + 0.2 * n for n in range(6)), abs=0.3)
    assert cost.media_s == planned.media_s and cost.seconds > 0 and cost.feature_bytes > 0
    assert planned.bytes == sum(path.stat().st_size for path in clips.iterdir())
    assert not workspace.root.exists() and told.bars == {"open": 6, "measure": 6}


def test_moments_have_codes_too(clips, tmp_path, monkeypatch):
    """An hour: a code of its own, and one each 5 s for a window of 10 s."""
    monkeypatch.setattr(planning, "_durations", lambda paths, sizes, progress: dict.fromkeys(paths, 3600.0))
    planned = hcq.plan_collection(hcq.Workspace(tmp_path / "work"), [clips], experts="audio", workers=1)
    assert planned.code_bytes == planned.costs[0].code_bytes == 6 * (1 + 719) * 256  # 184 KB each


def test_finished_videos_cost_nothing(clips, tmp_path):
    workspace = hcq.Workspace(tmp_path / "work")
    hcq.extract(workspace, [clips], experts="appearance", workers=1)
    (cost,) = hcq.plan_collection(workspace, [clips], experts="appearance").costs
    assert (cost.videos, cost.media_s, cost.seconds, cost.feature_bytes) == (0, 0.0, None, 0)


def test_a_preset_whose_networks_are_missing_says_what_fetches_them(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    monkeypatch.setattr("experts.registry.presets", {"classic": ["audio"], "light": ["appearance=nobody/nothing"]})
    classic, light = hcq.plan_collection(hcq.Workspace(tmp_path / "work"), [clips], workers=1).costs
    assert classic.seconds and not classic.missing
    assert light.missing.endswith("hcq models fetch light") and "GB" in light.missing and light.seconds is None
    assert (classic.code_bytes, light.code_bytes) == (6 * 256, 6 * 64)  # of a trained model, of a fitted one


def test_many_files_are_counted_by_their_bytes(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "MOST_OPENED", 2)
    planned = hcq.plan_collection(hcq.Workspace(tmp_path / "work"), [clips], experts="audio", workers=1)
    assert planned.media_s == pytest.approx(9.0, rel=0.5)


def test_what_does_not_say_how_long_it_is_is_counted_by_its_bytes(clips, tmp_path):
    """Films joined byte by byte: the header is that of the first."""
    films = tmp_path / "films"
    films.mkdir()
    for at in range(3):
        (films / f"{at}.mp4").write_bytes((clips / f"clip{at}.mp4").read_bytes())
    paths = {at: str(films / f"{at}.mp4") for at in range(3)}
    sizes = {path: planning._size(path) for path in paths.values()}
    before = planning._durations([*sizes], sizes, planning.SILENT)
    joined = films / "joined.mp4"
    joined.write_bytes((clips / "clip3.mp4").read_bytes() * 10)
    sizes[str(joined)] = planning._size(str(joined))
    found = planning._durations([*sizes], sizes, planning.SILENT)
    assert found.items() >= before.items()
    assert found[str(joined)] == pytest.approx(16, rel=0.3)
    (films / "broken.mp4").write_bytes(b"no video")
    for beside in ({}, {str(films / "broken.mp4"): 8}):
        alone = {str(joined): sizes[str(joined)], **beside}
        assert planning._durations([*alone], alone, planning.SILENT)[str(joined)] > 0


def test_what_cannot_be_planned(clips, tmp_path):
    workspace = hcq.Workspace(tmp_path / "work")
    with pytest.raises(NotFoundError):
        hcq.plan_collection(workspace, [tmp_path / "none"])
    with pytest.raises(UsageError, match="nothing"):
        hcq.plan_collection(workspace, [clips], experts="nothing")
