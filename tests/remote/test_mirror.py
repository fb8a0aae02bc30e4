"""A workspace at an address: what was put is there whole, whoever dies or writes meanwhile, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faulty_store import KINDS, FaultyStore, failing
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import killed_at

from hcq_cli.errors import DamagedError, HcqError, LockedError, UsageError
from hcq_cli.remote import mirror_files, remote_generations
from hcq_cli.remote.address import Address
from hcq_cli.remote.mirror import Mirror
from hcq_cli.writer_lock import writer_lock

Content = dict[str, str]
OLD = {"index/manifest-00000001.json": "1", "index/segment-1.hcq": "one", "codes.hcq": "codes", "model/a/b.bin": "m"}
NEW = {"index/manifest-00000002.json": "2", "index/segment-2.hcq": "two", "codes.hcq": "more", "model/a/b.bin": "m"}


def lay(machine: Mirror, content: Content, part: str = "") -> None:
    """Make the workspace on a machine, or a part of it, what `content` says; each file anew, as hcq writes them."""
    for path in machine.folder.rglob("*"):
        name = path.relative_to(machine.folder).as_posix()
        if path.is_file() and name.startswith(part) and not name.startswith("."):
            path.unlink()
    for name, text in content.items():
        path = machine.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (beside := path.with_name("beside")).write_text(text)
        beside.replace(path)


def content(machine: Mirror) -> Content:
    paths = {path.relative_to(machine.folder).as_posix(): path for path in machine.folder.rglob("*")}
    return {
        name: path.read_text()
        for name, path in paths.items()
        if path.is_file() and not any(each.startswith(".") for each in name.split("/"))
        if path.name not in mirror_files.OWN_NAMES
    }


def fetched(machine: Mirror) -> Content:
    machine.fetch()
    return content(machine)


@contextmanager
def meanwhile(call: str, work: Callable[[], object], *, once: bool = True) -> Iterator[None]:
    """Do something when the store is asked for `call`, the first time or always; not for what it asks itself."""
    busy = [False]

    def told(name: str) -> None:
        if name == call and not busy[0]:
            busy[0] = True
            work()
            busy[0] = once

    with failing() as faults:
        faults.meanwhile = staticmethod(told)
        yield


@pytest.fixture(params=["file", "faulty"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Mirror]:
    """Gives machines by name: each has a folder of its own, all the same address, a folder or an object store."""
    FaultyStore.store.clear()
    address = f"file://{tmp_path}/there" if request.param == "file" else "faulty://bucket/ws"
    return lambda name: Mirror(address, tmp_path / name)


@pytest.fixture
def store(tmp_path: Path) -> Callable[[str], Mirror]:
    FaultyStore.store.clear()
    return lambda name: Mirror("faulty://bucket/ws", tmp_path / name)


def test_what_one_machine_puts_another_one_fetches(machine: Callable[[str], Mirror]) -> None:
    one, other = machine("one"), machine("other")
    one.fetch()
    lay(one, OLD)
    (one.folder / "index" / "writer.lock").touch()
    put = one.publish()
    assert (put.files, put.nbytes) == (4, 10)
    got = other.fetch()
    assert content(other) == OLD and (got.files, got.nbytes) == (4, 10) and not got.warnings
    lay(other, NEW)
    assert str(other.publish()) == "3 files, 8 bytes"  # the model is as it was
    assert fetched(one) == NEW
    assert one.publish().files == one.fetch().files == 0


def test_what_is_read_alone_is_fetched_alone(machine: Callable[[str], Mirror]) -> None:
    one, other = machine("one"), machine("other")
    lay(one, {**OLD, "features/incoming/1.h5": "x"})
    one.publish()
    assert other.fetch(["index"]).files == 2
    assert content(other) == {name: text for name, text in OLD.items() if name.startswith("index/")}
    assert fetched(other) == {**OLD, "features/incoming/1.h5": "x"}


def test_of_two_writers_one_is_told_that_the_other_was_first(machine: Callable[[str], Mirror]) -> None:
    one, other = machine("one"), machine("other")
    lay(one, OLD)
    one.publish()
    other.fetch()
    lay(one, NEW)
    one.publish()
    lay(other, {"index/manifest-00000002.json": "another"}, "index/")
    with pytest.raises(LockedError, match="another machine has changed index since") as caught:
        other.publish()
    assert "run the same command again" in caught.value.hint
    again = other.fetch()
    assert content(other) == NEW and "index: another machine has put a newer one" in again.warnings[0]
    lay(other, {"codes.hcq": "third"}, "codes.hcq")
    other.publish()
    assert fetched(one) == {**NEW, "codes.hcq": "third"}


def test_writers_of_different_parts_do_not_disturb_each_other(machine: Callable[[str], Mirror]) -> None:
    one, other = machine("one"), machine("other")
    lay(one, OLD)
    one.publish()
    other.fetch()
    lay(one, {"codes.hcq": "one's"}, "codes.hcq")
    lay(other, {"model/a/b.bin": "other's"}, "model/")
    one.publish()
    other.publish()
    both = {**OLD, "codes.hcq": "one's", "model/a/b.bin": "other's"}
    assert fetched(machine("third")) == both
    # It has not fetched the codes yet, and must not put its old ones back with the next change.
    lay(other, {"codes.hcq": "older"}, "codes.hcq")
    with pytest.raises(LockedError):
        other.publish()
    assert fetched(machine("fourth")) == both


def test_two_that_publish_at_the_same_instant(store: Callable[[str], Mirror]) -> None:
    """The other one's generation appears when the first one's manifest is on its way."""
    one, other = store("one"), store("other")
    lay(one, OLD)
    one.publish()
    other.fetch()
    lay(one, {"codes.hcq": "one's"}, "codes.hcq")
    lay(other, {"model/a/b.bin": "other's"}, "model/")
    with meanwhile("pipe_file", other.publish), pytest.raises(LockedError, match="another machine has published"):
        one.publish()
    assert fetched(store("third")) == {**OLD, "model/a/b.bin": "other's"}
    one.fetch()
    one.publish()
    assert fetched(store("fourth")) == {**OLD, "codes.hcq": "one's", "model/a/b.bin": "other's"}


def test_a_writer_that_puts_for_hours_is_told_what_was_published_meanwhile(store: Callable[[str], Mirror]) -> None:
    """So many generations that the one of its number was deleted again, and its name is free."""
    one, other = store("one"), store("other")
    lay(one, OLD)
    one.publish()
    other.fetch()
    lay(other, {"codes.hcq": "other's"}, "codes.hcq")
    with meanwhile(
        "pipe_file", lambda: [(lay(one, {"codes.hcq": f"{n}"}, "codes"), one.publish()) for n in range(6)]
    ):
        with pytest.raises(LockedError, match="another machine has published"):
            other.publish()
    assert fetched(store("third")) == {**OLD, "codes.hcq": "5"}
    assert "newer one, which takes the place" in other.fetch().warnings[0]


def test_two_that_tidy_up_at_the_same_instant(store: Callable[[str], Mirror]) -> None:
    one, other = store("one"), store("other")
    for number in range(3):
        lay(one, {"codes.hcq": f"{number}"})
        one.publish()
    other.fetch()
    lay(other, {"index/x": "other's"}, "index/")
    lay(one, {"codes.hcq": "3"}, "codes")
    calls = iter(range(9))

    def publish() -> None:
        if next(calls) == 1:  # the other one reads what its generations name
            one.publish()

    with meanwhile("get_file", publish, once=False):
        other.publish()
    assert fetched(store("third"))["index/x"] == "other's"


def test_what_is_replaced_here_while_it_is_published_goes_with_the_next(store: Callable[[str], Mirror]) -> None:
    one = store("one")
    lay(one, OLD)
    with meanwhile("pipe_file", lambda: lay(one, {"codes.hcq": "later"}, "codes.hcq")):
        one.publish()
    assert fetched(store("other")) == OLD
    one.publish()
    assert fetched(store("other"))["codes.hcq"] == "later"


def test_what_a_cleared_cache_has_lost_is_fetched_and_not_deleted_there(machine: Callable[[str], Mirror]) -> None:
    one = machine("one")
    lay(one, OLD)
    one.publish()
    shutil.rmtree(one.folder / "model")
    (one.folder / "index/segment-1.hcq").unlink()
    assert fetched(one) == OLD
    one.publish()
    assert fetched(machine("other")) == OLD


def test_an_address_that_is_empty_all_at_once_empties_nothing_here(
    machine: Callable[[str], Mirror], tmp_path: Path
) -> None:
    one = machine("one")
    lay(one, OLD)
    one.publish()
    lay(one, {"codes.hcq": "unpublished"}, "codes.hcq")
    lay(one, {"texts.hcq": "new"}, "texts.hcq")
    FaultyStore.store.clear()
    shutil.rmtree(tmp_path / "there", ignore_errors=True)
    for work in (one.fetch, one.publish):
        with pytest.raises(HcqError, match="nothing lies there any more"):
            work()
    assert content(one) == {**OLD, "codes.hcq": "unpublished", "texts.hcq": "new"}
    assert not one._generations.numbers()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("work", ["publish", "fetch"])
def test_a_call_that_fails_leaves_the_old_or_the_new(store: Callable[[str], Mirror], work: str, kind: str) -> None:
    at = 0
    while True:
        at += 1
        FaultyStore.store.clear()
        for name in ("one", "other", "third", "fourth"):
            shutil.rmtree(store(name).folder, ignore_errors=True)
        one, other = store("one"), store("other")
        lay(one, OLD)
        one.publish()
        other.fetch()
        lay(one, NEW)
        if work == "fetch":
            one.publish()
        with failing(at, kind) as faults:
            try:
                one.publish() if work == "publish" else other.fetch()
            except HcqError as error:
                assert "faulty://bucket/ws" in error.message and error.hint
        if faults.calls < at:
            break
        assert fetched(store("third")) in ((OLD, NEW) if work == "publish" else (NEW,))
        one.publish()
        assert fetched(other) == fetched(store("fourth")) == NEW and not other.fetch().warnings
    assert at > 5


CALLS = ("replace", "link", "unlink", "mkdir", "fsync")


@pytest.mark.long
@pytest.mark.parametrize("work", ["publish", "fetch"])
def test_a_process_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path, work: str) -> None:
    def machine(name: str) -> Mirror:
        return Mirror(f"file://{tmp_path}/{step}/there", tmp_path / str(step) / name)

    step = 0
    while True:
        step += 1
        one, other = machine("one"), machine("other")
        lay(one, {**OLD, "features/incoming/1.h5": "part"})
        one.publish()
        other.fetch()
        lay(one, {**NEW, "features/shards/1.h5": "part"})  # where the part was taken in
        if work == "fetch":
            one.publish()
        if not killed_at(step, one.publish if work == "publish" else other.fetch, CALLS):
            break
        before, after = {**OLD, "features/incoming/1.h5": "part"}, {**NEW, "features/shards/1.h5": "part"}
        there = fetched(machine("third"))
        late = {**after, "features/incoming/1.h5": "part"}  # in a generation, and not yet removed
        assert there in ((before, after, late) if work == "publish" else (after,))
        one.publish()
        assert fetched(other) == fetched(machine("fourth")) == after
        shutil.rmtree(tmp_path / str(step))
    assert step > 10


PARTS = ("index", "model")


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["fetch", "publish", *PARTS, "index as before"]))))
def test_no_acknowledged_change_is_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    """Two machines in any order of doings, held against a model of a few lines: part by part what is there, and of
    each machine what it has and what it has last seen there."""
    FaultyStore.store.clear()
    folder = tmp_path_factory.mktemp("machines")
    machines = {name: Mirror("faulty://bucket/any", folder / name) for name in "ab"}
    there: Content = {}
    has: dict[str, Content] = {name: {} for name in machines}
    seen: dict[str, Content] = {name: {} for name in machines}
    for number, (name, doing) in enumerate(steps):
        mine, known = has[name], seen[name]
        changed = [part for part in PARTS if mine.get(part) != known.get(part)]
        if doing == "fetch":
            machines[name].fetch()
            for part in PARTS:
                if part in there and not (part in changed and there[part] == known.get(part)):
                    mine[part] = known[part] = there[part]
        elif doing == "publish":
            try:
                machines[name].publish()
                refused = False
            except LockedError:
                refused = True
            assert refused == any(there.get(part) not in (known.get(part), mine[part]) for part in changed)
            for part in [] if refused else changed:
                there[part] = known[part] = mine[part]
        else:
            part = doing.partition(" ")[0]
            mine[part] = mine.get(part, "") if doing != part else str(number)
            lay(machines[name], {f"{part}/x": mine[part]}, f"{part}/")
        assert content(machines[name]) == {f"{part}/x": text for part, text in mine.items()}
    assert fetched(Mirror("faulty://bucket/any", folder / "last")) == {f"{part}/x": at for part, at in there.items()}


def test_a_part_that_is_damaged_there_is_as_if_it_were_missing(machine: Callable[[str], Mirror]) -> None:
    one, other = machine("one"), machine("other")
    lay(one, OLD)
    one.publish()
    names = [name for name in one._there.listed("files") if one._there.listed("files")[name] == 3]
    (broken := one.folder / ".broken").write_text("xxx")
    one._there.put(broken, f"files/{names[0]}")
    told = other.fetch()
    assert "index/segment-1.hcq is damaged there" in told.warnings[0]
    assert content(other) == {name: text for name, text in OLD.items() if "segment" not in name}
    lay(other, {name: text for name, text in NEW.items() if name.startswith("index/")}, "index/")  # built anew
    other.publish()
    assert fetched(one)["index/segment-2.hcq"] == "two" and not one.fetch().warnings


def test_a_manifest_that_is_damaged_is_not_taken_for_an_empty_workspace(machine: Callable[[str], Mirror]) -> None:
    one = machine("one")
    lay(one, OLD)
    one.publish()
    (broken := one.folder / ".broken").write_text("{}\n")
    one._there.put(broken, "manifest-00000001.json")
    for each in (one, machine("other")):
        with pytest.raises(DamagedError):
            each.fetch()


@pytest.mark.parametrize("path", ["../x", "/x", ".remote/state.json", "a/../../x", "a//x"])
def test_a_manifest_writes_nowhere_but_into_the_mirror(store: Callable[[str], Mirror], path: str) -> None:
    one, other = store("one"), store("other")
    data = remote_generations.signed({path: remote_generations.RemoteFile(1, "0" * 64, "x")})
    assert one._there.create("manifest-00000001.json", data)
    with pytest.raises(DamagedError, match="makes no sense"):
        other.fetch()


def test_what_names_a_file_is_not_there_longer_than_that(
    machine: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads meanwhile, or after a kill, finds what it finds named."""
    one, other = machine("one"), machine("other")
    segments = {f"index/{number}.hcq": f"{number}" for number in range(20)}
    lay(one, {**segments, "index/manifest-00000007.json": "7"})
    one.publish()
    other.fetch()
    lay(one, {"index/manifest-00000001.json": "1", "index/new.hcq": "new"})  # built anew
    one.publish()
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".hcq":
            assert not (path.parent / "manifest-00000007.json").exists()
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    other.fetch()
    assert content(other) == {"index/manifest-00000001.json": "1", "index/new.hcq": "new"}


