"""The pages in a real browser: found, played from the second that was asked for, by keyboard alone, with nobody else
asked."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answers import answer, hit
from served import NAMES, Served

from hcq_cli.api.reporting import report, write_report
from hcq_cli.duplicates.groups import DuplicateGroup, Duplicates, Member, write_duplicates
from hcq_cli.evaluation.metrics import Metrics
from hcq_cli.evaluation.retrieval import RecallPoint, RetrievalMetrics
from hcq_cli.web.evaluation import AskedCaption, evaluation_page
from hcq_cli.web.gallery import gallery_page
from hcq_cli.web.media import key_of
from hcq_cli.workspace import Workspace

KEPT = Path(__file__).parent.parent / "golden" / "workspace"
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


@pytest.fixture(scope="module")
def addresses(served: Served, films: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every kind of page that there is."""
    folder = tmp_path_factory.mktemp("pages")
    videos = [(film.name, str(film)) for film in films]
    hits = [{**hit(at), "id": name, "path": path, "time_s": 1.0} for at, (name, path) in enumerate(videos, 1)]
    (folder / "gallery.html").write_text(gallery_page([answer(hits)], folder), "utf-8")
    asked = [AskedCaption("a dog", 2.0, videos[0], videos[1]), AskedCaption("a cat", 1.0, videos[2], videos[2])]
    metrics = RetrievalMetrics(*[Metrics(50.0, 100.0, 100.0, 100.0, 1.5, 1.5, 79.4)] * 2)
    points = [RecallPoint("codes", 64, metrics)]
    page = evaluation_page("2 captions", points, np.array([2.0, 1.0]), asked.__getitem__, folder)
    (folder / "evaluation.html").write_text(page, "utf-8")
    write_report(report(Workspace(KEPT)), folder / "report.html")
    # A member that is not in the index: it is named, and nothing is asked of the server for it.
    unknown = Member("unknown.mp4", "/unknown.mp4", 1.0, 2.0)
    shares = Member(*videos[0], 3.5, 9.0), unknown, Member(*videos[-1], 0.0, 5.5)
    part = DuplicateGroup("part", shares, 0.8)
    write_duplicates(served.workspace / "duplicates.json", Duplicates((part,), 7, 9))
    return {
        "search": served.address + "?q=a+man+cooking&not=snow&like=" + key_of(NAMES[0]),
        "start": served.address,
        "half a filter": served.address + "?q=a+dog&where=duration+%3C",
        "nothing": served.address + "?q=a+dog&where=duration+%3C+0",
        "an example that is gone": served.address + "?like=" + key_of("unknown.mp4"),
        "duplicates": served.address + "duplicates",
        **{name: (folder / f"{name}.html").as_uri() for name in ("gallery", "evaluation", "report")},
    }


