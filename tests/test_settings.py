"""hcq.toml: what may stand in that of the working directory, which may have come with videos, and in one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hcq_cli.app import build
from hcq_cli.errors import UsageError
from hcq_cli.settings import DESTROYS, NAMES_CODE, WRITTEN, Settings, own_file, read_settings

PROGRAM: Any = typer.main.get_command(build())
EVIL = "import os\nopen(os.environ['MARK'], 'w').close()\nfrom hcq_cli.media.pyav import PyAVDecoder as D\n"
FAST = ("--experts", "audio", "--workers", "1", "--json")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, beside a place for the person's own file."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "hcq").mkdir(parents=True)
    return tmp_path / "here"


def read(text: str) -> Settings:
    Path("hcq.toml").write_text(text)
    return read_settings(PROGRAM)


def own(text: str) -> None:
    path = own_file()
    assert path is not None
    path.write_text(text)


@pytest.fixture
def clip(clips: Path) -> Path:
    return clips / "clip0.mp4"


@pytest.mark.parametrize(
    "text", ['decoder = "evil:D"\n', '[extract]\ndecoder = "evil:D"\n', 'decoder = ["evil:D"]\n']
)
def test_code_named_beside_the_videos_does_not_run(hcq, tmp_path: Path, clip: Path, text: str) -> None:
    """Wherever the code lies: here it looks installed, too."""
    (tmp_path / "hcq.toml").write_text(f'{text}[captions.check]\nfeatures = "elsewhere"\n')
    for folder in ("", "installed"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "evil.py").write_text(EVIL)
    mark = tmp_path / "mark"
    done = hcq("extract", clip, *FAST, env={"MARK": str(mark), "PYTHONPATH": str(tmp_path / "installed")})
    assert not mark.exists() and done.json["decoders"] == {"pyav": 1}
    told = done.err.replace("\n", " ")
    assert told.count("warning") == 1
    for words in ("hcq.toml", "decoder = ", "evil:D", "--decoder", str(tmp_path / ".config/hcq/hcq.toml")):
        assert words in told
    (tmp_path / "c.jsonl").write_text('{"video": "a.mp4", "caption": "x"}\n')
    other = hcq("captions", "check", "c.jsonl", code=10)
    assert "elsewhere: no features" in other.err and "warning" not in other.err  # it has no such option


def test_a_plug_in_that_lies_beside_the_videos_is_none(hcq, tmp_path: Path) -> None:
    """Experts are announced by packages, and what looks like an installed one may lie anywhere."""
    about = tmp_path / "evil-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[hcq.experts]\nevil = evil:E\n")
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "hcq.toml").write_text('experts = "evil"\ncheck = "evil"\n')
    assert "no expert is called 'evil'" in hcq("experts", code=2, env={"MARK": str(tmp_path / "mark")}).err
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("way", ["own file", "environment", "flag"])
def test_the_person_may_name_code(hcq, tmp_path: Path, clip: Path, way: str) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "evil.py").write_text(EVIL)
    (tmp_path / "hcq.toml").write_text('decoder = "other:D"\n')
    environment = {"MARK": str(tmp_path / "mark"), "PYTHONPATH": str(tmp_path / "installed")}
    more = ("--decoder", "evil:D") if way == "flag" else ()
    if way == "environment":
        environment["HCQ_EXTRACT_DECODER"] = "evil:D"
    if way == "own file":
        (tmp_path / ".config" / "hcq").mkdir(parents=True)
        (tmp_path / ".config" / "hcq" / "hcq.toml").write_text('[extract]\ndecoder = "evil:D"\n')
    hcq("extract", clip, *FAST, *more, env=environment)
    assert (tmp_path / "mark").exists()


def test_ordinary_values_hold(here: Path) -> None:
    found = read('decoder = "pyav"\nworkers = 3\n[bench.extract]\ndecoder = "decord"\n')
    assert found.refused == () and found.defaults["extract"]["decoder"] == "pyav"
    assert found.defaults["extract"]["workers"] == 3 and found.defaults["bench"]["extract"]["decoder"] == "decord"


@pytest.mark.parametrize("value", ['"evil:D"', '["evil:D"]', '["pyav"]', '":"', "1"])
def test_every_command_with_a_decoder_is_covered(here: Path, value: str) -> None:
    for text in (f"decoder = {value}\n", f"[extract]\ndecoder = {value}\n[bench.extract]\ndecoder = {value}\n"):
        found = read(text)
        assert "decoder" not in found.defaults["extract"] and "decoder" not in found.defaults["bench"]["extract"]
        assert {id(refused.option) for refused in found.refused} == {
            id(option)
            for command in (PROGRAM.commands["extract"], PROGRAM.commands["bench"].commands["extract"])
            for option in command.params
            if option.name == "decoder"
        }


def test_a_refused_key_leaves_the_place_to_ones_own(here: Path) -> None:
    own('[extract]\ndecoder = "mine:D"\nworkers = 2\n')
    found = read('[extract]\ndecoder = "evil:D"\ndevice = "cpu"\n')
    assert found.defaults["extract"] == {"decoder": "mine:D", "workers": 2, "device": "cpu"}


def test_the_working_directory_comes_before_ones_own(here: Path) -> None:
    own('[query]\nk = 1\nthreads = 7\n[train]\nset = ["training.epochs=1"]\n')
    found = read('k = 5\n[train]\nset = "model.width=64"\n').defaults
    assert found["query"] == {"k": 5, "threads": 7} and found["train"]["settings"] == ["model.width=64"]


def test_ones_own_file_read_from_its_folder_is_still_ones_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own('decoder = "mine:D"\n')
    monkeypatch.chdir(own_file().parent)  # type: ignore[union-attr]
    found = read_settings(PROGRAM)
    assert found.refused == () and found.defaults["extract"]["decoder"] == "mine:D"


def test_where_ones_own_file_lies(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here.parent))
    assert own_file() == here.parent / "config/hcq/hcq.toml"
    for relative in ("", ".", "config"):  # which would be found in the working directory
        monkeypatch.setenv("XDG_CONFIG_HOME", relative)
        assert own_file() == here.parent / ".config/hcq/hcq.toml"
    monkeypatch.setenv("HOME", ".")
    assert own_file() is None and read('decoder = "evil:D"\n').refused


@pytest.mark.parametrize("place", ["/etc", "..", "../here2", "inside/../../out", "link/x", "nul\\u0000"])
def test_a_place_to_write_to_outside_is_refused(here: Path, place: str) -> None:
    (here / "link").symlink_to(here.parent)
    found = read(f'workspace = "{place}"\noutput = "{place}"\n[index.build]\nindex = "{place}"\n')
    for command in ("extract", "train", "encode"):
        assert not {"workspace", "output"} & set(found.defaults[command])
    assert "workspace" not in found.defaults and "index" not in found.defaults["index"]["build"]
    assert all("to write to outside" in refused.message for refused in found.refused)


def test_a_place_inside_or_only_read_holds(here: Path) -> None:
    found = read(f'workspace = "runs/a"\noutput = "{here}/out"\nckpt = "/models/a"\n[query]\nindex = "/data/index"\n')
    assert found.refused == () and found.defaults["workspace"] == "runs/a"
    assert found.defaults["encode"] == {"workspace": "runs/a", "output": f"{here}/out", "ckpt": "/models/a"}
    assert found.defaults["query"]["index"] == "/data/index"
    own('workspace = "/mnt/large"\n')
    assert read("k = 3\n").defaults["workspace"] == "/mnt/large"


def test_what_deletes_or_moves_is_said_each_time(here: Path) -> None:
    found = read("[demo]\nfresh = true\n[features.verify]\nmend = true\n")
    assert "fresh" not in found.defaults["demo"] and "mend" not in found.defaults["features"]["verify"]
    assert len(found.refused) == 2
    assert read("[demo]\nfresh = false\n").refused == ()


def options(command: Any = PROGRAM, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for option in command.params:
        yield " ".join((*words, option.name)), option
    for name, sub in getattr(command, "commands", {}).items():
        yield from options(sub, (*words, name))


READ = {
    *("codes", "ckpt", "features", "captions", "texts", "video", "file", "lists", "from_list", "path", "index"),
    *("columns", "image", "train init"),
    "find folder",
}
"""Options that name a file or folder which is only read, in every command or in one."""


def test_of_every_place_it_is_decided_whether_it_is_written() -> None:
    """A new option with a path, or with code, must be put into one of these sets."""
    names = {name for name, _ in options()}
    for name, option in options():
        is_path = "Path" in str(option.type)
        written = option.name in WRITTEN or name in WRITTEN
        assert not is_path or written or option.name in READ or name in READ, f"{name}: is it read or written?"
        assert ("module:" in (option.help or "")) <= (option.name in NAMES_CODE), f"{name}: names code"
    for known in WRITTEN | DESTROYS | NAMES_CODE:
        assert known in names or any(name.endswith(f" {known}") for name in names), f"{known}: no such option"


def test_a_home_that_cannot_be_looked_into_has_no_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number without a home of its own, and with HOME=/root."""
    own("[query]\nk = 4\n")
    stat = Path.stat

    def refused(path: Path, **how: Any) -> os.stat_result:
        if path == own_file():
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", refused)
    assert read("[query]\nk = 3\n").defaults["query"] == {"k": 3}


def test_a_file_that_never_ends_is_refused(here: Path) -> None:
    os.mkfifo("hcq.toml")
    with pytest.raises(UsageError, match=r"hcq.toml: is a pipe"):
        read_settings(PROGRAM)
    Path("hcq.toml").unlink()
    Path("hcq.toml").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=r"hcq.toml: is a device"):
        read_settings(PROGRAM)
    Path("hcq.toml").unlink()
    (here / "mine.toml").write_text("k = 3\n")
    Path("hcq.toml").symlink_to("mine.toml")
    assert read_settings(PROGRAM).defaults["query"] == {"k": 3}
