"""300 hostile names, subtitles and captions, through all that shows them: no element, attribute or control byte."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from feature_samples import video
from served import Served, served_here
from trained import save_workspace

from hcq_cli.api.indexing import build_index
from hcq_cli.api.reporting import Report
from hcq_cli.codes.codefile import CodeWriter, open_codes
from hcq_cli.features.folder import write_incoming
from hcq_cli.web.media import key_of
from hcq_cli.web.report import report_page
from hcq_cli.workspace import Workspace

mcp = pytest.importorskip("mcp")
pytest.importorskip("starlette")
pytestmark = pytest.mark.long
PIECES = [
    *(
        "<script>alert(1)<",
        '"><img src=x onerror=alert(1)>',
        "' onfocus='alert(1)",
        "<!--",
        "-->",
        "]]>",
        "<svg onload=a>",
    ),
    *(
        "javascript:alert(1)",
        "{{7*7}}",
        "{% raw %}",
        "${7*7}",
        "#{7}",
        "&lt;b&gt;",
        "&#60;",
        "%3Cb%3E",
        "\\u003cb",
        "`id`",
    ),
    *(
        "\x1b[31m",
        "\x1b]8;;http:x\x07",
        "\x1b]52;c;YQ==\x07",
        "\x9b2J",
        "\r",
        "\n",
        "\t",
        "\x08",
        "\x7f",
        "\u2028",
        "\x85",
    ),
    *(
        "\u202e",
        "\u2066",
        "\u200f",
        "\ufeff",
        "\U000e0041",
        "\u0301" * 30,
        "é",
        "\udcff",
        "\udcc3",
        "🎬",
        "-rf",
        "~",
        "*",
        " ",
    ),
    *(
        "$(id)",
        ";id",
        "|id",
        "a" * 200,
        "\ufffe",
        "\x00"[:0],
        "?x=1&y#t=1",
        "%00",
        "..",
        "con",
        "\\..\\",
        "=cmd()",
        "[b]",
    ),
]
"""Of which names and sentences are put together."""
STEERS = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028}
SHOWN = {ord(" "), ord("\n"), ord("│"), ord("─")}


def hostile(count: int) -> list[str]:
    """Names that a file may have, each once; the last end in one long piece."""
    chance, found = random.Random(0), dict[str, None]()
    while len(found) < count:
        name = "".join(chance.choices(PIECES, k=chance.randint(1, 4)))
        if name.strip(".") and len(os.fsencode(name)) <= 240:
            found[name] = None
    return list(found)


def steering(text: str) -> list[str]:
    return sorted({character for character in text if ord(character) in STEERS - SHOWN})


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, tuple[str, ...]]] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [f"{name}.mp4" for name in hostile(300)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> Path:
    root = tmp_path_factory.mktemp("hostile") / ".hcq"
    videos = root.parent / "videos"
    videos.mkdir()
    for name, said in zip(names, hostile(301)[1:], strict=True):
        (videos / name).write_bytes(b"no film")
        times = "1\n00:00:01,000 --> 00:00:02,000\n"
        (videos / f"{name[:-4]}.srt").write_bytes(times.encode() + os.fsencode(f"hostile {said}\n\n"))
    for at, name in enumerate(names):
        write_incoming(root / "features", video(name, content=f"c{at}", path=str(videos / name)))
    told = [{"video": name, "caption": caption} for name, caption in captions_of(names).items()]
    save_workspace(root)
    (root / "captions.jsonl").write_text("\n".join(map(json.dumps, told)))
    codes = open_codes(root / "codes.hcq")
    with CodeWriter(root / "films.hcq", codes.header, codes.codebooks, codes.scale) as writer:
        random_codes = np.random.default_rng(0).integers(0, 32, (len(names), codes.header.S), np.uint8)
        writer.append(names, [str(videos / name) for name in names], random_codes)
    build_index(Workspace(root), [root / "films.hcq"])
    return root


def captions_of(names: list[str]) -> dict[str, str]:
    """A hostile caption each."""
    return {name: f"told {said}\0" for name, said in zip(names, hostile(302)[2:], strict=True)}


def is_text(caption: str) -> bool:
    """Whether it holds no half characters: such lines are left out of the words."""
    return not any("\ud800" <= letter <= "\udfff" for letter in caption)


@pytest.mark.parametrize("query", ["a dog", '"hostile"', '"told"'])
def test_table_json_and_gallery(hcq: Callable[..., Any], workspace: Path, names: list[str], query: str) -> None:
    asked = ("query", query, "-k", "300", "--all", "-w", workspace)
    said = hcq(*asked)
    assert not steering(said.out) and not steering(said.err)
    hits = hcq(*asked, "--json").json["hits"]
    readable = {name for name, caption in captions_of(names).items() if is_text(caption)}
    assert {hit["id"] for hit in hits} == (readable if query == '"told"' else set(names))
    page = workspace.parent / "found.html"
    hcq(*asked, "--html", page)
    found = Elements(page.read_text("utf-8"))
    assert all(link.startswith(("./", "data:image/")) for link in found.links)
    assert not steering(page.read_text("utf-8")) and {tag for tag, _ in found.found} <= TAGS


TAGS = {"html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p", "ol", "li", "a", "img"}
TAGS |= {"span", "bdi", "meter", "dialog", "video", "form", "button", "script", "details", "summary", "header", "nav"}
TAGS |= {"link", "label", "input", "select", "option", "div"}
"""Of our own pages."""


def test_the_server(workspace: Path, names: list[str]) -> None:
    with served_here(workspace) as (served, _):
        plain = Elements(page_of(served, "plain")).found
        for query in ("a dog", '"hostile"', '"told"', *names[:40]):
            page = page_of(served, query)
            found = Elements(page)
            # What was typed stays in its field as it was.
            assert (
                not steering(re.sub('name="q" value="[^"]*"', "", page)) and {tag for tag, _ in found.found} <= TAGS
            )
            assert all(link.startswith(("/", "data:,")) for link in found.links)
            assert not [each for each in found.found - plain if any(name.startswith("on") for name in each[1])]
        for name in names:
            status, headers, body = served.get(f"/media/{key_of(name)}")
            assert status in (200, 404) and b"<script" not in body
            assert "\n" not in str(headers["Content-Disposition"] or "")


def page_of(served: Served, query: str) -> str:
    asked = urlencode({"q": query}, errors="surrogateescape")
    status, _, body = served.get(f"/?{asked}")
    assert status == 200
    return body.decode()


def test_the_report(hcq: Callable[..., Any], workspace: Path, names: list[str]) -> None:
    found = Report(Path(names[0]), videos=300, formats=dict.fromkeys(names, 1), failures={"why": names})
    written = workspace.parent / "report.html"
    hcq("report", "-w", workspace, "-o", written)
    page = report_page(found, [], []) + written.read_text("utf-8")
    assert not steering(page) and {tag for tag, _ in Elements(page).found} <= TAGS | {
        "table",
        "thead",
        "tr",
        "th",
        "td",
        "ul",
    }


def test_an_agent(workspace: Path, names: list[str]) -> None:
    start = mcp.StdioServerParameters(
        command=sys.executable, args=["-m", "hcq_cli", "mcp", f"w={workspace}"], env=dict(os.environ)
    )

    async def talk() -> list[Any]:
        async with mcp.stdio_client(start) as streams, mcp.ClientSession(*streams) as session:
            await session.initialize()
            calls = [("search", {"query": "a dog", "k": 50})]
            calls += [("words", {"sentence": sentence, "k": 50}) for sentence in ("hostile", "told")]
            calls += [
                ("similar", {"id": name}) for name in names[:20] if "\udcff" not in name and "\udcc3" not in name
            ]
            return [await session.call_tool(name, given) for name, given in calls]

    for answer in asyncio.run(asyncio.wait_for(talk(), 200)):
        text = json.dumps(answer.structured_content, ensure_ascii=False)
        assert not steering(text) and len(text) < 100_000
        assert answer.is_error or "untrusted" in text
