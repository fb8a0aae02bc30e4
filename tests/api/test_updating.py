"""A folder that changes, brought up to date day by day, ends as if it had been made at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from followed_folder import FollowedFolder
from store_contents import contents

import hcq_cli as hcq
from hcq_cli.api import updating
from hcq_cli.codes.codefile import open_codes
from hcq_cli.collection import change_collection, read_collection
from hcq_cli.errors import NotFoundError
from hcq_cli.features.store import FeatureStore
from hcq_cli.workspace import Workspace


class Serial:
    """Stands for the pool of workers: the experts run in this process, which need not be started."""

    def __init__(self, experts, names, options, videos, on_reading) -> None:
        from serial_executor import SerialExecutor

        for expert in experts:
            expert.prepare("cpu")
        self._executor = SerialExecutor(experts, options)

    def __enter__(self):
        return self._executor

    def __exit__(self, *failure) -> None:
        pass


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcq_cli.extraction.extract.WorkerPool", Serial)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights that knows the expert audio."""
    import torch

    from hcq_cli.extraction.options import load_experts
    from hcq_cli.model import checkpoint, text
    from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig
    from hcq_cli.model.hcq import HCQ

    torch.manual_seed(0)
    config = ModelConfig(
        width=16,
        levels=2,
        text=TextConfig(layers=1, heads=2, width=16, ffn=16),
        quantizer=QuantizerConfig(codebooks=2, codewords=16),
        experts={"audio": ExpertConfig(load_experts(["audio"])[0].dim)},
    )
    encoder = text.build(config.text, ["a dog barks", "a man cooks"])
    folder = tmp_path_factory.mktemp("trained") / "model"
    checkpoint.save(folder, HCQ(config, encoder.transformer), encoder)
    return folder


class Life(FollowedFolder):
    """A workspace beside the folder."""

    def __init__(self, place: Path, model: Path) -> None:
        super().__init__(place)
        self.workspace = Workspace(place / ".hcq")
        self.store = self.workspace.features
        self.workspace.root.mkdir()
        self.workspace.model.symlink_to(model)

    def update(self, *names: str, **options):
        options.setdefault("experts", ["audio"])
        return hcq.update(self.workspace, [self.place / name for name in names], **options)

    def answers(self) -> list[tuple[str, float, str]]:
        hits = hcq.Searcher(self.workspace).text("a dog barks", k=100).hits
        return sorted((hit.id, round(hit.score, 6), hit.path) for hit in hits)


def as_if_made_at_once(life: Life, tmp_path: Path) -> None:
    fresh = Workspace(tmp_path / "fresh")
    fresh.root.mkdir()
    fresh.model.symlink_to(life.workspace.model.resolve())
    hcq.update(fresh, [life.place / "in"], experts=["audio"])
    assert contents(life.workspace.features) == contents(fresh.features)
    day, once = open_codes(life.workspace.codes), open_codes(fresh.codes)
    assert list(day.ids) == list(once.ids) and list(day.paths) == list(once.paths)
    assert np.array_equal(day.codes, once.codes)
    made_at_once = replace_workspace(life, fresh)
    assert life.answers() == made_at_once.answers() and len(life.answers()) == len(day)


def replace_workspace(life: Life, workspace: Workspace) -> Life:
    other = object.__new__(Life)
    other.workspace = workspace
    return other


@pytest.fixture
def life(tmp_path: Path, model: Path) -> Life:
    return Life(tmp_path, model)


def test_a_week(life: Life, tmp_path: Path) -> None:
    life.add(*(f"in/clip{at}.mp4" for at in range(4)))
    first = life.update("in")
    assert (first.extracted.new, first.encoded.items, first.indexed.videos, first.next) == (4, 4, 4, "")
    nothing = life.update(experts=None)
    assert (nothing.extracted.skipped, nothing.encoded, nothing.indexed) == (4, None, None)
    life.add("in/new.mp4", "in/june/a.mp4", "in/june/b.mp4")
    assert life.update().indexed.videos == 7
    (tmp_path / "in/clip0.mp4").rename(tmp_path / "in/renamed.mp4")
    (tmp_path / "in/clip1.mp4").unlink()
    (tmp_path / "in/june").rename(tmp_path / "in/summer")
    last = life.update(experts=None).extracted
    assert (len(last.vanished.renamed), last.vanished.deleted, last.extracted) == (3, ["clip1.mp4"], 0)
    as_if_made_at_once(life, tmp_path)


