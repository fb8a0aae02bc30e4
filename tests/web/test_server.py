"""The server over HTTP, as `hcq serve` starts it: the command line's answers, films in ranges, and nothing else."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from PIL import Image
from sample_videos import read_number
from served import FPS, NAMES, Served

from hcq_cli.duplicates.groups import DuplicateGroup, Duplicates, Member, write_duplicates
from hcq_cli.media.thumbnails import thumbnail
from hcq_cli.web.media import key_of

pytest.importorskip("starlette")


def test_an_answer_is_that_of_the_command_line(hcq: Callable[..., Any], served: Served) -> None:
    asked = served.search("a man cooking", k=30)
    said = hcq("query", "-w", served.workspace, "a man cooking", "-k", "30", "--json").json
    assert [{**hit, "key": ""} for hit in asked["hits"]] == [{**hit, "key": ""} for hit in said["hits"]]
    assert asked["videos_searched"] == said["videos_searched"] == 107


def test_further_hits_follow_without_a_gap(served: Served) -> None:
    whole = [hit["id"] for hit in served.search("a dog", k=30)["hits"]]
    assert [hit["id"] for hit in served.search("a dog", k=10, offset=20)["hits"]] == whole[20:]


def test_a_filter_and_an_order_are_those_of_the_command_line(served: Served) -> None:
    found = served.search("a dog", where="folder = 'gone'", sort="path", k=20)
    paths = [hit["path"] for hit in found["hits"]]
    assert len(paths) == 20 and paths == sorted(paths) and all("/gone/" in path for path in paths)
    status, _, body = served.get("/api/search?q=a&where=" + quote("folder ="))
    assert status == 400 and "folder" in json.loads(body)["error"]
    status, headers, body = served.get("/?q=a&sort=path&where=" + quote("folder ="))
    # A page, with what was typed still there.
    # With status 200: browsers call another one an error, and it may be half typed.
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert b'role="alert">folder is compared' in body and b'value="folder ="' in body and b"selected" in body


def test_what_is_like_a_video_does_not_hold_it(served: Served) -> None:
    status, _, body = served.get(f"/api/similar/{key_of('plain.mp4')}?k=5")
    hits = json.loads(body)["hits"]
    assert status == 200 and len(hits) == 5 and "plain.mp4" not in [hit["id"] for hit in hits]


def test_examples_and_what_it_is_not_go_with_a_text(hcq: Callable[..., Any], served: Served) -> None:
    keys = [("like", key_of(name)) for name in ("plain.mp4", "gone/3.mp4")]
    asked = urlencode([("q", "a dog"), *keys, ("not", "red ball"), ("k", 5)])
    found = json.loads(served.get("/api/search?" + asked)[2])["hits"]
    named = ["--like", "plain.mp4", "--like", "gone/3.mp4", "--not", "red ball", "-k", "5"]
    said = hcq("query", "a dog", *named, "-w", served.workspace, "--json").json["hits"]
    assert [hit["id"] for hit in found] == [hit["id"] for hit in said]
    page = served.get("/?" + asked)[2].decode()
    assert page.count('name="like"') == 2 and "like <bdi>plain.mp4</bdi>" in page and 'value="red ball"' in page
    assert "/?like=" + key_of("plain.mp4") in served.get("/?q=plain")[2].decode()
    assert served.get("/?like=" + key_of("plain.mp4"))[2].count(b'class="card"') == 48
    assert served.get("/api/search?q=a&" + "like=QQ&" * 11)[0] == 400 == served.get("/api/search?not=a")[0]


def test_duplicates_are_those_that_dedupe_found_last(served: Served) -> None:
    status, _, body = served.get("/duplicates")
    assert status == 200 and b"not looked for yet: hcq dedupe" in body and b"</html>" in body
    copies = DuplicateGroup("copy", (Member("a/b/plain.mp4", "/v/a"), Member("<b>bold.mp4", "/v/b")), 0.97)
    part = DuplicateGroup("part", (Member("plain.mp4", "/v/a", 3.5, 9.0), Member("film.webm", "/v/c", 0.0, 5.5)), 0.8)
    large = DuplicateGroup("copy", tuple(Member(f"{at}.mp4", f"/v/{at}") for at in range(5000)), 0.9)
    write_duplicates(served.workspace / "duplicates.json", Duplicates((copies, large, *[part] * 119), 107, 9))
    status, _, body = served.get("/duplicates")
    page = body.decode()
    assert status == 200 and "121 groups" in page and page.count("<section>") == 50 and "<b>bold" not in page
    assert "and 4,976 more" in page and len(body) < 200_000
    assert "<bdi>plain.mp4</bdi>" in page and "<bdi>a/b</bdi>" in page  # as in a search
    assert f"/media/{key_of('plain.mp4')}#t=3.5" in page and "0:03–0:09" in page
    # Of what is not in the index nothing is asked: it would be refused.
    assert ">7.mp4<" in page and "not in the index" in page and key_of("7.mp4") not in page
    for offset, shown, links in ((0, 50, [50, 100]), (50, 50, [0, 0, 100, 100]), (100, 21, [0, 50])):
        page = served.get(f"/duplicates?offset={offset}")[2].decode()
        assert page.count("<section>") == shown
        assert [int(at) for at in re.findall(r"offset=(\d+)", page.partition("<section>")[0])] == links
    assert served.get("/duplicates?offset=121")[0] == 400
    told = json.loads(served.get("/api/duplicates")[2])
    assert told["count"] == 121 and told["groups"][0]["members"][1]["key"] == key_of("<b>bold.mp4")


@pytest.mark.parametrize("name", NAMES)
def test_a_film_comes_in_ranges_whatever_its_name(served: Served, films: list[Path], name: str) -> None:
    content = next(path for path in films if path.name == name).read_bytes()
    status, headers, body = served.get(f"/media/{key_of(name)}", {"Range": "bytes=100-299"})
    assert (status, body) == (206, content[100:300])
    assert headers["Content-Range"] == f"bytes 100-299/{len(content)}"
    assert headers["Content-Type"].startswith("video/")
    assert served.get(f"/media/{key_of(name)}")[2] == content


def test_a_thumbnail_shows_its_second(served: Served) -> None:
    status, headers, body = served.get(f"/thumbnail/{key_of('plain.mp4')}?t=12.3")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert read_number(np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))) == 12.3 * FPS


@pytest.mark.long
def test_a_preview_begins_at_its_second(served: Served, tmp_path: Path) -> None:
    status, headers, body = served.get(f"/preview/{key_of('plain.mp4')}?t=12.3")
    assert (status, headers["Content-Type"]) == (200, "video/webm")
    (tmp_path / "preview.webm").write_bytes(body)
    first = thumbnail(str(tmp_path / "preview.webm"), 0.0)
    assert abs(read_number(np.asarray(Image.open(io.BytesIO(first)).convert("RGB"))) - 12.3 * FPS) <= 1
    assert served.get(f"/preview/{key_of('gone/1.mp4')}?t=1")[0] == 404


def test_a_picture_says_that_its_film_is_no_longer_there(served: Served) -> None:
    status, headers, body = served.get(f"/thumbnail/{key_of('gone/1.mp4')}")
    assert (status, headers["Cache-Control"]) == (200, "no-store") and b"no longer there" in body


def test_a_film_that_is_gone_or_none_is_not_found(served: Served, films: list[Path]) -> None:
    plain = films[0]
    kept = plain.with_suffix(".kept")
    plain.rename(kept)
    try:
        assert served.get(f"/media/{key_of(plain.name)}")[0] == 404
        os.mkfifo(plain)
        assert served.get(f"/media/{key_of(plain.name)}")[0] == 404
        plain.unlink()
        plain.mkdir()
        assert served.get(f"/media/{key_of(plain.name)}")[0] == 404
        plain.rmdir()
    finally:
        kept.rename(plain)


def test_who_opens_a_wrong_address_gets_a_page_and_a_program_json(served: Served) -> None:
    for path in ("/nothing", f"/media/{key_of('<b>gone')}", f"/media/{key_of('gone/1.mp4')}"):
        status, headers, body = served.get(path, {"Accept": "text/html,*/*;q=0.8"})
        assert status == 404 and headers["Content-Type"].startswith("text/html")
        assert b'role="alert"' in body and b'href="/"' in body and b"<b>" not in body
        assert "error" in json.loads(served.get(path)[2])
    status, _, body = served.get("/api/search", {"Accept": "text/html"})
    assert status == 400 and json.loads(body)["hint"]


class Elements(HTMLParser):
    """The elements of a page, with the names of their attributes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: set[tuple[str, tuple[str, ...]]] = set()
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, tuple(name for name, _ in attrs)))


