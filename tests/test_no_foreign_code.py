"""Nothing that lies beside the videos runs: what the sources may not contain, one small function a rule.

A rule is given the syntax tree of a file and yields the nodes that break it. It stands beside snippets that break it,
on which it is proven, and some that look alike and are in order. tests/test_canaries.py tries the same from outside.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@cache
def sources() -> dict[str, ast.AST]:
    """The syntax tree of every source file, by its path; made by the first test that asks, not while collecting."""
    return {
        path.relative_to(REPOSITORY).as_posix(): ast.parse(path.read_text("utf-8"))
        for folder in ("hcq_cli", "experts", "examples")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
    }


@dataclass(frozen=True)
class Rule:
    """What no source file may do.

    Args:
        find: gives the nodes that break the rule.
        bad: snippets that break it.
        good: snippets that do not.
        allowed: files that may.
    """

    find: Callable[[ast.AST], Iterator[ast.AST]]
    bad: tuple[str, ...]
    good: tuple[str, ...]
    allowed: frozenset[str]


RULES: dict[str, Rule] = {}
PYTHON = re.compile(r"(.*/)?python[\d.]*")


def rule(bad: list[str], good: list[str], allowed: tuple[str, ...] = ()):
    """Adds a rule; see `Rule`."""

    def add(find: Callable[[ast.AST], Iterator[ast.AST]]):
        RULES[find.__name__] = Rule(find, tuple(bad), tuple(good), frozenset(allowed))
        return find

    return add


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes of a tree, which every rule goes through."""
    return tuple(ast.walk(tree))


def dotted(node: ast.AST) -> str:
    """`a.b.c` as it stands in the source; empty for anything else."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def imports(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Everything that is imported, by its full name: `from a import b` is `a.b`."""
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in nodes(tree) if isinstance(node, ast.Call))


@rule(
    bad=[
        "subprocess.run([sys.executable, script])",
        "python = sys.executable",
        "from sys import executable",
        "multiprocessing.spawn.get_executable()",
    ],
    good=["python_command('hcq_cli.extraction.worker')", "print(sys.version)"],
    allowed=("hcq_cli/process.py", "hcq_cli/doctor/machine_checks.py"),  # the doctor says which Python it is
)
def python_is_started_by_one_function(tree: ast.AST) -> Iterator[ast.AST]:
    yield from (node for node, name in imports(tree) if name == "sys.executable")
    for node in nodes(tree):
        if dotted(node) == "sys.executable" or dotted(node).endswith("get_executable"):
            yield node


@rule(
    bad=[
        "subprocess.run([sys.executable, '-m', 'hcq_cli'])",
        "command = ['python3', '-c', 'import cv2']",
        "subprocess.run(('/usr/bin/python', 'script.py'))",
        "subprocess.Popen(['env', 'python3.12', 'script.py'])",
        "subprocess.Popen(f'python {script}')",
        "subprocess.Popen([python, script, '-m'])",
    ],
    good=["[sys.executable, '-P', '-m', 'hcq_cli']", "hint = 'python -m pip install av'", "['gcc', 'scan.c']"],
)
def python_is_told_to_leave_the_current_folder_alone(tree: ast.AST) -> Iterator[ast.AST]:
    for node in nodes(tree):
        if isinstance(node, ast.List | ast.Tuple) and _starts_python(node.elts):
            yield node
    for call in calls(tree):
        if dotted(call.func).startswith("subprocess.") and call.args and PYTHON.fullmatch(_first_word(call.args[0])):
            yield call


def _starts_python(elements: list[ast.expr]) -> bool:
    words = [element.value for element in elements if isinstance(element, ast.Constant)]
    python = any(map(PYTHON.fullmatch, map(str, words))) or any(dotted(each) == "sys.executable" for each in elements)
    return "-P" not in words and (python or "-m" in words or "-c" in words)


