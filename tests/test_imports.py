"""Who may import whom: packages stand in one order, and no file imports itself by way of others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ORDER = [
    *(
        "errors",
        "cores",
        "files",
        "writer_lock",
        "generations",
        "headers",
        "collection",
        "packed_strings",
        "printable",
        "process",
        "workspace",
        "settings",
        "running_server",
    ),
    "shares",
    *(
        "experts",
        "remote",
        "media",
        "features",
        "extraction",
        "codes",
        "columns",
        "datasets",
        "words",
        "model",
        "scan",
        "search",
        "duplicates",
        "evaluation",
        "training",
        "fitting",
        "web",
        "agents",
    ),
    "engines",
    *("baselines", "weights", "api", "bench", "importers", "doctor", "demo"),
    *("terminal_pictures", "console", "interrupts", "completion", "commands", "app", "__main__", "start"),
]
"""Each imports from those before it alone: a library never prints, and what is measured needs no training."""

FILES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("hcq_cli", "experts")
    for path in sorted((REPOSITORY / package).rglob("*.py"))
}


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    """The syntax tree of a module, all its nodes; every test here goes through all of them."""
    return tuple(ast.walk(ast.parse(FILES[name].read_text("utf-8"))))


@cache
def imported(name: str) -> tuple[str, ...]:
    """The modules of ours that a module imports anywhere, for types alone too."""
    found = []
    for node in nodes(name):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are absolute here"
            inside = (f"{node.module}.{alias.name}" for alias in node.names)
            found += [each if each in FILES else str(node.module) for each in inside]
    return tuple(each for each in found if each in FILES)


def package(module: str) -> str:
    return module.removeprefix("hcq_cli.").partition(".")[0]


def test_packages_import_those_before_them_alone() -> None:
    backwards = [
        f"{name} imports {other}"
        for name in FILES
        for other in imported(name)
        if "hcq_cli" not in (name, other)
        if ORDER.index(package(other)) > ORDER.index(package(name))
    ]
    assert not backwards


def test_no_file_imports_itself_by_way_of_others() -> None:
    list(TopologicalSorter({name: set(imported(name)) for name in FILES}).static_order())  # or a CycleError


SIDE_ROOMS = {"bench", "demo", "doctor", "importers", "weights", "experts"}
"""What is no verb, and has a command of its own: the core imports none of it."""


def test_commands_stand_on_the_api_alone() -> None:
    allowed = {"hcq_cli", "api", "console", "errors", "workspace", "settings", "commands", *SIDE_ROOMS}
    behind = [
        f"{name} imports {other}"
        for name in FILES
        for other in imported_at_run_time(name)
        if package(name) == "commands" and package(other) not in allowed
    ]
    assert not behind


def imported_at_run_time(name: str) -> Iterator[str]:
    """As `imported`, without what stands under `if TYPE_CHECKING`."""
    for_types = {
        id(node)
        for block in nodes(name)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in nodes(name):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            yield from (f"{node.module}.{alias.name}" for alias in node.names if str(node.module) == "hcq_cli")
            if str(node.module).startswith("hcq_cli.") or str(node.module).startswith("experts"):
                yield str(node.module)
