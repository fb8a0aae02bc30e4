"""The page of a query: one file, whatever its names are."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from answers import answer, hit
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_videos import clip

from hcq_cli.web.cards import answer_of
from hcq_cli.web.gallery import file_address, gallery_page, page_of_answers

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "javascript:alert(1)",
    "</title></style></textarea><svg onload=alert(1)>",
    "&lt;b&gt;&#60;",
    "\x1b]8;;http://x\x07a",
    "\u202ecod.exe",
    "a\x00b\nc\u2028d",
    "\udcff\udcfe",
    "ä" * 127,
]


class Seen(HTMLParser):
    """The elements of a page with the names of their attributes, and its addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]


def page_of(text: str) -> str:
    film = text.replace("\0", "") or "a"
    document = answer(
        [
            {
                **hit(1, words={"text": text, "source": text}, found_by={text: 1}),
                "id": f"{text}/{text}",
                "path": f"/v/{film}",
            }
        ]
    )
    document |= {"query": text, "note": text}
    return page_of_answers([answer_of(document, lambda hit: {"video": file_address(hit["path"], Path("/p"))})])


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_adds_no_element_attribute_or_address(text: str) -> None:
    page = page_of(text)
    page.encode()  # no lone surrogate in it
    plain, seen = Seen(page_of("beach")), Seen(page)
    assert seen.elements == plain.elements
    assert all(address.startswith("./") for address in seen.addresses)


@settings(max_examples=100, deadline=None)
@given(
    (
        st.binary(min_size=1, max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"/", b"<")))
        | st.text("<>\"'&{}%\n\0a", min_size=1)
    ).filter(lambda text: text not in (".", ".."))  # no file is called so
)
def test_nor_does_any_other(text: str) -> None:
    assert Seen(page_of(text)).elements == Seen(page_of("beach")).elements


@pytest.mark.parametrize("name", ["a b#t=1.mp4", "100% ?x=1&y.mp4", "javascript:a.mp4", "été\udcff.mp4", "\\a.mp4"])
def test_an_address_leads_to_its_file_as_seen_from_the_page(tmp_path: Path, name: str) -> None:
    address = file_address(str(tmp_path / "videos" / name), tmp_path / "pages")
    parts = urlsplit(address)
    assert not (parts.scheme or parts.netloc or parts.query or parts.fragment)
    found = os.path.normpath(os.path.join(os.fsencode(tmp_path / "pages"), unquote_to_bytes(parts.path)))
    assert found == os.fsencode(tmp_path / "videos" / name)


def test_thumbnails_are_in_the_page_and_a_film_without_one_says_so(tmp_path: Path) -> None:
    film = clip(tmp_path / "a.mp4")
    made = []
    found = answer([{**hit(1), "path": str(film)}, {**hit(2), "path": str(tmp_path / "gone.mp4")}])
    page = gallery_page([found], tmp_path, made.append)
    assert page.count("data:image/jpeg;base64,") == 1 and page.count(">no picture<") == 1
    assert 'href="./a.mp4"' in page and len(made) == 2