@pytest.mark.parametrize("part", ["index", "model/a", "features", "features/incoming"])
def test_a_link_in_a_mirror_leads_to_no_file_elsewhere(
    machine: Callable[[str], Mirror], tmp_path: Path, part: str
) -> None:
    one, other = machine("one"), machine("other")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    (other.folder / part).parent.mkdir(parents=True)
    (other.folder / part).symlink_to(elsewhere)
    lay(one, {**OLD, "features/incoming/1.h5": "x"})
    one.publish()
    for work in (other.fetch, other.publish):
        with pytest.raises(DamagedError, match="is a link, not a folder"):
            work()
    assert [path.name for path in elsewhere.rglob("*")] == ["mine.txt"]


def test_a_mirror_that_was_deleted_is_fetched_anew_and_one_that_lost_its_note_too(
    machine: Callable[[str], Mirror],
) -> None:
    one = machine("one")
    lay(one, OLD)
    one.publish()
    shutil.rmtree(one.folder)
    assert fetched(one) == OLD and one.publish().files == 0
    shutil.rmtree(one.folder / mirror_files.NOTES)
    assert fetched(one) == OLD and one.publish().files == 0


def test_what_another_process_here_is_writing_is_left_alone(machine: Callable[[str], Mirror]) -> None:
    one, other = machine("one"), machine("other")
    lay(one, OLD)
    (one.folder / "index" / "writer.lock").touch()
    with writer_lock(one.folder / "index"):
        assert one.publish().files == 2
    assert set(fetched(other)) == {"codes.hcq", "model/a/b.bin"}
    one.publish()
    assert fetched(other) == OLD


