"""A store whose headers make no sense though their checksums are right: hcq's own error, soon, in little memory.

What a header may say is what somebody else's program wrote, by mistake or not; the checksum is right either way.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_samples import same, video
from hostile_json import VALUES, hostile
from in_process import run_here

from hcq_cli.errors import HcqError
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFacts
from hcq_cli.features.shard_header import MAGIC
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.verification import verify
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.files import write_json

PREFIX = struct.Struct("<8sII")


def sign(path: Path, body: dict[str, Any]) -> None:
    """Write a manifest with the right checksum, whatever it says."""
    from hcq_cli.files import digest_json

    signed = {"format": "hcq-features", "version": 1, "body": body}
    write_json(path, {**signed, "checksum": digest_json(signed)})


def with_header(path: Path, text: bytes) -> bytes:
    """The bytes of a shard with another header in front, whose CRC is right; the columns stay where they are."""
    raw = path.read_bytes()
    block = raw.index(b"\x89HDF\r\n\x1a\n")
    header = PREFIX.pack(MAGIC, len(text), zlib.crc32(text)) + text
    return header + raw[len(header) :] if len(header) > block else header + bytes(block - len(header)) + raw[block:]


def header_of(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return json.loads(raw[PREFIX.size : PREFIX.size + PREFIX.unpack_from(raw)[1]])


def read_all(folder: Path) -> None:
    """What `info`, `show`, `export` and a batch of a data loader read."""
    store = FeatureStore.open(folder)
    store.states(), store.failures()
    for row in range(len(store)):
        store.video(row)
    store.read(np.arange(len(store)))


def refused(read: Callable[[], object], limit_s: float = 1.0) -> int:
    """1 where it is refused with hcq's own error and 0 where it is taken; in little time both ways."""
    begun = time.process_time()
    try:
        read()
        return 0
    except HcqError as error:
        assert error.exit_code == 4 and error.hint and len(error.message) < 700, error.message
        assert error.message.isprintable(), error.message
        return 1
    finally:
        assert time.process_time() - begun < limit_s


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10  # KiB


def test_300_hostile_manifests(store: Path) -> None:
    (path,) = store.glob("manifest-*.json")
    body = json.loads(path.read_text())["body"]
    count = 0
    for other in hostile(body, 300, random.Random(1)):
        sign(path, other)
        count += refused(lambda: read_all(store))
    assert count > 200


def test_300_hostile_shard_headers(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    document, whole, count = header_of(path), path.read_bytes(), 0
    for other in hostile(document, 300, random.Random(2)):
        path.write_bytes(with_header(path, json.dumps(other).encode("utf-8", "surrogatepass")))
        count += refused(lambda: read_all(store))
        path.write_bytes(whole)
    assert count > 200


def test_hostile_incoming_headers_are_left_out(tmp_path: Path) -> None:
    write_incoming(tmp_path, video("good"))
    path = write_incoming(tmp_path, video("bad"))
    document, whole, count = header_of(path), path.read_bytes(), 0
    for other in hostile(document, 100, random.Random(3)):
        path.write_bytes(with_header(path, json.dumps(other).encode("utf-8", "surrogatepass")))
        store = FeatureStore.open(tmp_path)
        same(store, video("good"))
        count += len(store.warnings) == 1
        path.write_bytes(whole)
    assert count > 60


@pytest.mark.parametrize("text", [b"", b"null", b"[" * 200_000, b"{}", b"\xff\xfe", b'"x"', b"[1]", b"9" * 10_000])
def test_no_header_at_all(text: bytes, store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    path.write_bytes(with_header(path, text))
    assert refused(lambda: read_all(store)) == 1
    assert len(verify(store).damaged) == 1


def test_columns_that_point_elsewhere(store: Path) -> None:
    """Numbers in the columns, with right checksums of column and header."""
    (path,) = (store / "shards").iterdir()
    document, whole, chooser, count = header_of(path), path.read_bytes(), random.Random(4), 0
    names = [name for name, entry in document["datasets"].items() if entry[3] is not None and entry[2] != [0]]
    for _ in range(100):
        name = chooser.choice(names)
        offset, kind, shape, _ = document["datasets"][name]
        values = np.frombuffer(whole, kind, int(np.prod(shape)), offset).copy()
        info = np.iinfo(kind) if "f" not in kind else None
        options = [info.min, info.max, 0, 1, 7, 255] if info else [np.nan, np.inf, -1.0]
        values[chooser.randrange(len(values))] = chooser.choice(options)
        entry = [offset, kind, shape, zlib.crc32(values.tobytes())]
        changed = {**document, "datasets": {**document["datasets"], name: entry}}
        path.write_bytes(whole[:offset] + values.tobytes() + whole[offset + values.nbytes :])
        path.write_bytes(with_header(path, json.dumps(changed, separators=(",", ":")).encode()))
        count += refused(lambda: read_all(store))
        path.write_bytes(whole)
    assert count > 10


@pytest.mark.parametrize("name", ["failures.jsonl", "hashes.jsonl", "words.jsonl"])
def test_an_odd_line_is_passed_over(name: str, tmp_path: Path) -> None:
    second = VideoFacts("", "/second", "1" * 64, 1, 2)
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([video("a")])
        writer.failures.put(VideoFacts("", "/first", "0" * 64, 1, 2), "broken")
        writer.hashes.put(second)
    good = {"path": "/odd", "error": "x", "when": "", "content_hash": "c0", "size": 1, "mtime_ns": 2, "gone": False}
    good |= {"id": "a", "expert": "ocr", "identity": "", "words": [[1.0, "text"]]}
    lines = [json.dumps(other).encode("utf-8", "surrogatepass") for other in hostile(good, 300, random.Random(5))]
    lines += [json.dumps(value).encode() for value in VALUES] + [b"[" * 100_000, b"{" * 9, b"\xff", b""]
    with (tmp_path / name).open("ab") as out:
        out.write(b"\n".join([b"", *lines, b""]))
    assert refused(lambda: read_all(tmp_path)) == 0
    store = FeatureStore.open(tmp_path)
    assert store.failures()[0].path == "/first" and isinstance(store.transcripts(0), dict)
    assert run_here("features", "info", tmp_path, "--json").json["failed"][0]["path"] == "/first"
    with FeatureWriter(tmp_path) as writer:
        assert writer.known_hash(second) == "1" * 64
        writer.failures.put(VideoFacts("", "/third"), "broken")
        writer.compact()
    assert {failure.path for failure in FeatureStore.open(tmp_path).failures()} >= {"/first", "/third"}
