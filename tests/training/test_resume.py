"""The state of an unfinished run: one whole at any instant, the best epoch beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hcq_cli.errors import DamagedError
from hcq_cli.files import NotRegularError
from hcq_cli.training import resume
from hcq_cli.training.resume import ResumeState, latest_state, save_state


def save(run: Path, epoch: int, best_epoch: int, fail: bool = False) -> None:
    def optimizer(path: Path) -> None:
        if fail:
            raise KeyboardInterrupt
        path.write_text(f"optimizer {epoch}")

    state = ResumeState(epoch, "f" * 8, [{"epoch": n} for n in range(1, epoch + 1)], best_epoch, 1.5)
    save_state(run, state, lambda folder: (folder / "model").write_text(f"model {epoch}"), optimizer)


def test_the_latest_epoch_is_gone_on_from_and_the_best_is_kept(tmp_path: Path) -> None:
    assert latest_state(tmp_path) is None
    for epoch, best in ((1, 1), (2, 2), (3, 2)):
        save(tmp_path, epoch, best)
    folder, state = latest_state(tmp_path) or pytest.fail("no state")
    assert (state.epoch, state.best_epoch, len(state.history), state.seconds) == (3, 2, 3, 1.5)
    assert (folder / resume.OPTIMIZER_FILE).read_text() == "optimizer 3"
    assert (tmp_path / "resume" / "best" / "model").read_text() == "model 2"
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["best", "epoch-0003"]
    resume.clear(tmp_path)
    assert latest_state(tmp_path) is None and not (tmp_path / "resume").exists()


def test_an_epoch_that_is_cut_short_leaves_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, 1, 0)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2, 0, fail=True)
    folder, state = latest_state(tmp_path) or pytest.fail("no state")
    assert state.epoch == 1 and (folder / "model").read_text() == "model 1"
    save(tmp_path, 2, 0)
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["epoch-0002"]


@pytest.mark.parametrize("text", ["{", "{}", '{"epoch": 1, "other": 2}'])
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
    assert (mine / "resume" / "epoch-0001" / "model").read_text() == "model 1"
    assert (mine / "resume" / "best" / "model").read_text() == "model 1"
    progress = mine / "resume" / "epoch-0001" / resume.PROGRESS
    progress.unlink()
    os.mkfifo(progress)
    with pytest.raises(DamagedError, match="is a pipe"):
        latest_state(mine)
