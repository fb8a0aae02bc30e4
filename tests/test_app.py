"""The command line as a whole: shared options, precedence, exit codes, errors, colours, signals."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from in_process import run_here

from hcq_cli import __version__
from hcq_cli.commands.shared import VERBS
from hcq_cli.console import plain, printable

LINE = '{"video": "a.mp4", "caption": "a man cooking"}\n'


@pytest.fixture
def check(hcq, tmp_path: Path):
    """Run `hcq BEFORE captions check FILE AFTER`; gives the workspace that it looked into."""
    (tmp_path / "c.jsonl").write_text(LINE)

    def run(before: Sequence[str] = (), after: Sequence[str] = (), **named) -> str:
        done = hcq(*before, "captions", "check", "c.jsonl", *after, **named)
        found = re.search(r"no feature store at (.*)/features yet", done.err)
        assert found, done.err
        return found[1]

    return run


def settings(folder: Path, text: str) -> None:
    (folder / "hcq.toml").write_text(text)


def test_the_workspace_before_and_after_the_commands_name(check, hcq, tmp_path: Path) -> None:
    assert check() == ".hcq"
    assert check(before=["-w", "a"]) == "a"
    assert check(after=["--workspace", "b"]) == "b"
    assert check(before=["-w", "a"], after=["-w", "b"]) == "b"
    between = hcq("captions", "-w", "c", "check", "c.jsonl")
    assert "no feature store at c/features" in between.err


def test_flag_over_environment_over_file_over_default(check, tmp_path: Path) -> None:
    environment = {"HCQ_WORKSPACE": "from-environment"}
    settings(tmp_path, 'workspace = "from-file"\n')
    assert check() == "from-file"
    assert check(env=environment) == "from-environment"
    assert check(before=["-w", "flag"], env=environment) == "flag"
    assert check(after=["-w", "flag"], env=environment) == "flag"
    settings(tmp_path, 'workspace = "all"\n[captions.check]\nworkspace = "own"\n')
    assert check() == "own"
    assert check(env=environment) == "from-environment"
    assert check(before=["-w", "flag"]) == "flag"


def test_a_commands_own_option_from_file_and_environment(hcq, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(LINE)
    settings(tmp_path, '[captions.check]\nfeatures = "file"\n')
    run = ("captions", "check", "c.jsonl")
    assert "file: no features" in hcq(*run, code=10).err
    environment = {"HCQ_CAPTIONS_CHECK_FEATURES": "environment"}
    assert "environment: no features" in hcq(*run, code=10, env=environment).err
    assert "flag: no features" in hcq(*run, "--features", "flag", code=10, env=environment).err
    settings(tmp_path, 'features = "everywhere"\nquiet = true\n')
    assert "everywhere: no features" in hcq(*run, code=10).err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("workspace = [1,\n", "hcq.toml"),
        ('worksapce = "x"\n', "did you mean 'workspace'"),
        ('[captions.check]\nfeature = "x"\n', "did you mean 'features'"),
        ("[captoins]\n", "did you mean 'captions'"),
        ("\xff", "hcq.toml"),
    ],
)
def test_a_wrong_settings_file_is_refused_by_commands_and_not_by_help(
    hcq, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "hcq.toml").write_bytes(text.encode("latin-1"))
    (tmp_path / "c.jsonl").write_text(LINE)
    done = hcq("captions", "check", "c.jsonl", code=2)
    assert "hcq.toml" in done.err and words in done.err and done.out == ""
    assert "Usage" in hcq("captions", "check", "--help").out


def test_json_and_quiet_before_and_after(hcq, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(LINE)
    for arguments in (["--json", "captions", "check", "c.jsonl"], ["captions", "check", "c.jsonl", "--json"]):
        assert hcq(*arguments).json["videos"] == 1
    assert hcq("--quiet", "captions", "check", "c.jsonl").err == ""
    assert hcq("captions", "check", "c.jsonl", "-q").err == ""


def test_help_and_version(hcq) -> None:
    assert hcq("--version").out == f"hcq {__version__}\n"
    shown = hcq("--help").out
    assert "Search a folder of videos" in shown and VERBS in shown
    places = [shown.index(f"│ {name}  ") for name in ("extract", "train", "encode", "index", "query")]
    assert places == sorted(places)
    assert hcq("-h").out == shown
    assert hcq(code=2).out.strip() == shown.strip()
    for name in re.findall(r"^│ (\w+)  ", shown, re.M):
        assert "Examples:" in (text := run_here(name, "--help").out) or "Commands" in text, name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["captions", "check"], "FILE"),
        (["captions", "check", "--nonsense"], "No such option"),
        (["query", "-dog"], "No such option"),
        (["query", "a dog", "-k", "few"], "'few' is not a whole number"),
        (["-w"], "requires an argument"),
    ],
)
def test_usage_errors(hcq, arguments: list[str], words: str) -> None:
    done = hcq(*arguments, code=2)
    assert done.out == ""
    first, second = done.err.splitlines()
    assert first.startswith("error: ") and words.lower() in first.lower()
    assert second.startswith("  → hcq") and second.endswith("--help")
    document = hcq("--json", *arguments, code=2)
    assert document.json["exit_code"] == 2 and words.lower() in document.json["error"].lower()


def test_an_error_names_the_file_the_reason_and_the_next_command(hcq, tmp_path: Path) -> None:
    done = hcq("query", "a man cooking", code=10)
    assert done.out == "" and "index" in done.err and "→ hcq " in done.err and "Traceback" not in done.err
    document = hcq("query", "a man cooking", "--json", code=10)
    assert len(document.out.splitlines()) == 1
    assert document.json["exit_code"] == 10 and document.json["hint"].startswith("hcq ")


def test_a_traceback_only_when_asked_for_and_the_same_exit_code(hcq) -> None:
    assert "Traceback" in hcq("query", "x", code=10, env={"HCQ_DEBUG": "1"}).err


def test_what_the_system_refuses_is_told_without_a_traceback(hcq, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(LINE)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hcq_cli", "captions", "check", "c.jsonl"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr and "hcq doctor" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_has_gone_is_no_error_message(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(LINE)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "hcq_cli", "captions", "check", "c.jsonl", "--json", "-q"]
    done = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_interruption_says_how_to_go_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.jsonl")
    command = [sys.executable, "-m", "hcq_cli", "captions", "check", "endless.jsonl"]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    assert "no feature store" in running.stderr.readline()
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "run the same command again" in errors and "Traceback" not in errors


def test_names_of_any_bytes_come_out_as_they_are(hcq, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x8e\xac.jsonl")
    (tmp_path / name).write_text(LINE)
    assert name in hcq("captions", "check", name).out
    assert hcq("captions", "check", name, "--json").json["file"] == name
    assert "caf\\xe9" in hcq("captions", "check", name + "x", code=10).err
    assert "video" in hcq("captions", "check", name, env={"PYTHONIOENCODING": "ascii"}).out


def on_terminal(command: Sequence[str], cwd: Path, env: dict[str, str]) -> str:
    """What `command` writes to a terminal on which stdout and stderr are."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    running = subprocess.Popen(command, cwd=cwd, stdout=theirs, stderr=theirs, env=clean | {"TERM": "xterm"} | env)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert running.wait() == 0
    return written.decode()


