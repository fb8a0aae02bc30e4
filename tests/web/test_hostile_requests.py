"""What nobody asks who means well: 4xx on every one of more than 200 requests, and nothing but the index served."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from served import Served, make_workspace, served_here

from hcq_cli.web.media import key_of

pytest.importorskip("starlette")
PLAIN = key_of("plain.mp4")
SECRETS = ["/etc/passwd", "../../etc/passwd", "plain.mp4/../../x", ".", "\0", "index", "plain.mp4\0.jpg", "C:\\x"]
"""Names that are no ids of indexed videos."""
FILTERS = [
    *("a" * 2001, "1 or 1", "(" * 1900, "not " * 400, "folder =", "path", "a\0", "__import__('os')"),
    *("duration < 1e999", "duration < '", "duration < " + "9" * 1500, "taken < '9999-99-99'"),
]
KEYED = ["media", "thumbnail", "preview", "api/similar"]
PATHS = [
    *(f"/{room}/{key_of(name)}" for room, name in product(KEYED, SECRETS)),
    *(f"/{room}/{name}" for room, name in product(KEYED, ("", "AAAA", "%FF%FE", "=="))),
    *(f"/media/{PLAIN}{end}" for end in ("=", "A", "%3D", "/..", "%00", ".mp4")),
    *(
        "/media//etc/passwd",
        "/media/../../etc/passwd",
        "/media/%2Fetc%2Fpasswd",
        "/media/\\..\\x",
        "/media/" + "A" * 5000,
    ),
    *("/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%252e%252e/etc/passwd", "//etc/passwd", "//evil.example/.."),
    *("/static/", "/static/../server.py", "/static/..%2fserver.py", "/static/%00", "/static/x.css", "/nothing"),
    *("/" + "a/" * 5000, "/" + "a" * 70_000, "/%0d%0aX: y", "/a b", "/\x01", "/\xff", "api/stats", "*"),
    *("file:///etc/passwd", "http://evil.example/api/stats", "http://127.0.0.1/api/stats", "/api/stats/../../x"),
    *("/api/search", "/api/search?k=3", "/api/search?not=a", "/api/duplicates?offset=-1", "/cards?offset=x&q=a"),
    *(f"/api/search?q={q}" for q in ("", "%20", "%0a", "a" * 2001)),
    *(f"/api/search?q=a&k={k}" for k in ("0", "-1", "501", "1e3", "0x5", "1.0", "%D9%A3", "%20", "9" * 20, "1%00")),
    *(f"/api/search?q=a&offset={k}" for k in ("-1", "10001", "x", "NaN", "1_0", "%2B1")),
    *(
        f"/api/search?q=a&{name}={value}"
        for name, value in product(("sort", "by"), ("size", "__class__", "video%00"))
    ),
    *("/api/search?q=a&" + "like=QQ&" * 11, "/api/search?q=a&" + "not=b&" * 11, "/api/search?like=" + "Q" * 2001),
    *(f"/api/search?like={key_of(id)}" for id in ("plain.mp4^nan", "plain.mp4^inf", "plain.mp4^-1", *SECRETS)),
    *(f"/api/search?q=a&where={quote(where)}" for where in FILTERS),
    *(f"/{room}/{PLAIN}?t={t}" for room, t in product(KEYED[1:3], ("x", "-1", "nan", "inf", "1e300", "%00"))),
    f"/preview/{key_of('gone/1.mp4')}",
]
HOSTS = [
    *("evil.example", "127.0.0.1.evil.example", "127.0.0.1.", "", "[", "[::1", "0.0.0.0", "2130706433", "0177.0.0.1"),
    *(
        "evil@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.0.0.1/evil",
        "127.0.0.1#evil",
        "127.0.0.1?evil",
        "127.0.0.1\tx",
    ),
    *(
        "127.0.0.1:x",
        "127.0.0.1:99999999",
        "127.0.0.1:-1",
        "127.0.0.1:0",
        "127.0.0.1,evil",
        "127.0.0.1\u2100",
        "\xff",
    ),
]
ORIGINS = ["http://evil.example", "null", "", "http://127.0.0.1:1", "http://[", "http://127.0.0.1:x", "file://"]
ORIGINS += ["\xff[", "http://127.0.0.1\u2100"]
OTHER_SITES = [{"Origin": each} for each in ORIGINS] + [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "none\r\nSec-Fetch-Site: cross-site"},
    {"Sec-Fetch-Site": "cross-site, none"},
]
BODIES = [
    {"Content-Length": "4"},
    {"Content-Length": "4\r\nContent-Length: 5"},
    {"Content-Length": "-1"},
    {"Content-Length": "+0"},
    {"Content-Length": "9" * 30},
    {"Transfer-Encoding": "chunked"},
    {"Transfer-Encoding": "chunked\r\nContent-Length: 4"},
    {"Transfer-Encoding": "chunked\r\nTransfer-Encoding: identity"},
    {"Transfer-Encoding": "xchunked"},
    {"Transfer-Encoding": "\x0bchunked"},
    {"Expect": "100-continue\r\nContent-Length: 3"},
    {"X": "a\x00b"},
    {"X ": "a"},
    {"X": "a" * 200_000},
]
RANGES = [
    "bytes=5-2",
    "bytes=999999999-",
    "bytes=",
    "bytes=a-b",
    "bytes=-0",
    "bytes=0-1-2",
    "lines=0-1",
    "bytes=0.5-1",
]
METHODS = ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "CONNECT", "get", "G@T", "A" * 9000]
JUNK = [
    b"GET /\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"\r\n\r\n\r\n\r\nGET\r\n\r\n",
    b'{"jsonrpc": "2.0", "method": "x"\r\n\r\n',
]


def request(
    path: str = "/api/search?q=a", headers: dict[str, str] | None = None, method: str = "GET", host: str | None = None
) -> bytes:
    """A request in its bytes; `host` None for the right one, which `ask` puts in."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {'HOST' if host is None else host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def ask(served: Served, asked: bytes) -> bytes:
    """What comes back for what is sent just as it stands, until the server closes the connection."""
    place = urlsplit(served.address)
    with socket.create_connection((place.hostname, place.port), 20) as connection:
        connection.sendall(asked.replace(b"Host: HOST", b"Host: " + place.netloc.encode(), 1))
        told = b""
        try:
            while (piece := connection.recv(1 << 16)) and len(told) < 1 << 20:
                told += piece
        except ConnectionResetError:  # what it had not read yet
            pass
    return told