def test_shared_files_are_put_one_by_one_and_go_when_they_were_taken_in(machine: Callable[[str], Mirror]) -> None:
    first, second, whole = machine("first"), machine("second"), machine("whole")
    for each in (first, second):
        each.fetch()
    for number, each in enumerate((first, second)):
        lay(each, {f"features/incoming/{number}.h5": f"{number}", f"features/logs/hashes-{number}.jsonl": "a"})
        each.keep()
    (second.folder / "features/logs/hashes-1.jsonl").write_text("ab")
    second.publish()
    assert not first._generations.numbers()  # a share publishes nothing
    parts = fetched(whole)
    assert sorted(parts.values()) == ["0", "1", "a", "ab"]
    lay(whole, {"features/shards/1.h5": "01"})
    whole.publish()
    assert not whole._there.listed("parts")
    assert fetched(first) == fetched(second) == {"features/shards/1.h5": "01"}


def test_a_shared_file_of_a_fetch_that_was_killed_goes_too_when_it_was_taken_in(
    machine: Callable[[str], Mirror],
) -> None:
    one, other = machine("one"), machine("other")
    lay(one, {"features/incoming/1.h5": "x"})
    one.keep()
    other.fetch()
    (other.folder / mirror_files.NOTES / "state.json").unlink()  # it is written last
    other.fetch()
    lay(other, {"features/shards/1.h5": "x"})
    other.publish()
    assert not other._there.listed("parts") and fetched(one) == {"features/shards/1.h5": "x"}


