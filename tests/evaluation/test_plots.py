"""Pictures are written in the format that their names say, or it is said why not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.evaluation.metrics import Metrics
from hcq_cli.evaluation.plots import draw_bars, plot_recall
from hcq_cli.evaluation.retrieval import RecallPoint, RetrievalMetrics


def test_the_picture_is_written_in_the_format_its_name_says(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = Metrics(20, 30, 40, 50, 3.0, 9.0, 20)
    both = RetrievalMetrics(one, one)
    points = [RecallPoint("codes", 64, both), RecallPoint("dense", 4096, both)]
    for name, start in (("a.png", b"\x89PNG"), ("b.svg", b"<?xml"), ("c.pdf", b"%PDF")):
        plot_recall(points, tmp_path / name, "a title")
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(HcqError, match=r"\.png"):
        plot_recall(points, tmp_path / "d.gifx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.svg", "c.pdf"]


def test_what_is_doubtful_stands_in_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = Metrics(20, 30, 40, 50, 3.0, 9.0, 20)
    points = [RecallPoint("codes", 64, RetrievalMetrics(one, one))]
    plot_recall(points, tmp_path / "a.svg", notes=["measured on $5 videos that were trained on", "word " * 200])
    picture = (tmp_path / "a.svg").read_text()
    assert "videos that were trained on" in picture and "word …" in picture


def test_bars_need_an_ending_that_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_bars(tmp_path / "a.svg", "a title", "ms", [("one", 1.0), ("two", 20.0)], ("floor", 0.5))
    picture = (tmp_path / "a.svg").read_text()
    assert picture.startswith("<?xml") and "floor" in picture
    with pytest.raises(HcqError, match=r"\.png"):
        draw_bars(tmp_path / "a.gifx", "a title", "ms", [("one", 1.0)], ("floor", 0.5))
    (tmp_path / "b.svg").mkdir()
    with pytest.raises(HcqError, match="cannot be written"):
        draw_bars(tmp_path / "b.svg", "a title", "ms", [("one", 1.0)], ("floor", 0.5))


def test_what_is_not_installed_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NotFoundError) as caught:
        plot_recall([], Path("a.png"))
    assert caught.value.hint == 'pip install "hcq[plot]"'
