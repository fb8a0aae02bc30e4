"""What the documents say is so: links lead somewhere, messages are the program's, formats are read as told."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import command_pages
import jsonschema
import mmt_files
import numpy as np
import pytest
from in_process import program, run_here
from schemas import SCHEMAS, faults

from hcq_cli.codes.codefile import open_codes

REPOSITORY = Path(__file__).resolve().parent.parent
KEPT = REPOSITORY / "tests" / "golden" / "workspace"
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "examples").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
NO_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings, and those that it names itself."""
    text = document.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a name="([^"]+)"', text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(NO_CODE.sub("", document.read_text("utf-8"))):
        place = document.parent / target if target else document
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"


@cache
def said() -> str:
    """All texts of the program, one a line; of what is filled in an ellipsis stands there."""
    texts = []
    for package in ("hcq_cli", "experts"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                    texts.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return "\n".join(texts)


def test_messages_that_are_quoted_are_those_of_the_program() -> None:
    text = NO_CODE.sub("", (REPOSITORY / "examples" / "TROUBLESHOOTING.md").read_text("utf-8"))
    quoted = re.findall(r'"([^"\n]+)"', re.sub(r"<a [^>]*>", "", text))
    assert len(quoted) > 20
    missing = [each for each in quoted if not re.search(re.escape(each).replace("…", ".*"), said())]
    assert not missing


def test_the_code_file_is_read_as_its_format_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".hcq").mkdir()
    shutil.copy(KEPT / "codes.hcq", tmp_path / ".hcq")
    monkeypatch.chdir(tmp_path)
    told: dict[str, Any] = {}
    text = (REPOSITORY / "examples" / "FORMATS.md").read_text("utf-8")
    [reader] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(reader, told)
    file = open_codes(KEPT / "codes.hcq")
    np.testing.assert_array_equal(told["codes"], file.codes)
    assert told["ids"] == list(file.ids)
    chunks = np.random.default_rng(0).normal(size=told["rebuilt"].shape[1:]).astype(np.float32)
    table = np.einsum("sd,skd->sk", chunks, file.codebooks) * file.scale[:, None]
    by_look_up = table[np.arange(table.shape[0]), file.codes].sum(1)
    np.testing.assert_allclose((told["rebuilt"] * chunks).sum((1, 2)), by_look_up, atol=1e-4)


OUTPUTS = [
    ("query", "query 'a red ball'"),
    ("query", "query --like clip-0001.mp4 --by segment -k 2"),
    ("query", "query 'a red ball' --codes {w}/texts.hcq"),
    ("query", "query 'a red ball' --like clip-0001.mp4 --not 'a barking dog'"),
    ("index info", "index info"),
    ("index export", "index export --to parquet -o {w}/videos.parquet"),
    ("index verify", "index verify"),
    ("index remove", "index remove clip-0001.mp4 nowhere.mp4"),
    ("index compact", "index compact"),
    ("index add", "index add {w}/codes.hcq"),
    ("index build", "index build {w}/texts.hcq"),
    ("encode", "encode"),
    ("encode", "encode --texts {w}/captions.jsonl"),
    ("eval", "eval --captions {w}/captions.jsonl --split all"),
    ("captions check", "captions check {w}/captions.jsonl"),
    ("words info", "words info"),
    ("report", "report -o {w}/report.html"),
    ("features info", "features info"),
    ("features show", "features show clip-0001.mp4"),
    ("features verify", "features verify"),
    ("features export", "features export -o {w}/all.npz"),
    ("features remove", "features remove clip-0002.mp4"),
    ("experts", "experts"),
    ("models list", "models list"),
    ("models save", "models save {w}/saved --licence mit"),
    ("recipes", "recipes few"),
    ("recipes --sweep", "recipes msrvtt-1ka --sweep"),
    ("mcp --print-config", "mcp --print-config"),
]
"""Commands on the kept workspace, one after another, and what of the schemas describes each."""


def test_every_command_has_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS)
    described = {name.partition(" --")[0] for name in SCHEMAS["commands"]}
    assert described == {name for name, _ in command_pages.commands(program())}


@pytest.mark.parametrize("files", [None, 1])  # a whole set, and one video without a split or captions
def test_an_import_prints_what_its_schema_says(tmp_path: Path, files: int | None) -> None:
    every = list(mmt_files.msrvtt().items())
    archive = mmt_files.pack(dict(every[:files]), tmp_path / "a.tar", "MSRVTT")
    printed = run_here("import", "mmt", archive, "-w", tmp_path / "w", "--json")
    assert faults("import mmt", printed.json) == []


@pytest.mark.long
def test_what_is_printed_is_what_the_schemas_say(tmp_path: Path) -> None:
    place = shutil.copytree(KEPT, tmp_path / "w")
    wrong = []
    for name, line in OUTPUTS:
        arguments = shlex.split(line.format(w=place))
        printed = run_here(*arguments, "-w", place, "--json", code=3 if "nowhere" in line else 0)
        wrong += [f"{line}: {fault}" for fault in faults(name, printed.json)]
    assert not wrong, "\n".join(wrong)