def test_a_shared_file_that_another_one_has_taken_in_is_not_put_again(machine: Callable[[str], Mirror]) -> None:
    one, other = machine("one"), machine("other")
    lay(one, {"features/a": "1"})
    one.publish()
    other.fetch()
    lay(one, {"features/a": "1", "features/incoming/1.h5": "x"})
    one.keep()
    other.fetch()
    lay(other, {"features/a": "1", "features/shards/1.h5": "x"})
    other.publish()
    lay(one, {"features/a": "mine"}, "features/a")
    assert "takes the place" in one.fetch().warnings[0]
    one.publish()
    assert content(one) == {"features/a": "1", "features/shards/1.h5": "x"} and not one._there.listed("parts")


def test_what_nothing_names_goes_after_a_time_of_grace(
    machine: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    (left := one.folder / "left").parent.mkdir(parents=True)
    left.write_text("of a killed writer")
    unfinished = ["files/.0.tmp", "parts/features/incoming/.0.tmp"]  # where a put was killed
    for name in ("files/00000001-left", *unfinished):
        one._there.put(left, name)
    left.unlink()
    for number in range(6):
        lay(one, {"codes.hcq": f"{number}"})
        one.publish()
    assert len(one._there.listed("files")) == 7 and one._generations.numbers() == [4, 5, 6]
    monkeypatch.setattr(remote_generations, "GRACE_S", -1.0)
    lay(one, {"codes.hcq": "last"})
    assert [one._there.age_s(name) < 60 for name in unfinished] == [True, True]
    one.publish()
    assert len(one._there.listed("files", whole=False)) == 3 and not one._there.listed("parts", whole=False)
    assert fetched(machine("other")) == {"codes.hcq": "last"}


def test_a_large_workspace_is_not_read_again(
    machine: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    lay(one, OLD)
    one.publish()
    monkeypatch.setattr(mirror_files.files, "digest_file", lambda path, **how: pytest.fail(f"{path} was read"))
    assert one.fetch().files == one.publish().files == 0


def test_errors_of_addresses_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Protocol not known"):
        Address("nope://x/y")
    with pytest.raises(UsageError, match="s3:/x/y: is no address"):
        Address("s3:/x/y")
    with pytest.raises(UsageError) as caught:
        Address("gs://x/y")
    assert caught.value.hint == "install it: pip install gcsfs"
    (tmp_path / "closed").mkdir(mode=0o500)
    if os.geteuid():
        with pytest.raises(HcqError, match="closed"):
            Mirror(f"file://{tmp_path}/closed/ws", tmp_path / "mirror").fetch()
    monkeypatch.setattr(FaultyStore, "pipe_file", lambda self, path, value, mode="": self.store.update({path: value}))
    told = Mirror("faulty://bucket/loose", tmp_path / "loose").fetch()
    assert "let one write at a time" in told.warnings[0]


def test_a_second_process_waits_for_the_first(
    machine: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    monkeypatch.setattr(mirror_files, "WAIT_S", 0.2)
    with one._here.alone(), pytest.raises(LockedError):
        begun = time.monotonic()
        one.fetch()
    assert time.monotonic() - begun < 5
