"""Folders of the library sentence-transformers: which network of transformers they hold.

Such a folder lists its modules in modules.json: the first is the network, in the folder itself or in one of its own
(`0_CLIPModel`), and others work on its vectors. A dual encoder has none, or one that brings vectors to length 1, as
hcq does anyway; so the network alone is all that is needed, and the library is not. Modules are code, and those of a
stranger's are never run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from experts.neural.weights import RefusedError, Weights, WeightsError, checked, look_up, with_weights

MODULES = "modules.json"
OWN = "sentence_transformers."
"""What the names of the library's own modules begin with."""
NETWORKS, NOTHING_MORE = ("Transformer", "CLIPModel"), ("Normalize",)
"""Modules that are a network of transformers, and those that change no direction of a vector."""


def locate_network(source: str) -> Weights:
    """The weights of a network of transformers that a source names, be it a folder of sentence-transformers.

    Args:
        source: a folder, or a Hugging Face id with an optional `@revision`.

    Raises:
        WeightsError: they are not on this machine, are pickles, or more belongs to the network than hcq can run.
        RefusedError: the folder asks for code, a kernel, another file, or for more than its weights hold.
    """
    found = look_up(source)
    if (found.folder / MODULES).is_file():
        found = checked(replace(found, folder=_folder_of_network(found)))
    return with_weights(found)


def _folder_of_network(found: Weights) -> Path:
    """The folder of the first module, if the others may be left out."""
    modules = _modules(found)
    kinds = [str(each.get("type", "")) for each in modules]
    if foreign := [kind for kind in kinds if not kind.startswith(OWN)]:
        what = f"{found.source}: asks for code of its own ({foreign[0]}), which hcq never runs"
        raise RefusedError(what, "give a network whose modules are those of sentence-transformers")
    names = [kind.rpartition(".")[2] for kind in kinds]
    if names[0] not in NETWORKS or any(name not in NOTHING_MORE for name in names[1:]):
        what = f"{found.source}: is made of {', '.join(names)}; hcq takes a dual encoder alone, such as CLIP"
        raise WeightsError(what, "give a folder or id of CLIP, SigLIP, X-CLIP, CLAP and the like")
    named = str(modules[0].get("path", ""))
    if Path(named).is_absolute() or ".." in Path(named).parts or not (found.folder / named).is_dir():
        raise RefusedError(f"{found.source}: its network would lie in {named}, no folder in it", "copy it again")
    return found.folder / named


def _modules(found: Weights) -> list[dict[str, Any]]:
    path = found.folder / MODULES
    try:
        modules = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})", "fetch or copy it again") from error
    if not isinstance(modules, list) or not modules or not all(isinstance(each, dict) for each in modules):
        raise WeightsError(f"{path}: is no list of modules", "fetch or copy it again")
    return modules
