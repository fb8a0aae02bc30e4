"""The page of an evaluation: whatever captions and names say is text, and those that were missed come first."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from sample_videos import clip

from hcq_cli.web.evaluation import BEST, BETWEEN, WORST, AskedCaption, evaluation_page

BAD = '"><script>alert(1)</script>\x1b[2J\u202e\udcff'


def test_names_and_captions_are_text_and_the_worst_come_first(tmp_path: Path) -> None:
    film = (clip(tmp_path / "a.mp4").name, str(tmp_path / "a.mp4"))
    asked = [AskedCaption("found", 1.0, film, film), AskedCaption(BAD, 7.5, (BAD, "/v/" + BAD), film)]
    page = evaluation_page("t", [], np.array([1.0, 7.5]), asked.__getitem__, tmp_path, notes=[BAD])
    page.encode()
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    assert page.index("<td>7.5</td>") < page.index("<td>1</td>")
    assert page.count("data:image/jpeg") == 1 and page.count('class="picture v') == 2
    assert "k = 50: 100.0 %" in page and "left out" not in page


def test_of_a_hundred_thousand_captions_the_worst_the_best_and_some_between_are_shown(tmp_path: Path) -> None:
    ranks = np.random.default_rng(0).permutation(100_000) + 1.0

    def caption(number: int) -> AskedCaption:
        return AskedCaption(f"caption {number}", ranks[number], (f"{number}.mp4", f"/gone/{number}.mp4"), ("1", "/1"))

    page = evaluation_page("t", [], ranks, caption, tmp_path)
    shown = [int(rank) for rank in re.findall(r"<td>(\d+)</td><td>", page)]
    assert shown == sorted(shown, reverse=True) and len(shown) == WORST + BETWEEN + BEST
    assert shown[:WORST] == list(range(100_000, 100_000 - WORST, -1)) and shown[-BEST:] == list(range(BEST, 0, -1))
    assert f"Of 100,000 captions {len(shown)} are shown here, and {100_000 - len(shown):,} are left out" in page
    assert "k = 50: 0.1 %" in page and len(page) < 500_000
