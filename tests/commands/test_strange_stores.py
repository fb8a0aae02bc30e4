"""A feature store that somebody else made: whatever its manifest and its folder name, no other file is touched.

Every manifest here has the right checksum, and the files it points at are whole shards with the right digests, or
are not, as it says: nothing but the name itself is wrong.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import typer
from feature_samples import video

from hcq_cli.app import build
from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFacts
from hcq_cli.features.transcripts import read_transcripts, write_transcripts
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.files import digest_file
from hcq_cli.generations import Generations

PROGRAM: Any = typer.main.get_command(build())
WITHIN_S = 20


@contextmanager
def in_time() -> Iterator[None]:
    """Ends what waits for a pipe or reads a device."""

    def too_late(number: int, frame: object) -> None:
        raise TimeoutError(f"not done within {WITHIN_S} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(WITHIN_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "store"
    with FeatureWriter(folder) as writer:
        writer.add_videos([video("a.mp4"), video("b.mp4")])
    write_incoming(folder, video("late.mp4"))
    return folder


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    """The store, in a folder of its own, with a victim two levels up: a whole shard of one video."""
    folder = tmp_path / "theirs" / "store"
    shutil.copytree(pristine, folder)
    with FeatureWriter(tmp_path / "mine") as writer:
        writer.add_videos([video("mine.mp4")])
    (shard,) = (tmp_path / "mine" / "shards").iterdir()
    shutil.copy(shard, tmp_path / "victim.h5")
    shutil.copy(shard, tmp_path / "theirs" / "victim.h5")
    return folder


def forge(store: Path, name: object, sha256: str | None = None, **changed: object) -> None:
    """A manifest that names one more shard, and says the truth about the victim unless told otherwise."""
    victim = store.parent.parent / "victim.h5"
    known = Generations(store, "hcq-features", 1, "")
    entry = {"name": name, "videos": 1, "bytes": victim.stat().st_size, "sha256": sha256 or digest_file(victim)}
    known.publish({"shards": [*known.read(1).body["shards"], {**entry, **changed}]})


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """What lies where: kind, inode, time, and content or target."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        about, content = path.lstat(), b""
        if stat.S_ISREG(about.st_mode):
            content = path.read_bytes()
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        time_ns = 0 if stat.S_ISDIR(about.st_mode) else about.st_mtime_ns
        found[str(path.relative_to(folder))] = (stat.S_IFMT(about.st_mode), about.st_ino, time_ns, content)
    return found


COMMANDS = {
    "info": ("features", "info", "STORE"),
    "show": ("features", "show", "a.mp4", "STORE"),
    "verify": ("features", "verify", "STORE"),
    "mend": ("features", "verify", "--mend", "STORE"),
    "export": ("features", "export", "STORE", "-o", "OUT"),
    "extract": ("extract", "CLIP", "--experts", "audio", "--workers", "1", "-o", "STORE"),
    "dry-run": ("extract", "CLIP", "--experts", "audio", "--dry-run", "-o", "STORE"),
    "encode": ("encode", "STORE", "--ckpt", "CKPT", "-o", "OUT"),
}


@pytest.fixture
def refused(
    store: Path,
    clips: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], None]:
    """See that every command ends with exit code 4, soon, and that nothing at all has moved or changed."""
    # Imported now: for the first time below, it would keep what stands for `read_header` here, for all later tests.
    import hcq_cli.model.video_side  # noqa: F401

    monkeypatch.setattr("hcq_cli.model.checkpoint.read_header", lambda folder: None)  # encode asks for that first
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    places = {"STORE": str(store), "CLIP": str(clips / "clip0.mp4"), "OUT": "out.npz", "CKPT": "model"}

    def check() -> None:
        before = everything(tmp_path)
        for name, words in COMMANDS.items():
            with in_time(), pytest.raises(HcqError) as caught:
                PROGRAM.main([places.get(word, word) for word in words], prog_name="hcq", standalone_mode=False)
            assert caught.value.exit_code == 4, f"{name}: {caught.value}"
            assert str(store) in caught.value.message and caught.value.hint, name
            after = everything(tmp_path)
            assert {path: after.get(path) for path in before} == before, name
            assert not {path for path in set(after) - set(before) if "set-aside" in path or "shards" in path}, name

    return check


