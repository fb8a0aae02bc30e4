"""Every example of every help page, in a folder that holds what the examples name."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import command_pages
import hub_networks
import mmt_files
import pytest
import schemas
import tiny_faces
from command import Outcome, run_hcq
from concept_features import sentence_encoder
from in_process import program
from local_hub import TOKEN, local_hub
from PIL import Image
from test_documents import OUTPUTS
from test_readme import REPOSITORY, SMALL_DEMO, environment
from tiny_classifiers import COLOURS, LEVELS, colour_classifier, loudness_classifier

ELSEWHERE = {
    "import official": "a checkpoint of the published code: tests/importers/test_official.py has one",
    "--on ray": "a Ray cluster: tests/engines has one",
    "--watch": "somebody who ends it: tests/api/test_watching.py",
    "hcq serve": "somebody who ends it: tests/support/served.py",
}
"""What an example needs that is not made here, by what names it."""
PAPERS = {"captions.jsonl": "paper", "train": "msrvtt-1ka"}
SMALLER = {"/media": "videos", "--videos 10000000": "--videos 20000"}
SMALLER |= {f"{part} --recipe {name}": f"{part} --recipe {name}.toml" for part, name in PAPERS.items()}
"""What would take this machine's own drives, or hours."""
PLACES = {
    "fitted": ("--min-confidence", "--calibration", "hcq find"),
    "seen": ("--face", "speech", "--dual", "--preset laptop", "-w seen"),
    "published": ("train --recipe msrvtt-1ka",),
}
"""Workspaces beside `.hcq`, by what wants them: models of `hcq fit`, what networks saw and heard, features of MMT."""
FETCHED = (
    "models fetch",
    "models push",
    "bert-base-cased",
    "google/",
    "openai/",
    "--preset",
    *PLACES["seen"],
    *PLACES["published"],
)
"""What asks the hub, or takes what was fetched from it."""
SETTINGS = f"""{SMALL_DEMO}
[extract]
workers = 1

[train]
recipe = "my.toml"

[fit]
text_encoder = "encoder"

[find]
text_encoder = "encoder"

[bench.search]
videos = 20000

[bench.train]
rounds = 1
tokens = 2

[bench.encode]
rounds = 1
tokens = 2
"""
RECIPE = """inherit = "demo"
model = {width = 32, levels = 1}
text = {width = 32, ffn = 32}
video = {ffn = 32}
quantizer = {codebooks = 4, codewords = 16}
training = {epochs = 1}
"""
SMALL_PAPER = """inherit = "{}"
model = {{width = 32, levels = 1}}
video = {{layers = 1, ffn = 32}}
quantizer = {{codebooks = 4, codewords = 16}}
training = {{epochs = 1, samples_per_epoch = 8, batch_size = 4}}
"""
LONGEST_S = 1200.0
TOO = [
    "hcq extract videos/ --dry-run --json",
    "hcq query --face anna.jpg --face party.mp4@12 --not-face ben.jpg --json",
    "hcq query a goal --by segment --save-clips goals/ --json",
    "hcq query --video new.mp4 --find texts --json",
    "hcq query --image photo.jpg --json",
]
"""Answers with fields that no example asks for as JSON."""
PLAYER = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/played"
"""
IN_A_SHELL = set("<>|*#")


def all_examples() -> list[str]:
    return [line for _, each in command_pages.commands(program()) for line in command_pages.examples(each)]


def asked() -> list[str]:
    """All examples, and as JSON the first of each kind of answer that no other test holds to its schema."""
    found = [*all_examples(), *TOO]
    held = {"", *(name for name, _ in OUTPUTS), *(answer(line) for line in found if "--json" in line)}
    for line in found:
        if not IN_A_SHELL & set(line) and answer(line) not in held and not elsewhere(line):
            held.add(answer(line))
            found = [*found, f"{line} --json"]
    return found


def elsewhere(line: str) -> bool:
    return any(part in line for part in ELSEWHERE)


def answer(line: str) -> str:
    """Which schema describes what an example prints, or would."""
    return schemas.name_of(shlex.split(line.partition("hcq ")[2]))


def test_every_answer_is_held_to_its_schema() -> None:
    held = {answer(line) for line in asked() if "--json" in line} | {name for name, _ in OUTPUTS}
    assert set(schemas.SCHEMAS["commands"]) - held == {"import official", "serve"}  # in the tests of these


def test_every_example_is_understood() -> None:
    """Its command and options are there; what they name need not be."""
    for line in all_examples():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        words = words[words.index("hcq") :]
        words = words[: next((at for at, word in enumerate(words) if word in ("<", ">", "|")), None)]
        command = program()
        with command.make_context("hcq", words[1:]) as context:
            while getattr(command, "commands", {}):
                name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
                context = command.make_context(name, rest, parent=context)
        assert context.params, line


def smaller(line: str) -> str:
    for large, small in SMALLER.items():
        line = line.replace(large, small)
    return line


@dataclass(frozen=True)
class Reader:
    """Who follows the examples.

    Args:
        folder: videos, captions, workspaces and whatever else the examples name.
        fetched: environment in which the hub is the tests' own, and what was fetched from it is found.
    """

    folder: Path
    fetched: Mapping[str, str]

    def environment(self, line: str, place: Path) -> dict[str, str]:
        """In which an example is run."""
        own = environment()
        own |= {"PATH": f"{place / 'bin'}{os.pathsep}{own['PATH']}", "XDG_CONFIG_HOME": str(place / ".config")}
        own |= {"PYTHONPATH": str(place / "packages")} if "brightness" in line else {}
        own |= self.begun(line)
        wanted = [name for name, parts in PLACES.items() if any(part in line for part in parts)]
        return {**own, "HCQ_WORKSPACE": wanted[-1]} if wanted else own

    def begun(self, line: str) -> Mapping[str, str]:
        """The part of it that libraries read while they are imported."""
        return self.fetched if any(part in line for part in FETCHED) else {}

    def run(self, line: str, place: Path) -> Outcome:
        """Run an example, through a shell where it is written for one."""
        line = smaller(line)
        own = self.environment(line, place)
        if not IN_A_SHELL & set(line):
            words, how = shlex.split(line)[1:], {"env": own, "begun": self.begun(line), "timeout": LONGEST_S}
            return run_hcq(*words, cwd=place, code=None, **how)
        done = subprocess.run(line, shell=True, cwd=place, env=own, capture_output=True, text=True)
        return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    place = tmp_path_factory.mktemp("reader")
    with local_hub() as hub:
        for id, network in hub_networks.save(place / "networks").items():
            hub.add(id, network)
        clip = hub.add("openai/clip-vit-base-patch32", place / "networks" / "dinov2")
        clip.revisions.add("refs/pr/1")
        reader = Reader(place, {**hub.environment(tmp_path_factory.mktemp("hub")), "HF_TOKEN": TOKEN})
        _make(reader)
        yield reader


def _make(reader: Reader) -> None:
    """Videos, captions and workspaces, with models and codes under the names that the examples give them."""
    place = reader.folder
    (place / "hcq.toml").write_text(SETTINGS)
    (place / "my.toml").write_text(RECIPE)
    for name in PAPERS.values():
        (place / f"{name}.toml").write_text(SMALL_PAPER.format(name))
    sentence_encoder(place).rename(place / "encoder")
    for make, name in ((colour_classifier, "mobilenet"), (loudness_classifier, "yamnet")):
        make(place).rename(place / f"{name}.onnx")
        (place / f"{name}.labels.txt").write_text("\n".join(COLOURS if name == "mobilenet" else LEVELS))
    shutil.copy(place / "mobilenet.onnx", place / "squeezenet.onnx")

    def run(*commands: str) -> None:
        for command in commands:
            done = reader.run(command, place)
            assert not done.code, f"$ {command}\n{done.err}"

    run("hcq demo")
    _name_videos(place)
    run("hcq extract videos/", "hcq train --captions captions.jsonl", "hcq encode", "hcq index build")
    run("hcq encode --texts captions.jsonl", "hcq index build .hcq/texts.hcq")
    shutil.copy(place / "captions.jsonl", place / ".hcq")
    sources = "onnx:mobilenet.onnx,onnx:yamnet.onnx"
    run("hcq extract videos/ --experts objects=onnx:mobilenet.onnx,sounds=onnx:yamnet.onnx")
    shutil.copytree(place / ".hcq", place / "fitted")
    run(*(f"hcq {step} -w fitted" for step in (f"fit --concepts {sources}", "encode", "index build")))
    run("hcq models fetch neural laptop face speech bert-base-cased")
    run("hcq extract people/ --preset laptop -w seen")
    run("hcq extract people/ --preset neural --experts audio,face,speech -w seen")
    run(*(f"hcq {step} -w seen" for step in ("fit --preset laptop", "encode", "index build")))
    mmt_files.pack(mmt_files.msrvtt(), place / "MSRVTT.tar.gz", "MSRVTT")
    mmt_files.unpack(mmt_files.msrvtt(), place / "data" / "MSRVTT")
    run("hcq import mmt MSRVTT.tar.gz -w published")
    _name_the_rest(place)


def _name_videos(place: Path) -> None:
    """The clips of the demo, and captions of them, by the names in the examples."""
    clips = sorted((place / "hcq-demo" / "clips").glob("*.mp4"))
    names = ["holiday/beach.mp4", "holiday/sea.mp4", "holiday/surf.mp4", "clips/cat.mp4", "talk.mp4"]
    called = {clip.name: name for clip, name in zip(clips, [*names, *(clip.name for clip in clips[5:])], strict=True)}
    for clip in clips:
        target = place / "videos" / called[clip.name]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, target)
    for language, said in (("", "happy birthday, a cake"), (".de", "alles Gute")):
        (place / "videos" / f"talk{language}.srt").write_text(f"1\n00:00:00,000 --> 00:00:01,000\n{said}\n")
    told = [json.loads(line) for line in (place / "hcq-demo/.hcq/captions.jsonl").read_text("utf-8").splitlines()]
    told = [{**each, "video": called[each["video"]]} for each in told]
    told[0]["split"] = "val"
    (place / "captions.jsonl").write_text("\n".join(map(json.dumps, told)), "utf-8")
    rows = [f"{each['video']},a red ball" for each in told]
    (place / "captions.csv").write_text("\n".join(["video,caption", *rows]))
    (place / "ratings.csv").write_text("\n".join(["video,rating", *(f"{each['video']},5" for each in told)]))
    (place / "people").mkdir()
    for name, faces in (("party.mp4", [(1, 2)] * 14), ("crowd.mp4", [(1,), (2,)])):
        tiny_faces.write_video(place / "people" / name, faces)
    shutil.copy(clips[3], place / "people" / "heard.mp4")
    for name, face in (("anna", 1), ("ben", 2)):
        Image.fromarray(tiny_faces.picture(face)).save(place / f"{name}.jpg", quality=100)
    (place / "talks").mkdir()
    shutil.copy(clips[0], place / "talks" / "one.mkv")
    shutil.copy(clips[1], place / "new.mp4")


def _name_the_rest(place: Path) -> None:
    (place / "queries.txt").write_text("a red ball\na barking dog\n")
    Image.new("RGB", (160, 96), "red").save(place / "photo.jpg")
    for name in ("codes.hcq", "a.hcq", "b.hcq", "new.hcq"):
        shutil.copy(place / ".hcq" / "codes.hcq", place / name)
    for runs in ("runs/a", "runs/a/.hcq", "runs/b/.hcq"):
        shutil.copytree(place / ".hcq", place / runs)
    shutil.copytree(place / ".hcq" / "model", place / "runs" / "a", dirs_exist_ok=True)
    shutil.copytree(place / ".hcq" / "features", place / "runs" / "features")
    (place / "bin").mkdir()
    (place / "bin" / "mpv").write_text(PLAYER)
    (place / "bin" / "mpv").chmod(0o755)
    own = shutil.copytree(REPOSITORY / "examples" / "own_expert", place / "own_expert")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*pip, "--target", place / "packages", own], check=True)


def followed(reader: Reader, line: str, place: Path) -> str:
    """Run an example in a copy of the folder; what went wrong, or nothing."""
    shutil.copytree(reader.folder, place)
    done = reader.run(line, place)
    shutil.rmtree(place)
    if done.code:
        return f"$ {line}\n[{done.code}] {done.err}"
    documents = [] if "--json" not in line else done.lines if "query - " in line else [done.json]
    wrong = [fault for each in documents for fault in schemas.faults(answer(line), each)]
    return f"$ {line}\n{wrong}" if wrong else ""


@pytest.mark.parametrize(
    "fetched", [pytest.param(False, marks=pytest.mark.long), pytest.param(True, marks=pytest.mark.slow)]
)
def test_every_example_runs(reader: Reader, tmp_path: Path, fetched: bool) -> None:
    """Those that want networks of the hub load torch and transformers each, which takes minutes in all."""
    here = [line for line in asked() if not elsewhere(line) and bool(reader.begun(smaller(line))) == fetched]
    wrong = [followed(reader, line, tmp_path / f"{at}") for at, line in enumerate(here)]
    assert not any(wrong), "\n\n".join(filter(None, wrong))