@pytest.mark.parametrize(
    "query", ["<script>alert(1)</script>", '"><b>', "' onfocus=x", "\x1b[2J", "{{7*7}}", "\u202e"]
)
def test_a_query_adds_nothing_to_the_page(served: Served, query: str) -> None:
    # A note that no word is in it, and the sentence and folder of what was found by its words, are elements of ours.
    plain = Elements(served.get("/?q=dog")[2]).found | Elements(served.get("/?q=plain+gone")[2]).found
    plain |= {("p", ("class", "role")), ("p", ("class",)), ("span", ("class",)), ("bdi", ()), ("span", ())}
    plain |= {("details", ()), ("summary", ())}
    assert Elements(served.get("/?q=" + quote(query))[2]).found <= plain


def test_the_page_names_the_films_and_asks_nobody_else(served: Served) -> None:
    status, headers, body = served.get("/?q=a+man+cooking")
    page = body.decode()
    assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http://" not in page.replace(served.address, "") and "https://" not in page
    assert served.get("/")[0] == 200 and served.get("/?like=" + key_of("plain.mp4"))[0] == 200


def test_a_new_index_answers_without_a_restart(hcq: Callable[..., Any], served: Served) -> None:
    assert served.search("a dog", k=500)["videos_searched"] == 107
    hcq("index", "remove", "gone/7.mp4", "-w", served.workspace)
    after = served.search("a dog", k=500)
    assert after["videos_searched"] == 106 and "gone/7.mp4" not in [hit["id"] for hit in after["hits"]]
    assert json.loads(served.get("/api/stats")[2])["videos"] == 106