LEADING_OUT = {
    "above": "../../../victim.h5",
    "above, as a folder": "../shards/../../../victim.h5",
    "beside the shards": "../manifest-00000001.json",
    "absolute": "/VICTIM",
    "device": "/dev/zero",
    "empty": "",
    "dot": ".",
    "dots": "..",
    "NUL": "a\0.h5",
    "in a folder": "sub/victim.h5",
    "backslash": "..\\victim.h5",
    "surrogate": "\ud800.h5",
    "too long": "x" * 300,
    "number": 7,
    "nothing": None,
    "list": ["victim.h5"],
}


@pytest.mark.parametrize("name", LEADING_OUT.values(), ids=LEADING_OUT)
def test_a_name_that_leads_out_of_the_folder(store: Path, refused: Callable[[], None], name: object) -> None:
    (store / "shards" / "sub").mkdir()
    shutil.copy(store.parent.parent / "victim.h5", store / "shards" / "sub" / "victim.h5")
    forge(store, str(store.parent.parent / "victim.h5") if name == "/VICTIM" else name)
    refused()


@pytest.mark.parametrize("name", ["../../../victim.h5", "/VICTIM"])
def test_a_name_that_leads_out_to_a_file_that_looks_damaged(
    store: Path, refused: Callable[[], None], name: str
) -> None:
    """What mending would set aside."""
    victim = store.parent.parent / "victim.h5"
    victim.write_text("my diary")
    forge(store, str(victim) if name == "/VICTIM" else name, sha256="0" * 64)
    refused()