def _first_word(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return str(node.value).partition(" ")[0] if isinstance(node, ast.Constant) else ""


@rule(
    bad=[
        "import multiprocessing",
        "from multiprocessing import get_context",
        "import torch.multiprocessing as mp",
        "from concurrent.futures import ProcessPoolExecutor",
        "concurrent.futures.ProcessPoolExecutor(4)",
        "DataLoader(data, num_workers=2)",
        "os.fork()",
        "os.execv(program, arguments)",
    ],
    good=[
        "from multiprocessing.connection import Listener",
        "from multiprocessing import AuthenticationError",
        "from concurrent.futures import ThreadPoolExecutor",
        "os.kill(pid, 9)",
    ],
)
def pools_that_python_starts_are_not_used(tree: ast.AST) -> Iterator[ast.AST]:
    """What they start looks for modules in the current folder first: `python -c ...`, without -P."""
    for node, name in imports(tree):
        connection = name.startswith("multiprocessing.connection.") or name == "multiprocessing.AuthenticationError"
        if ("multiprocessing" in name.split(".") and not connection) or name.endswith("ProcessPoolExecutor"):
            yield node
    for node in nodes(tree):
        name = dotted(node)
        if name.endswith(".ProcessPoolExecutor") or name.startswith(
            ("os.fork", "os.exec", "os.spawn", "os.posix_spawn")
        ):
            yield node
        if isinstance(node, ast.keyword) and node.arg == "num_workers":
            yield node


@rule(
    bad=[
        "os.system('ls')",
        "os.popen(command)",
        "subprocess.run(command, shell=True)",
        "subprocess.getoutput('ls')",
        "asyncio.create_subprocess_shell(command)",
    ],
    good=["subprocess.run(command)", "subprocess.run(command, shell=False)"],
)
def no_shell_is_asked(tree: ast.AST) -> Iterator[ast.AST]:
    for call in calls(tree):
        name = dotted(call.func)
        if name in ("os.system", "os.popen") or name.startswith("subprocess.get") or name.endswith("_shell"):
            yield call
        for keyword in call.keywords:
            if keyword.arg == "shell" and getattr(keyword.value, "value", True) is not False:
                yield call


@rule(
    bad=["exec(text)", "eval(text)", "compile(text, 'file', 'exec')", "__import__(name)", "runpy.run_path(path)"],
    good=["model.eval()", "re.compile(text)", "torch.compile(model)"],
    allowed=("hcq_cli/start.py",),  # the module is the one that the parent named
)
def no_text_is_run_as_code(tree: ast.AST) -> Iterator[ast.AST]:
    for call in calls(tree):
        name = dotted(call.func)
        if name in ("exec", "eval", "compile", "__import__") or name.startswith("runpy."):
            yield call


@rule(
    bad=[
        "AutoTokenizer.from_pretrained(source, use_fast=True, local_files_only=offline)",
        "transformers.AutoModel.from_pretrained(folder, trust_remote_code=False)",
        "AutoModel.from_config(AutoConfig.for_model(kind, **settings))",
        "AutoConfig.for_model('bert')",
        "load = AutoModel.from_pretrained",
    ],
    good=["from_folder(AutoTokenizer, folder)", "network_from_settings(settings, held, place)"],
    allowed=("experts/neural/foreign.py",),
)
def networks_are_loaded_by_one_module(tree: ast.AST) -> Iterator[ast.AST]:
    for node in nodes(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("from_pretrained", "from_config", "for_model"):
            yield node


@rule(
    bad=[
        "AutoModel.from_config(AutoConfig.for_model(settings.pop('model_type'), **settings))",
        "AutoConfig.from_pretrained(source, local_files_only=True)",
        "kind.from_pretrained(folder, trust_remote_code=asked, local_files_only=True)",
        "kind.from_pretrained(folder, trust_remote_code=False)",
        "kind.from_pretrained(folder, trust_remote_code=False, local_files_only=offline)",
        "load(folder, trust_remote_code=True)",
    ],
    good=[
        "kind.from_pretrained(folder, **settings, local_files_only=True, trust_remote_code=False)",
        "AutoModel.from_config(shape, trust_remote_code=False)",
    ],
)
def no_custom_code_is_trusted_and_nothing_is_fetched(tree: ast.AST) -> Iterator[ast.AST]:
    for call in calls(tree):
        told = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        loads = name in ("from_pretrained", "from_config")
        if (loads or "trust_remote_code" in told) and told.get("trust_remote_code") is not False:
            yield call
        elif name == "from_pretrained" and told.get("local_files_only") is not True:
            yield call


NAMES_OF_FILES = {"name", "file", "path", "filename", "quantizer", "tombstones", "partition", "tower", "shard"}
JOINS = ("Path", "joinpath", "join", "with_name")


@rule(
    bad=[
        'path = folder / SHARDS / entry["name"]',  # as it stood in the feature store
        'left = [entry for entry in entries if folder / SHARDS / entry["name"] not in bad]',
        'Segment(folder / str(body["quantizer"]))',
        "folder / f\"{entry['name']}.h5\"",
        'folder / body.get("partition", "")',
        'Path(folder, entry["file"])',
        'folder.joinpath("shards", entry["name"])',
        'os.path.join(folder, entry["name"])',
    ],
    good=[
        'folder / plain_name(entry["name"])',
        "folder / SHARDS / entry.name",  # of a class whose maker has checked it
        'share = done / counts["videos"]',
        '", ".join(row["name"] for row in rows)',
    ],
)
def a_name_out_of_a_file_is_checked_before_it_is_joined(tree: ast.AST) -> Iterator[ast.AST]:
    """A manifest may come from anywhere, and its names may lead anywhere: `hcq_cli.files.plain_name`."""
    for node in nodes(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _named_in_a_file(node.right):
            yield node
    for call in calls(tree):
        text = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant)  # ", ".join
        if dotted(call.func).rpartition(".")[2] in JOINS and not text and any(map(_named_in_a_file, call.args)):
            yield call


def _named_in_a_file(node: ast.AST) -> bool:
    """Whether an expression holds the name of a file as a document has it, unchecked."""
    if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "plain_name":
        return False
    key: object = None
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        key = node.slice.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        key = getattr(node.args[0], "value", None)
    return key in NAMES_OF_FILES or any(map(_named_in_a_file, ast.iter_child_nodes(node)))


def opens(tree: ast.AST) -> Iterator[ast.AST]:
    """Whatever opens a file and would wait for a pipe, read a device or follow a link."""
    for call in calls(tree):
        name = dotted(call.func)
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        paths_method = method in ("open", "read_text", "read_bytes") and name not in (
            "FeatureStore.open",
            "Index.open",
        )
        if (name == "open" or paths_method) and name != "temporary.open":  # which hcq has just made
            yield call


@pytest.mark.parametrize("snippet", ["open(path)", "path.open('rb')", "path.read_bytes()", "os.open(path, 0)"])
def test_what_opens_a_file_is_found(snippet: str) -> None:
    assert list(opens(ast.parse(snippet)))


def test_what_a_stranger_may_have_made_is_opened_by_one_function() -> None:
    """`hcq_cli.files.open_regular`: in the feature store, the index and the containers that both are made of."""
    formats = ("hcq_cli/features/", "hcq_cli/codes/", "hcq_cli/search/index", "hcq_cli/search/segment")
    writers = {
        "hcq_cli/features/shard_writer.py",
        "hcq_cli/features/export.py",
    }  # into files that they make themselves
    looked_at = {file: tree for file, tree in sources().items() if file.startswith(formats) and file not in writers}
    assert {
        "hcq_cli/features/open_files.py",
        "hcq_cli/codes/container.py",
        "hcq_cli/search/index.py",
    } <= looked_at.keys()
    found = [
        f"{file}:{getattr(node, 'lineno', '?')}: {ast.unparse(node)[:80]}"
        for file, tree in looked_at.items()
        for node in opens(tree)
    ]
    assert not found


@pytest.mark.parametrize("name", RULES)
def test_no_source_breaks_the_rule(name: str) -> None:
    broken = [
        f"{file}:{getattr(node, 'lineno', '?')}: {ast.unparse(node)[:80]}"
        for file, tree in sources().items()
        if file not in RULES[name].allowed
        for node in RULES[name].find(tree)
    ]
    assert not broken, f"{name}: {broken}"


def test_all_sources_are_looked_at() -> None:
    assert {"hcq_cli/app.py", "experts/base.py", "examples/picture.py"} <= sources().keys()


@pytest.mark.parametrize("snippet, name", [(snippet, name) for name in RULES for snippet in RULES[name].bad])
def test_a_rule_finds_what_breaks_it(snippet: str, name: str) -> None:
    assert list(RULES[name].find(ast.parse(snippet)))


@pytest.mark.parametrize("snippet, name", [(snippet, name) for name in RULES for snippet in RULES[name].good])
def test_a_rule_leaves_alone_what_is_in_order(snippet: str, name: str) -> None:
    assert not list(RULES[name].find(ast.parse(snippet)))


@pytest.mark.parametrize("name", RULES)
def test_whatever_is_allowed_is_needed(name: str) -> None:
    for file in RULES[name].allowed:
        assert list(RULES[name].find(sources()[file])), f"{file} need not be allowed"