SEARCHES = ["start", "search", "half a filter", "nothing", "an example that is gone"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*SEARCHES, "duplicates", "gallery", "evaluation", "report"])
def test_it_fits_a_telephone_and_axe_finds_no_fault(
    page: Any, addresses: dict[str, str], name: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.set_viewport_size({"width": 360, "height": 700})
    page.emulate_media(color_scheme=scheme)
    page.goto(addresses[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    # Nor does anything in it scroll sideways: tables become blocks.
    wide = "[...document.querySelectorAll('main *')].filter(e => getComputedStyle(e).overflowX == 'auto').length"
    edge = "[...document.querySelectorAll('td')].every(cell => cell.getBoundingClientRect().right <= innerWidth)"
    assert page.evaluate(wide) == 0 and page.evaluate(edge)
    own = addresses["search"].partition("?")[0]
    assert all(url.startswith(("file:", "data:", own)) for url in page.asked)
    found = axe.Axe().run(page).response["violations"]
    assert not [(fault["id"], fault["nodes"][0]["html"]) for fault in found]


def test_an_example_joins_the_search_and_leaves_it(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=a+man+cooking")
    page.click(".card .add >> nth=0")
    page.wait_for_selector("label.example")
    assert "like=" in page.url and "q=a+man+cooking" in page.url
    page.uncheck("label.example input")
    until(page, "!location.search.includes('like=')")
    page.fill("input[name=not]", "a red ball")  # which lies open where there is room
    until(page, "location.search.includes('not=a+red+ball')")
    page.wait_for_selector(".card")


def test_duplicates_are_played_from_what_they_share(page: Any, addresses: dict[str, str]) -> None:
    page.goto(addresses["duplicates"])
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.start") == "3.5"


def test_half_a_filter_is_told_beside_what_is_typed(page: Any, served: Served) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(served.address + "?q=a+dog")
    assert not page.is_visible("input[name=where]")
    page.keyboard.press("Tab")
    page.focus("summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("folder =")
    page.wait_for_selector("[role=alert]")
    assert page.input_value("input[name=where]") == "folder ="
    page.keyboard.type(" 'gone'")
    page.wait_for_selector(".card")


def test_a_film_that_is_gone_is_told_without_asking_for_it(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=a+dog&where=folder+=+'gone'")
    until(page, "document.querySelector('.open img').naturalWidth == 16")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert "no longer there: /gone/" in page.text_content("#player-says")
    assert not [url for url in page.asked if "/media/" in url or "/preview/" in url]


def test_what_is_no_film_is_told_with_its_path(page: Any, served: Served, films: list[Path]) -> None:
    kept = films[1].read_bytes()
    films[1].write_bytes(b"no film")
    try:
        page.goto(served.address + "?q=%22bold%22")
        until(page, "document.querySelector('.open img').naturalWidth == 32")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        until(page, "document.getElementById('player-says').textContent.endsWith('<b>bold.mp4')")
    finally:
        films[1].write_bytes(kept)


def test_ten_thousand_hits_are_paged_without_freezing(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=a+dog")
    page.wait_for_selector(".more a")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    until(page, "document.querySelectorAll('.card').length > 90")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    until(page, "document.querySelectorAll('.card').length >= 106 && !document.querySelector('.more a')")
    page.evaluate(
        """(() => { const list = document.querySelector('.cards'), all = [...list.children];
        while (list.children.length < 10000) list.append(...all.map((card) => card.cloneNode(true))); })()"""
    )
    begun = time.monotonic()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.className") == "open"
    assert time.monotonic() - begun < 20  # a minute, where every card is laid out


def test_a_card_plays_while_the_pointer_rests_on_it(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=%22film%22")
    until(page, "document.querySelector('.open img').naturalWidth > 32")
    page.hover(".open")
    until(page, "document.querySelector('.open video')?.readyState >= 2")
    assert page.evaluate("document.querySelector('.open video').muted")
    page.hover("input[name=q]")
    assert page.locator(".open video").count() == 0


def test_a_search_is_kept_and_comes_back(page: Any, served: Served) -> None:
    page.goto(served.address + "?q=<b>a+dog&not=snow&like=" + key_of("plain.mp4"))
    page.click("#keep")
    assert page.get_attribute("#keep", "aria-pressed") == "true"
    page.goto(served.address)
    assert not page.is_visible("#keep")  # there is nothing to keep
    assert page.text_content("#kept a") == "<b>a dog · snow · like 1 of the videos"
    page.click("#kept a")
    page.wait_for_selector(".card")
    page.click("#keep")
    assert page.get_attribute("#keep", "aria-pressed") == "false" and not page.is_visible("#kept")


@pytest.mark.parametrize("width", [360, 1440])
def test_a_long_name_leaves_the_player_whole(page: Any, films: list[Path], tmp_path: Path, width: int) -> None:
    path = tmp_path / "gallery.html"
    path.write_text(gallery_page([answer([{**hit(1), "id": "a" * 240, "path": str(films[-1])}])], tmp_path), "utf-8")
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(path.as_uri())
    page.click(".open")
    until(page, "document.querySelector('#player video').readyState >= 2")
    bottom = "document.querySelector('#player form').getBoundingClientRect().bottom"
    assert page.evaluate(f"{bottom} <= document.querySelector('#player').getBoundingClientRect().bottom")
    assert page.evaluate("document.querySelector('#player video').getBoundingClientRect().height >= 100")


def test_what_nothing_fits_brings_no_further_pages_by_itself(page: Any, served: Served) -> None:
    page.goto(served.address)
    page.evaluate(
        """(() => { const more = `<p class="more"><a href="/?q=a+dog&offset=48">more</a></p>`;
        document.getElementById('found').innerHTML = '<ol class="cards"></ol><details><summary>more</summary>' +
        '<ol class="cards" id="folded"></ol>' + more + '</details>'; })()"""
    )
    page.wait_for_timeout(500)
    assert page.locator(".card").count() == 0
    page.click("#found summary")
    until(page, "document.querySelectorAll('#folded .card').length >= 48")


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