def test_experts_that_a_later_run_did_not_name_still_look_at_what_is_new(life: Life, tmp_path: Path) -> None:
    """The model knows videos by audio: one that only appearance has seen would not be found, nor one whose features
    went with its old name."""
    life.add("in/a.mp4", "in/b.mp4")
    life.update("in")
    hcq.extract(life.workspace, [tmp_path / "in"], experts=["appearance"])
    life.add("in/new.mp4")
    (tmp_path / "in/a.mp4").rename(tmp_path / "in/renamed.mp4")
    hcq.extract(life.workspace, [tmp_path / "in"], experts=["motion"])  # none of what the renamed one has
    store = FeatureStore.open(life.store)
    assert {*store.video(store.rows(["renamed.mp4"])[0]).results} == {"appearance", "audio", "motion"}
    done = life.update(experts=None)
    assert (done.extracted.new, done.indexed.videos, {*done.extracted.states}) == (0, 3, {"audio", "motion"})
    assert {hit[0] for hit in life.answers()} == {"b.mp4", "new.mp4", "renamed.mp4"}


def test_a_network_that_has_moved_is_told_with_the_command_that_says_where_it_lies(
    life: Life, tmp_path: Path
) -> None:
    life.add("in/a.mp4")
    life.update("in")
    network = tmp_path / "net.onnx"
    before = read_collection(life.store)
    asked = replace(before.asked, experts=["audio", f"objects=onnx:{network}"])
    change_collection(life.store, lambda collection: replace(collection, asked=asked))
    with pytest.raises(NotFoundError, match="is gone") as gone:
        life.update(experts=None)
    assert gone.value.hint.endswith(f"hcq update --experts audio,objects=onnx:{network}")


