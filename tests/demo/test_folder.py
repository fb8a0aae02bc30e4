"""Whose a folder is: a new one, this demo's, another demo's, somebody else's."""

import json
import os

import pytest

from hcq_cli.demo.clips import compose
from hcq_cli.demo.folder import DemoFolder, Identity
from hcq_cli.errors import UsageError
from hcq_cli.files import NotRegularError

DEMO = Identity(videos=24, seed=0, renderer="1")


def test_it_is_marked_first_and_opened_again(tmp_path):
    folder = DemoFolder(tmp_path / "demo")
    folder.open(DEMO, fresh=False)
    assert folder.clips.is_dir() and json.loads((folder.root / "demo.json").read_text())["videos"] == 24
    (folder.clips / "clip-0000.mp4").write_bytes(b"drawn")
    folder.open(DEMO, fresh=False)
    assert (folder.clips / "clip-0000.mp4").is_file()
    folder.open(DEMO, fresh=True)
    assert not list(folder.clips.iterdir())


def test_another_demo_and_somebody_elses_folder_are_left_alone(tmp_path):
    folder = DemoFolder(tmp_path / "demo")
    folder.open(DEMO, fresh=False)
    (folder.clips / "clip-0000.mp4").write_bytes(b"drawn")
    with pytest.raises(UsageError, match="another demo"):
        folder.open(Identity(videos=24, seed=1, renderer="1"), fresh=False)
    assert (folder.clips / "clip-0000.mp4").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "wedding.mp4").write_bytes(b"precious")
    for fresh in (False, True):
        with pytest.raises(UsageError, match="no demo's folder"):
            DemoFolder(tmp_path / "mine").open(DEMO, fresh)
    assert (tmp_path / "mine" / "wedding.mp4").read_bytes() == b"precious"


def test_clips_are_not_drawn_over_files_that_a_link_leads_to(tmp_path):
    DemoFolder(tmp_path / "demo").open(DEMO, fresh=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "clip-0000.mp4").write_bytes(b"precious")
    (tmp_path / "demo" / "clips").rmdir()
    (tmp_path / "demo" / "clips").symlink_to(tmp_path / "mine")
    for fresh in (False, True):
        with pytest.raises(NotRegularError, match="clips: is a link"):
            DemoFolder(tmp_path / "demo").open(DEMO, fresh)
    assert (tmp_path / "mine" / "clip-0000.mp4").read_bytes() == b"precious"


def test_a_mark_that_is_a_pipe_marks_nothing(tmp_path):
    os.mkfifo(tmp_path / "demo.json")
    with pytest.raises(UsageError, match="no demo's folder"):
        DemoFolder(tmp_path).open(DEMO, fresh=False)


def test_captions_are_a_line_a_clip_with_what_it_shows(tmp_path):
    folder, clips = DemoFolder(tmp_path / "demo"), compose(24, seed=0)
    folder.open(DEMO, fresh=False)
    lines = [json.loads(line) for line in folder.write_captions(clips, seed=0).read_text("utf-8").splitlines()]
    assert [line["video"] for line in lines] == [clip.file for clip in clips]
    assert [line["shows"] for line in lines] == [clip.values for clip in clips]
    assert all(line["captions"] for line in lines) and {line["split"] for line in lines} == {"train", "test"}