REQUESTS = [
    *map(request, PATHS),
    *(request(host=host) for host in HOSTS),
    request(host="HOST\r\nHost: evil.example"),
    *(request(headers=headers) for headers in OTHER_SITES),
    *(request(headers=headers) + b"0\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n" for headers in BODIES),
    *(request(f"/media/{PLAIN}", {"Range": each}) for each in RANGES),
    *(request(method=method) for method in METHODS),
    *JUNK,
]


def test_hundreds_of_hostile_requests_are_refused(served: Served) -> None:
    assert len(REQUESTS) > 200
    answered = {}
    for asked in REQUESTS:
        told = ask(served, asked)
        statuses = [line[:12] for line in told.splitlines() if line.startswith(b"HTTP/1.1 ")]
        if not statuses or any(not status.startswith(b"HTTP/1.1 4") for status in statuses):
            answered[asked[:300]] = statuses
        assert b"root:" not in told and b"Traceback" not in told
    assert not answered
    assert served.get("/api/search?q=a")[0] == 200


def test_a_web_socket_is_no_way_in(served: Served) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade, close", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    told = ask(served, request("/api/search?q=", {**upgrade, **key}))
    assert told.startswith(b"HTTP/1.1 400 ") and b"Sec-WebSocket-Accept" not in told


@pytest.fixture
def impatient(films: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("HCQ_DEBUG", "1")
    with served_here(make_workspace(tmp_path / ".hcq", films)) as (running, _):
        yield running


@pytest.mark.long
def test_who_never_ends_a_request_is_left(impatient: Served) -> None:
    place = urlsplit(impatient.address)
    waiting = [socket.create_connection((place.hostname, place.port), 60) for _ in range(300)]
    for connection in waiting[::2]:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
    begun = time.monotonic()
    assert [connection.recv(1) for connection in waiting] == [b""] * 300
    assert time.monotonic() - begun > 5
    assert impatient.get("/api/search?q=a")[0] == 200
    for connection in waiting:
        connection.close()
