"""The page of an evaluation: whatever captions and names say is text, and those that were missed come first."""

from __future__ import annotations

from pathlib import Path

from sample_videos import clip

from hcq_cli.web.evaluation import AskedCaption, evaluation_page

BAD = '"><script>alert(1)</script>\x1b[2J\u202e\udcff'


def test_names_and_captions_are_text_and_the_worst_come_first(tmp_path: Path) -> None:
    film = (clip(tmp_path / "a.mp4").name, str(tmp_path / "a.mp4"))
    asked = [AskedCaption("found", 1.0, film, film), AskedCaption(BAD, 7.5, (BAD, "/v/" + BAD), film)]
    page = evaluation_page("t", [], asked, tmp_path, notes=[BAD])
    page.encode()
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    assert page.index("<td>7.5</td>") < page.index("<td>1</td>")
    assert page.count("data:image/jpeg") == 1 and page.count('class="picture v') == 2
    assert "at 50 100.0 %" in page
