"""What `--json` prints held to examples/schemas.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = json.loads((Path(__file__).resolve().parents[2] / "examples" / "schemas.json").read_text("utf-8"))


def name_of(words: list[str]) -> str:
    """Which schema describes what a command line prints: the longest name that stands in it; empty if none does."""
    line, named = f" {' '.join(words)} ", []
    for name in SCHEMAS["commands"]:
        command, *option = name.split(" --")
        if f" {command} " in line and all(f"--{each}" in words for each in option):
            named.append(name)
    return max(named, key=len, default="")


def faults(name: str, document: Any) -> list[str]:
    """Where a document is not what its schema says; a field that it does not name is a fault, too."""
    found = _validator(SCHEMAS["commands"][name]).iter_errors(document)
    return [f"{name}: {fault.json_path}: {fault.message}" for fault in found]


def _validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_closed({**schema, "$defs": SCHEMAS["$defs"]}))


def _closed(part: Any) -> Any:
    """A schema by which scripts find all fields described."""
    if isinstance(part, list):
        return [_closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    rest = {"additionalProperties": False} if "properties" in part else {}
    return {**{key: _closed(value) for key, value in part.items()}, **rest}
