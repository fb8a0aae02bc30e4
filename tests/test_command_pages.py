"""Every example of every help page, in a folder that holds what the examples name."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import command_pages
import pytest
from concept_features import sentence_encoder
from in_process import program
from PIL import Image
from test_readme import SMALL_DEMO, environment
from tiny_classifiers import COLOURS, LEVELS, colour_classifier, loudness_classifier

ELSEWHERE = {
    "models fetch": "the hub",
    "models push": "the hub",
    "bert-base-cased": "weights of the hub",
    "google/": "weights of the hub",
    "encoder=minilm": "a minute of training",
    "--preset": "weights of the hub",
    "openai/": "weights of the hub",
    "--face": "networks that tell persons apart",
    "brightness": "another package",
    "speech": "Whisper",
    "--on ray": "Ray",
    "--watch": "somebody who ends it",
    "hcq serve": "somebody who ends it",
    "--open": "a player",
    "find /media": "another machine's drive",
    "hcq bench": "minutes",
    "hcq demo": "minutes; its own test runs it",
    "import official": "a checkpoint of the published code",
    "import mmt": "feature files of MMT",
    "msrvtt-1ka": "feature files of MMT",
}
"""What an example needs that the folder has not, by what names it."""
SETTINGS = f"""{SMALL_DEMO}
[train]
recipe = "my.toml"

[fit]
text_encoder = "encoder"

[find]
text_encoder = "encoder"
"""
RECIPE = """inherit = "demo"
model = {width = 32, levels = 1}
text = {width = 32, ffn = 32}
video = {ffn = 32}
quantizer = {codebooks = 4, codewords = 16}
training = {epochs = 1}
"""
FITTED = ("--min-confidence", "--calibration", "hcq find")
"""What wants a model of hcq fit: such examples are run in a workspace that has one."""
IN_A_SHELL = set("<>|*#")


def all_examples() -> list[str]:
    return [line for _, each in command_pages.commands(program()) for line in command_pages.examples(each)]


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, captions and a workspace, with models and codes under the names that the examples give them."""
    place = tmp_path_factory.mktemp("reader")
    (place / "hcq.toml").write_text(SETTINGS)
    (place / "my.toml").write_text(RECIPE)
    sentence_encoder(place).rename(place / "encoder")
    for make, name in ((colour_classifier, "mobilenet"), (loudness_classifier, "yamnet")):
        make(place).rename(place / f"{name}.onnx")
        (place / f"{name}.labels.txt").write_text("\n".join(COLOURS if name == "mobilenet" else LEVELS))

    def run(*commands: str) -> None:
        for command in commands:
            subprocess.run(command, shell=True, cwd=place, env=environment(), check=True)

    run("hcq demo")
    _name_videos(place)
    run("hcq extract videos/", "hcq train --captions captions.jsonl", "hcq encode", "hcq index build")
    run("hcq encode --texts captions.jsonl", "hcq index build .hcq/texts.hcq")
    shutil.copy(place / "captions.jsonl", place / ".hcq")
    sources = "onnx:mobilenet.onnx,onnx:yamnet.onnx"
    run("hcq extract videos/ --experts objects=onnx:mobilenet.onnx,sounds=onnx:yamnet.onnx")
    shutil.copytree(place / ".hcq", place / "fitted")
    run(*(f"hcq {step} -w fitted" for step in (f"fit --concepts {sources}", "encode", "index build")))
    _name_the_rest(place)
    return place


def _name_videos(place: Path) -> None:
    """The clips of the demo, and captions of them, by the names in the examples."""
    clips = sorted((place / "hcq-demo" / "clips").glob("*.mp4"))
    names = ["holiday/beach.mp4", "holiday/sea.mp4", "holiday/surf.mp4", "clips/cat.mp4", "talk.mp4"]
    called = {clip.name: name for clip, name in zip(clips, [*names, *(clip.name for clip in clips[5:])], strict=True)}
    for clip in clips:
        target = place / "videos" / called[clip.name]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, target)
    (place / "videos" / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhappy birthday, a cake\n")
    told = [json.loads(line) for line in (place / "hcq-demo/.hcq/captions.jsonl").read_text("utf-8").splitlines()]
    told = [{**each, "video": called[each["video"]]} for each in told]
    told[0]["split"] = "val"
    (place / "captions.jsonl").write_text("\n".join(map(json.dumps, told)), "utf-8")
    rows = [f"{each['video']},a red ball" for each in told]
    (place / "captions.csv").write_text("\n".join(["video,caption", *rows]))
    (place / "ratings.csv").write_text("\n".join(["video,rating", *(f"{each['video']},5" for each in told)]))
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


@pytest.mark.long
def test_every_example_runs(folder: Path, hcq: Callable[..., object], tmp_path: Path) -> None:
    failed = []
    for number, line in enumerate(all_examples()):
        if any(part in line for part in ELSEWHERE):
            continue
        place = Path(shutil.copytree(folder, tmp_path / f"{number}"))
        own = {"HCQ_WORKSPACE": "fitted"} if any(option in line for option in FITTED) else {}
        if IN_A_SHELL & set(line):
            done = subprocess.run(line, shell=True, cwd=place, env=environment(), capture_output=True, text=True)
            code, said = done.returncode, done.stderr
        else:
            outcome = hcq(*shlex.split(line)[1:], cwd=place, code=None, env=own)
            code, said = outcome.code, outcome.err
        if code:
            failed.append(f"$ {line}\n[{code}] {said}")
    assert not failed, "\n\n".join(failed)