def test_colour_on_a_terminal_unless_it_is_unwanted(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(LINE)
    command = [sys.executable, "-m", "hcq_cli", "captions", "check", "c.jsonl"]
    assert "\x1b[32m" in on_terminal(command, tmp_path, {})
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", on_terminal(command, tmp_path, {"NO_COLOR": "1"}))
    assert "\x1b" not in on_terminal(command, tmp_path, {"TERM": "dumb"})


PROGRESS = """
import sys
from hcq_cli.console import Console
console = Console(json_mode=True, quiet="quiet" in sys.argv)
with console.progress("working", total=3, unit="videos") as task:
    for at in range(3):
        console.json_line({"at": at})
        task.advance(detail="odd\\nname \\x1b")
"""


@pytest.mark.parametrize(
    ("env", "arguments", "shown"),
    [({}, [], True), ({}, ["quiet"], False), ({"TERM": "dumb"}, [], False), ({"NO_COLOR": "1"}, [], True)],
)
def test_a_progress_bar_leaves_piped_data_alone(
    tmp_path: Path, env: dict[str, str], arguments: list[str], shown: bool
) -> None:
    """stderr is a terminal, stdout a file."""
    script = f"import sys; sys.stdout = open('out', 'w')\n{PROGRESS}\nsys.stdout.flush()"
    written = on_terminal([sys.executable, "-c", script, *arguments], tmp_path, env)
    assert [json.loads(line)["at"] for line in (tmp_path / "out").read_text().splitlines()] == [0, 1, 2]
    assert ("working" in written) is shown


def test_no_progress_bar_where_stderr_is_no_terminal(tmp_path: Path) -> None:
    env = os.environ | {"FORCE_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRESS], capture_output=True, text=True, env=env)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 3


def test_printable_and_plain() -> None:
    assert printable("a\n\x1b\udcff\ud800é🎬") == "a\\n\\x1b\\xff\\ud800é🎬"
    import numpy as np

    document = {"a": np.float32("nan"), "b": np.arange(2), "c": Path("x"), 1: float("inf"), "d": VERBS}
    assert plain(document) == {"a": None, "b": [0, 1], "c": "x", "1": None, "d": VERBS}


@pytest.mark.parametrize(
    ("streams", "code", "told"),
    [
        (">&-", 0, ""),
        (">&- 2>&- <&-", 0, None),
        ("2>&-", 0, None),
        ("2>/dev/full", 0, None),
        (">/dev/full", 1, "standard output: No space left on device"),
        ("--json >/dev/full", 1, "standard output: No space left on device"),
        ("--json nowhere.jsonl >/dev/full", 2, "error"),  # a second file is one too many
        (">/dev/full 2>/dev/full", 1, None),
    ],
)
def test_standard_streams_that_are_closed_or_full(tmp_path: Path, streams: str, code: int, told: str | None) -> None:
    (tmp_path / "c.jsonl").write_text('{"video": "a", "caption": "x"}\n')
    command = f"exec '{sys.executable}' -m hcq_cli captions check c.jsonl {streams}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert told is None or told in done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("query --find ", {"videos", "texts"}),
        ("extract --preset ne", {"neural"}),
        ("eval --split t", {"train", "test"}),
        ("eval --compress lsh,o", {"lsh,opq"}),
        ("train --recipe f", {"few"}),
        ("recipes f", {"few"}),
        ("train --set text.enc", {"text.encoder=", "text.encoder=minilm", "text.encoder=scratch"}),
        ("train --set loss.t", {"loss.temperature="}),
        ("words export --source speech,o", {"speech,ocr"}),
        ("query --like nothing-is-indexed", set()),
        ("que", {"query"}),
        ("extract --experts appearance,mo", {"appearance,motion"}),
        ("fit --preset l", {"light", "laptop"}),
        ("models fetch ne", {"neural"}),
        ("encode --ckpt o", {"old-model"}),
        ("-w other eval --ckpt o", {"other-model"}),
    ],
)
def test_completion_offers_the_values_of_an_option(hcq, tmp_path: Path, typed: str, offered: set[str]) -> None:
    (tmp_path / ".hcq" / "model" / "earlier" / "old-model").mkdir(parents=True)
    (tmp_path / "other" / "model" / "earlier" / "other-model").mkdir(parents=True)
    words = f"hcq {typed}"
    asked = {"_HCQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    assert set(hcq(env=asked, code=None).out.split()) == offered


KEPT = Path(__file__).parent / "golden" / "workspace"
INDEXED = {f"clip-00{at:02d}.mp4" for at in (0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("query --like ", INDEXED),  # whole videos, of what is indexed
        ("query --like clip-001", {each for each in INDEXED if each.startswith("clip-001")}),
        ("index remove clip-0011.mp4 clip-0012", {"clip-0012.mp4"}),
        ("words export clip-0012", {"clip-0012.mp4"}),
        ("features show clip-0003", {"clip-0003.mp4"}),
        ("features show l", {"late\\ \\'quoted\\'\\ 🎬.mp4"}),  # as bash wants it
        ('features show "l', {"late 'quoted' 🎬.mp4"}),
        ("features remove clip-0000.mp4 z", set()),
        ("query --index nowhere --like clip", set()),
    ],
)
def test_completion_offers_videos(hcq, typed: str, offered: set[str]) -> None:
    words = f"hcq -w {KEPT} {typed}"
    asked = {"_HCQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    assert set(hcq(env=asked, code=None).out.split("\n")) - {""} == offered


def test_completion_offers_fifty_names_and_the_columns_of_a_filter(hcq, tmp_path: Path) -> None:
    from handmade import names, random_codes, write_codes

    write_codes(tmp_path / "codes.hcq", names(300), random_codes(300))
    (tmp_path / "own.csv").write_text("video,rating,place\nv1.mp4,3,Rome\n")
    hcq("index", "build", "codes.hcq", "--columns", "own.csv")

    def offered(words: str, at: int) -> list[str]:
        asked = {"_HCQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        return hcq(env=asked, code=None).out.splitlines()

    begun = [name for name in names(300) if name.startswith("v2")]
    assert offered("hcq query --like v2", 3) == begun[:50] and len(begun) > 100
    assert offered("hcq query --where ra", 3) == ["rating"]
    assert offered("hcq query --where 'rating > 2 and p", 3) == ["rating > 2 and place"]
    assert offered("hcq query --columns place,ra", 3) == ["place,rating"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_and_the_same_values(hcq, shell: str) -> None:
    script = hcq(env={"_HCQ_COMPLETE": f"source_{shell}"}, code=None).out
    assert f"_HCQ_COMPLETE=complete_{shell}" in script and "hcq" in script.strip().splitlines()[-1]
    words = "hcq query --find "
    asked = {"COMP_WORDS": words, "COMP_CWORD": "3", "_TYPER_COMPLETE_ARGS": words}
    asked |= {"_HCQ_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert set(re.findall(r"\w+", hcq(env=asked, code=None).out)) - {"_arguments"} == {"videos", "texts"}


def test_a_current_folder_that_was_removed_is_told_or_not_needed(tmp_path: Path) -> None:
    from handmade import names, random_codes, write_codes

    write_codes(tmp_path / "codes.hcq", names(3), random_codes(3))
    line = f"mkdir gone && cd gone && rmdir ../gone && exec '{sys.executable}' -m hcq_cli"
    run = {"shell": True, "cwd": tmp_path, "capture_output": True, "text": True}
    run["env"] = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    found = subprocess.run(f"{line} query --codes '{tmp_path}/codes.hcq' --like v0.mp4", **run)
    assert found.returncode == 0, found.stderr
    told = subprocess.run(f"{line} index build '{tmp_path}/codes.hcq'", **run)
    assert told.returncode == 10 and "the folder you are in is no longer there" in told.stderr