def socket_at(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


IRREGULAR: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": socket_at,
    "folder": Path.mkdir,
    "link to a file": lambda path: path.symlink_to(path.parents[3] / "victim.h5"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("make", IRREGULAR.values(), ids=IRREGULAR)
def test_a_shard_that_is_no_file(store: Path, refused: Callable[[], None], make: Callable[[Path], None]) -> None:
    make(store / "shards" / "0123456789abcdef.h5")
    forge(store, "0123456789abcdef.h5")
    refused()


@pytest.mark.parametrize("make", IRREGULAR.values(), ids=IRREGULAR)
def test_an_incoming_file_that_is_no_file(
    store: Path, refused: Callable[[], None], make: Callable[[Path], None]
) -> None:
    make(store / "incoming" / f"{0:020d}-{0:012x}.h5")
    refused()


@pytest.mark.parametrize("make", IRREGULAR.values(), ids=IRREGULAR)
def test_a_manifest_that_is_no_file(store: Path, refused: Callable[[], None], make: Callable[[Path], None]) -> None:
    if make is IRREGULAR["link to a file"]:
        shutil.copy(store / "manifest-00000001.json", store.parent / "manifest")
        (store / "manifest-00000009.json").symlink_to("../manifest")
    else:
        make(store / "manifest-00000009.json")
    refused()


@pytest.mark.parametrize("name", ["shards", "incoming", "set-aside"])
def test_a_folder_of_the_store_that_is_a_link(store: Path, refused: Callable[[], None], name: str) -> None:
    """Folding deletes what no manifest names, mending moves: neither may happen through a link."""
    home = store.parent.parent / "home"
    if (store / name).exists():
        shutil.move(store / name, home)
    else:
        home.mkdir()
    for keepsake in ("diary.txt", "late.h5", ".half.tmp"):
        (home / keepsake).write_text("mine")
    (store / name).symlink_to(home)
    refused()


CHANGED = {
    "bytes": "12",
    "videos": None,
    "sha256": 5,
}


@pytest.mark.parametrize("key", CHANGED)
def test_a_manifest_whose_numbers_are_none(store: Path, refused: Callable[[], None], key: str) -> None:
    shutil.copy(store.parent.parent / "victim.h5", store / "shards" / "victim.h5")
    forge(store, "victim.h5", **{key: CHANGED[key]})
    refused()
    known = Generations(store, "hcq-features", 1, "")
    for body in ({"shards": "victim.h5"}, {"shards": ["victim.h5"]}, {"shards": {"name": "victim.h5"}}):
        known.publish(body)
        refused()


def test_an_older_manifest_does_not_lead_out_either(store: Path, tmp_path: Path) -> None:
    """Mending goes back to it; folding deletes only what no generation names."""
    known = Generations(store, "hcq-features", 1, "")
    sound = known.read(1).body["shards"]
    forge(store, "../../../victim.h5", sha256="0" * 64)
    known.publish({"shards": sound})
    with FeatureWriter(store) as writer:
        writer.compact()
    assert (store.parent.parent / "victim.h5").is_file()
    # Once more, as folding has let go of the older generations.
    sound = known.read(known.numbers()[-1]).body["shards"]
    victim = {"name": "../../../victim.h5", "videos": 1, "bytes": 1, "sha256": "0" * 64}
    known.publish({"shards": [*sound, victim]})
    known.publish({"shards": sound})
    known.path(known.numbers()[-1]).write_bytes(b"damaged")
    before = everything(tmp_path)
    with pytest.raises(HcqError) as caught:
        PROGRAM.main(["features", "verify", "--mend", str(store)], prog_name="hcq", standalone_mode=False)
    assert caught.value.exit_code == 4
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["words.jsonl", "failures.jsonl", "hashes.jsonl", "writer.lock"])
@pytest.mark.parametrize(
    "make", [IRREGULAR["pipe"], IRREGULAR["link to a device"], None], ids=["pipe", "zero", "link"]
)
def test_a_file_beside_the_manifest_that_is_no_file(
    store: Path, tmp_path: Path, name: str, make: Callable[[Path], None] | None
) -> None:
    """Lines are appended to them, and a lock's file may be emptied: not where a link leads."""
    (tmp_path / "diary").write_text("mine\n")
    (store / name).unlink(missing_ok=True)
    if make is None:
        (store / name).symlink_to(tmp_path / "diary")
    else:
        make(store / name)
    before = everything(tmp_path)
    with in_time(), pytest.raises(DamagedError, match=name), FeatureWriter(store) as writer:
        writer.failures.put(VideoFacts("", "/x"), "broken")
    if name == "words.jsonl":
        with in_time(), pytest.raises(DamagedError, match=name):
            read_transcripts(store, "c0")
        spoken = video("a.mp4")
        tokens = spoken.tokens["appearance"]
        object.__setattr__(tokens, "words", ("hello",) * len(tokens.times))
        with in_time(), pytest.raises(DamagedError, match=name):
            write_transcripts(store, spoken)
    after = everything(tmp_path)
    assert {path: after.get(path) for path in before} == before


def test_an_honest_store_with_a_damaged_shard_is_still_mended(store: Path, tmp_path: Path) -> None:
    (shard,) = (store / "shards").iterdir()
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with suppress(SystemExit, typer.Exit):
        PROGRAM.main(["features", "verify", "--mend", str(store)], prog_name="hcq", standalone_mode=False)
    assert (store / "set-aside" / shard.name).read_bytes() == whole[:-1] and not shard.exists()
    newest = max(store.glob("manifest-*"))
    newest.write_text("damaged")
    PROGRAM.main(["features", "verify", "--mend", str(store)], prog_name="hcq", standalone_mode=False)
    assert (store / "set-aside" / newest.name).read_text() == "damaged"
    assert not (store.parent / "set-aside").exists()


def test_from_outside(hcq: Callable[..., Any], store: Path, tmp_path: Path) -> None:
    """As a person meets it, who does what the message says."""
    (tmp_path / "victim.h5").write_text("my diary")
    forge(store, "../../../victim.h5", sha256="0" * 64)
    for more in ([], ["--mend"]):
        done = hcq("features", "verify", store, *more, code=4, timeout=60)
        assert "../../../victim.h5" in done.err and "→" in done.err
    assert (tmp_path / "victim.h5").read_text() == "my diary"
    os.mkfifo(store / "shards" / "pipe.h5")
    forge(store, "pipe.h5")
    assert "pipe" in hcq("features", "info", store, code=4, timeout=60).err
