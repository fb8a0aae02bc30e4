"""The state of an unfinished run: one whole at any instant, the best epoch beside it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from faults import STRIDES, each_fault, faulty

from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.files import NotRegularError
from hcq_cli.model.checkpoint import CONFIG_FILE, TEXT_FILES, WEIGHTS_FILE
from hcq_cli.training import resume
from hcq_cli.training.resume import ResumeState, latest_state, save_state


@pytest.fixture(autouse=True)
def no_real_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "model_hash", lambda folder: (folder / WEIGHTS_FILE).read_text())


def save(run: Path, epoch: int, best_epoch: int, fail: bool = False) -> None:
    def optimizer(path: Path) -> None:
        if fail:
            raise KeyboardInterrupt
        path.write_text(f"optimizer {epoch}")

    def model(folder: Path) -> str:
        for name in (CONFIG_FILE, WEIGHTS_FILE, *TEXT_FILES):
            (folder / name).write_text(f"model {epoch}")
        return f"model {epoch}"

    state = ResumeState(epoch, "f" * 8, [{"epoch": n} for n in range(1, epoch + 1)], best_epoch, 1.5)
    save_state(run, state, model, optimizer)


def held(folder: Path) -> str:
    return (folder / WEIGHTS_FILE).read_text()


def test_the_latest_epoch_is_gone_on_from_and_the_best_is_kept(tmp_path: Path) -> None:
    assert latest_state(tmp_path) is None
    for epoch, best in ((1, 1), (2, 2), (3, 2)):
        save(tmp_path, epoch, best)
    folder, state = latest_state(tmp_path) or pytest.fail("no state")
    assert (state.epoch, state.best_epoch, len(state.history), state.seconds) == (3, 2, 3, 1.5)
    assert (folder / resume.OPTIMIZER_FILE).read_text() == "optimizer 3"
    assert held(resume.best_folder(tmp_path, 2)) == "model 2"
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["best-0002", "epoch-0003"]
    resume.clear(tmp_path)
    assert latest_state(tmp_path) is None and not (tmp_path / "resume").exists()


def test_an_epoch_that_is_cut_short_leaves_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, 1, 0)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2, 0, fail=True)
    folder, state = latest_state(tmp_path) or pytest.fail("no state")
    assert state.epoch == 1 and held(folder) == "model 1"
    save(tmp_path, 2, 0)
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["epoch-0002"]


@pytest.mark.parametrize("stride", STRIDES)
def test_a_fault_at_any_call_leaves_one_whole_state_and_no_leftover(tmp_path: Path, stride: int) -> None:
    """Killed before or after any write, sync, rename and removal, or with the disk full there."""
    runs = iter(range(10_000))

    def prepared() -> Path:
        run = tmp_path / str(next(runs))
        for epoch, best in ((1, 1), (2, 2)):
            save(run, epoch, best)
        return run

    for at, kind in each_fault(lambda: save(prepared(), 3, 3), stride):
        run = tmp_path / str(next(runs))
        with suppress(OSError, HcqError), faulty(at, kind):
            for epoch in (1, 2, 3):
                save(run, epoch, epoch)
        folder, state = latest_state(run) or (None, ResumeState(0, "", [], 0, 0))
        if folder is not None:
            assert held(folder) == held(resume.best_folder(run, state.best_epoch)) == f"model {state.epoch}"
        for epoch in range(state.epoch + 1, 4):
            save(run, epoch, epoch)
        left = set(os.listdir(run / "resume"))
        assert {"best-0003", "epoch-0003"} == left or state.epoch == 3, (at, kind)
        with suppress(OSError, HcqError), faulty(at % 9, kind):
            resume.clear(run)
        state_left = latest_state(run)
        assert state_left is None or state_left[1].epoch == 3
        resume.clear(run)
        assert os.listdir(run) == []


def test_a_state_half_deleted_is_none_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1, 0)
    whole = tmp_path / "resume" / "epoch-0001"
    for name in os.listdir(whole):
        text = (whole / name).read_text()
        (whole / name).unlink()
        assert latest_state(tmp_path) is None
        (whole / name).write_text(text)
        if name in (WEIGHTS_FILE, resume.OPTIMIZER_FILE, resume.PROGRESS):
            (whole / name).write_text(text.replace("1", "2", 1))
            with pytest.raises(DamagedError, match="cannot be resumed from"):
                latest_state(tmp_path)
            (whole / name).write_text(text)
    assert latest_state(tmp_path) is not None


def test_a_state_as_earlier_versions_wrote_it_is_gone_on_from(tmp_path: Path) -> None:
    save(tmp_path, 2, 2)
    state = (latest_state(tmp_path) or pytest.fail("no state"))[1]
    progress = tmp_path / "resume" / "epoch-0002" / resume.PROGRESS
    document = {name: value for name, value in json.loads(progress.read_text()).items() if name in vars(state)}
    progress.write_text(json.dumps(document))
    (tmp_path / "resume" / "best-0002").rename(tmp_path / "resume" / "best")
    assert (latest_state(tmp_path) or pytest.fail("no state"))[1].epoch == 2
    assert held(resume.best_folder(tmp_path, 2)) == "model 2"


@pytest.mark.parametrize("text", ["{", "{}", "[]", "7", '{"epoch": 1, "other": 2}'])
def test_a_state_that_cannot_be_read_is_named_with_the_way_out(tmp_path: Path, text: str) -> None:
    save(tmp_path, 1, 0)
    (tmp_path / "resume" / "epoch-0001" / resume.PROGRESS).write_text(text)
    with pytest.raises(DamagedError, match="cannot be resumed from") as caught:
        latest_state(tmp_path)
    assert "train anew" in caught.value.hint


def test_nothing_is_replaced_where_a_link_leads_and_no_pipe_is_waited_for(tmp_path: Path) -> None:
    """Old epochs are deleted: a folder that came from elsewhere must not lead to a person's own."""
    mine, run = tmp_path / "mine", tmp_path / "run"
    save(mine, 1, 1)
    run.mkdir()
    (run / "resume").symlink_to(mine / "resume")
    for work in (lambda: latest_state(run), lambda: save(run, 2, 2), lambda: resume.clear(run)):
        try:
            work()
        except NotRegularError as error:
            assert "resume: is a link" in error.message
    assert held(mine / "resume" / "epoch-0001") == held(mine / "resume" / "best-0001") == "model 1"
    progress = mine / "resume" / "epoch-0001" / resume.PROGRESS
    progress.unlink()
    os.mkfifo(progress)
    with pytest.raises(DamagedError, match="is a pipe"):
        latest_state(mine)