def test_so_is_one_that_only_the_model_names(life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier hcq did not keep in the store how its experts were asked for."""
    life.add("in/a.mp4")
    life.update("in")
    config = SimpleNamespace(kind="fitted", experts={"audio": None, "objects": None})
    header = SimpleNamespace(config=config, about={"concepts": [f"onnx:{tmp_path}/net.onnx"]})
    monkeypatch.setattr("hcq_cli.model.checkpoint.read_header", lambda folder: header)
    with pytest.raises(NotFoundError, match=r"net\.onnx: is gone") as gone:
        life.update(experts=None)
    assert gone.value.hint.endswith("hcq update --experts audio,objects=onnx:FILE")


def test_networks_that_are_there_are_not_told_to_be_gone(tmp_path: Path) -> None:
    for name in ("yunet", "sface", "a+b"):
        (tmp_path / name).mkdir()
    there = [f"face={tmp_path}/yunet+{tmp_path}/sface", f"speech={tmp_path}/yunet+minilm", f"dual-2={tmp_path}/a+b"]
    updating._need_networks([*there, f"own={tmp_path}/what:it=likes"], [])
    (tmp_path / "sface").rmdir()
    with pytest.raises(NotFoundError, match=r"sface: is gone"):
        updating._need_networks(there, [])


@pytest.mark.parametrize("goes_to", ["b.mp4", "c.mp4"])
@pytest.mark.parametrize("expert", ["appearance", "motion"])  # which both have, and which neither has
def test_names_that_change_hands_leave_what_experts_not_asked_for_found(
    life: Life, tmp_path: Path, goes_to: str, expert: str
) -> None:
    """Each file goes by what was another's id, so none is gone of which it could be the heir."""
    life.add("in/a.mp4", "in/b.mp4")
    life.update("in")
    hcq.extract(life.workspace, [tmp_path / "in"], experts=["appearance"])
    (tmp_path / "in/a.mp4").rename(tmp_path / "kept")
    (tmp_path / "in/b.mp4").rename(tmp_path / "in/a.mp4")
    (tmp_path / "kept").rename(tmp_path / "in" / goes_to)
    hcq.extract(life.workspace, [tmp_path / "in"], experts=[expert])
    store = FeatureStore.open(life.store)
    for id in ("a.mp4", goes_to):
        assert {*store.video(store.rows([id])[0]).results} == {"appearance", "audio", expert}, id


def test_a_collection_of_single_files(life: Life, tmp_path: Path, told) -> None:
    """No folder was named, ever: the files are looked at again, and nothing beside them."""
    life.add("in/a.mp4", "in/b.mp4", "in/beside.mp4")
    assert life.update("in/a.mp4", "in/b.mp4").indexed.videos == 2
    nothing = life.update(experts=None)
    assert (nothing.extracted.skipped, nothing.encoded, nothing.indexed) == (2, None, None)
    assert read_collection(life.workspace.features).asked.experts == ["audio"]
    (tmp_path / "in/beside.mp4").replace(tmp_path / "in/a.mp4")
    (tmp_path / "in/b.mp4").unlink()
    done = life.update(experts=None, progress=told)
    assert (done.extracted.extracted, done.extracted.changed, done.indexed.videos) == (1, 1, 2)
    assert any("b.mp4: not there" in warning for warning in told.warnings)
    (tmp_path / "in/a.mp4").unlink()
    with pytest.raises(NotFoundError, match="none of the collection's files"):
        life.update(experts=None)


def test_files_beside_the_folders_are_looked_at_too(life: Life, tmp_path: Path, told) -> None:
    """Extracted by themselves, they lie in no folder of the collection, and are kept up to date all the same."""
    life.add("in/a.mp4", "apart/b.mp4", "apart/c.mp4", "apart/never-named.mp4", "apart/other.mp4")
    life.update("in")
    hcq.extract(life.workspace, [tmp_path / "apart/b.mp4", tmp_path / "apart/c.mp4"], experts=["audio"])
    assert life.update(experts=None).indexed.videos == 3
    hcq.remove_from_index(life.workspace, ["c.mp4"])
    (tmp_path / "apart/other.mp4").replace(tmp_path / "apart/b.mp4")
    done = life.update(experts=None)
    assert (done.extracted.changed, done.extracted.removed, done.indexed.videos) == (1, 1, 2)
    (tmp_path / "apart/b.mp4").unlink()
    assert life.update(experts=None, progress=told).extracted.vanished.ids == []
    assert any("b.mp4: not there" in warning for warning in told.warnings)
    (tmp_path / "in").rename(tmp_path / "away")
    assert life.update(experts=None).extracted.videos == 1  # c.mp4, which stays out
    (tmp_path / "apart/c.mp4").unlink()
    with pytest.raises(NotFoundError, match="none of the collection's folders"):
        life.update(experts=None)


def test_the_features_are_opened_and_looked_through_once(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes and index are of one state of the store, whatever another process writes meanwhile."""
    from hcq_cli.features.store import FeatureStore

    life.add("in/a.mp4")
    life.update("in")
    life.add("in/b.mp4")
    opened: list[FeatureStore] = []
    digested: set[int] = set()
    count_open, count_digest = FeatureStore.open.__func__, FeatureStore.digest.func
    monkeypatch.setattr(FeatureStore, "open", classmethod(lambda *a: opened.append(count_open(*a)) or opened[-1]))
    digest = property(lambda store: digested.add(id(store)) or count_digest(store))
    monkeypatch.setattr(FeatureStore, "digest", digest)
    assert life.update().indexed.videos == 2
    assert len(opened) == 1 and len(digested) == 1


@pytest.mark.slow
def test_a_month(life: Life, tmp_path: Path) -> None:
    life.add(*(f"in/start{at:02}.mp4" for at in range(20)))
    life.update("in")
    for day in range(1, 31):
        life.add(f"in/day{day:02}.mp4")
        if day == 5:
            for at in range(3):
                (tmp_path / f"in/start{at:02}.mp4").rename(tmp_path / f"in/best-of-{at}.mp4")
        if day == 12:
            (tmp_path / "in/holiday").mkdir()
            for at in range(8, 12):
                (tmp_path / f"in/day{at:02}.mp4").rename(tmp_path / f"in/holiday/{at}.mp4")
        if day == 17:
            (tmp_path / "in/start07.mp4").unlink()
            (tmp_path / "in/day16.mp4").unlink()
        if day == 23:
            (tmp_path / "in/holiday").rename(tmp_path / "in/alps")
        report = life.update(experts=None).extracted
        assert (report.extracted, report.failed) == (1, [])
    as_if_made_at_once(life, tmp_path)


def test_what_is_removed_stays_out_until_it_is_named(life: Life, tmp_path: Path) -> None:
    life.add(*(f"in/clip{at}.mp4" for at in range(4)))
    life.update("in")
    hcq.remove_from_index(life.workspace, [str(tmp_path / "in/clip2.mp4")])
    hcq.remove_features(life.workspace, ["clip3"])
    hcq.build_index(life.workspace)
    assert [id for id, *_ in life.answers()] == ["clip0.mp4", "clip1.mp4"]
    assert life.update().extracted.removed == 2
    assert [id for id, *_ in life.answers()] == ["clip0.mp4", "clip1.mp4"]
    hcq.extract(life.workspace, [tmp_path / "in/clip2.mp4"], experts=["audio"])
    life.update()
    assert [id for id, *_ in life.answers()] == ["clip0.mp4", "clip1.mp4", "clip2.mp4"]


def test_codes_of_other_files_stay_in_the_index(life: Life, tmp_path: Path) -> None:
    life.add("in/a.mp4", "other/b.mp4")
    life.update("in")
    other = Workspace(tmp_path / "w2")
    hcq.extract(other, [tmp_path / "other"], experts=["audio"])
    more = hcq.encode(other, checkpoint=life.workspace.model, output=tmp_path / "more.hcq").codes
    hcq.add_to_index(life.workspace, [more])
    life.add("in/c.mp4")
    life.update()
    assert [id for id, *_ in life.answers()] == ["a.mp4", "b.mp4", "c.mp4"]


def test_older_codes_are_warned_of(life: Life, told) -> None:
    life.add("in/a.mp4")
    life.update("in")
    life.add("in/b.mp4")
    hcq.extract(life.workspace, [life.place / "in"], experts=["audio"])
    hcq.build_index(life.workspace, progress=told)
    assert any("made of other features" in warning for warning in told.warnings)
    assert hcq.Searcher(life.workspace).outdated == ""
    hcq.encode(life.workspace)
    assert hcq.Searcher(life.workspace).outdated.endswith("hcq index build")
    assert life.update(experts=None).indexed.videos == 2 and not hcq.Searcher(life.workspace).outdated


def test_without_a_model_features_are_brought_and_what_is_next_is_said(life: Life) -> None:
    life.workspace.model.unlink()
    life.add("in/a.mp4")
    done = life.update("in")
    assert (done.extracted.new, done.encoded, done.indexed) == (1, None, None)
    assert done.next.startswith("hcq train")
    (life.workspace.model / "resume").mkdir(parents=True)  # of a training that was interrupted
    assert life.update().next == "hcq train --resume"


def test_folders_that_are_away(life: Life, tmp_path: Path, told) -> None:
    with pytest.raises(NotFoundError, match="nothing has been extracted"):
        life.update()
    life.add("in/a.mp4", "drive/b.mp4")
    life.update("in", "drive")
    (tmp_path / "drive").rename(tmp_path / "away")
    assert life.update(progress=told).extracted.videos == 1 and "drive" in told.warnings[0]
    assert [id for id, *_ in life.answers()] == ["a.mp4", "b.mp4"]
    (tmp_path / "in").rename(tmp_path / "gone")
    with pytest.raises(NotFoundError, match="none of the"):
        life.update()


def test_what_is_excluded_stays_out_at_every_update_and_nothing_leaves_the_store(clips, tmp_path):
    import shutil

    folder = tmp_path / "videos"
    (folder / "raw").mkdir(parents=True)
    shutil.copy(clips / "clip0.mp4", folder / "a.mp4")
    shutil.copy(clips / "clip1.mp4", folder / "raw" / "b.mp4")
    workspace = Workspace(tmp_path / ".hcq")
    hcq.extract(workspace, [folder], experts=["audio"], exclude=["raw/*"])
    assert list(hcq.open_features(workspace).ids) == ["a.mp4"]
    shutil.copy(clips / "clip2.mp4", folder / "raw" / "c.mp4")
    assert hcq.update(workspace).extracted.new == 0
    assert hcq.update(workspace, exclude=()).extracted.new == 2
    assert hcq.update(workspace, exclude=["raw/*"]).extracted.vanished.ids == []
    assert len(hcq.open_features(workspace)) == 3
