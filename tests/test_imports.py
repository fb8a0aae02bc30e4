"""Who may import whom: packages stand in one order, and no file imports itself by way of others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ORDER = [
    *("errors", "files", "process", "workspace", "settings"),
    *(
        "experts",
        "features",
        "media",
        "codes",
        "datasets",
        "model",
        "compat",
        "scan",
        "search",
        "evaluation",
        "training",
    ),
    *("baselines", "bench", "legacy", "weights", "doctor", "demo"),
    *("console", "commands", "app", "__main__", "start"),
]
"""Each imports from those before it alone: a library never prints, and what is measured needs no training."""
EXCEPTIONS = {("hcq_cli.model.checkpoint", "hcq_cli.compat.checkpoint")}
"""A checkpoint folder may hold a model of the published implementation, whose layers are partly ours."""

FILES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("hcq_cli", "experts")
    for path in sorted((REPOSITORY / package).rglob("*.py"))
}


def imported(name: str) -> Iterator[str]:
    """The modules of ours that a module imports anywhere, for types alone too."""
    for node in ast.walk(ast.parse(FILES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are absolute here"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found = inside if inside in FILES else str(node.module)
                if found in FILES:
                    yield found


def package(module: str) -> str:
    return module.removeprefix("hcq_cli.").partition(".")[0]


def test_packages_import_those_before_them_alone() -> None:
    backwards = [
        f"{name} imports {other}"
        for name in FILES
        for other in imported(name)
        if "hcq_cli" not in (name, other) and (name, other) not in EXCEPTIONS
        if ORDER.index(package(other)) > ORDER.index(package(name))
    ]
    assert not backwards


def test_no_file_imports_itself_by_way_of_others() -> None:
    list(TopologicalSorter({name: set(imported(name)) for name in FILES}).static_order())  # or a CycleError
