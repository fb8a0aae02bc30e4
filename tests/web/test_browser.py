"""The pages in a real browser: found, played from the second that was asked for, by keyboard alone, with nobody else
asked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from answers import answer, hit
from served import NAMES, Served

from hcq_cli.web.gallery import gallery_page
from hcq_cli.web.media import key_of

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.long, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails its test if anything went wrong in it."""
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    opened.set_default_timeout(60_000)
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    opened.asked = []
    opened.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    opened.close()
    assert not problems


def until(page: Any, condition: str) -> None:
    """Wait for a condition: asked again and again from outside, as the page lets no text become code."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(condition)


def test_typed_found_and_played_by_keyboard_alone(page: Any, served: Served) -> None:
    page.goto(served.address)
    page.keyboard.type("a man cooking")  # the field has the focus
    page.wait_for_selector(".card")
    assert "q=a+man+cooking" in page.url or page.wait_for_url("**q=a+man+cooking**") is None
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.className") == "open"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('player').open")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('player').open")
    assert all(url.startswith((served.address, "data:")) for url in page.asked)


def test_a_film_plays_from_its_second(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=a+dog")
    page.evaluate(
        """([key]) => { const link = document.querySelector('.open');
        link.href = '/media/' + key; link.dataset.start = '12.5'; link.click(); }""",
        [key_of(NAMES[-1])],
    )
    until(page, "document.querySelector('#player video').readyState >= 2")
    at = page.evaluate(
        "(() => { const v = document.querySelector('#player video'); v.pause(); return v.currentTime })()"
    )
    assert 12.4 <= at <= 14.5


def test_what_cannot_be_played_says_so(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=a+dog")
    page.evaluate("(() => { const a = document.querySelector('.open'); a.href = '/static/style.css'; a.click(); })()")
    until(page, "document.getElementById('player-says').textContent.includes('cannot play')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_axe_finds_no_fault(browser: Any, served: Served, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = browser.new_page(viewport={"width": 360, "height": 700}, color_scheme=scheme)
    page.goto(served.address + "?q=a+man+cooking")
    page.wait_for_selector(".card")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    found = axe.Axe().run(page).response["violations"]
    page.close()
    assert not [
        (fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in ("serious", "critical")
    ]


def test_ten_thousand_hits_are_paged_without_freezing(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=a+dog")
    page.wait_for_selector(".more a")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    until(page, "document.querySelectorAll('.card').length > 90")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    until(page, "document.querySelectorAll('.card').length >= 106 && !document.querySelector('.more a')")


def test_a_search_is_kept_and_comes_back(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=<b>a+dog")
    page.click("#keep")
    page.goto(served.address)
    assert page.text_content("#kept a") == "<b>a dog"
    page.click("#kept a")
    page.wait_for_selector(".card")


def test_a_gallery_opens_from_a_file_and_plays(page: Any, films: list[Path], tmp_path: Path) -> None:
    hits = [
        {**hit(at), "id": film.name, "path": str(film), "time_s": 12.5} for at, film in enumerate(reversed(films), 1)
    ]
    path = tmp_path / "gallery.html"
    path.write_text(gallery_page([answer(hits)], tmp_path), "utf-8")
    page.goto(path.as_uri())
    assert page.locator(".card img").count() == len(films)
    assert all(page.evaluate("[...document.images].map((image) => image.naturalWidth > 0)"))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#player video').readyState >= 2")
    at = page.evaluate(
        "(() => { const v = document.querySelector('#player video'); v.pause(); return v.currentTime })()"
    )
    assert 12.4 <= at <= 14.5
    assert all(url.startswith(("file:", "data:")) for url in page.asked)
