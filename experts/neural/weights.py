"""Finds the weights of a network on this machine, and says what they are. Never fetches, never opens a pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NoReturn

from experts.neural.foreign import check_folder, read_document, read_settings
from experts.neural.hub import LICENCES, HubId, cached_snapshot, parse_hub_id, read_lock
from experts.neural.weight_sizes import ForeignFileError, read_weight_sizes

PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
"""Endings of files whose opening may run somebody's code."""
ONNX = "onnx:"
_BLOCK_BYTES = 1 << 22


class WeightsError(LookupError):
    """The weights cannot be used.

    Args:
        message: what is wrong, naming the source.
        hint: the one command to run next.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class RefusedError(WeightsError):
    """The weights are there, but their folder asks for more than a network may have (`experts.neural.foreign`)."""


@dataclass(frozen=True)
class Weights:
    """A network on this machine.

    Args:
        source: as a person gave it.
        folder: holds config.json, the weights and what goes with them.
        hub: where it came from; None for a folder of one's own.
        commit: of the hub; empty for a folder of one's own.
    """

    source: str
    folder: Path
    hub: HubId | None = None
    commit: str = ""

    @cached_property
    def identity(self) -> str:
        """What features depend on: the commit, or the digest of the files; where they lie does not count."""
        if self.hub is not None:
            return f"{self.hub.id}@{self.commit}"
        return f"sha256:{digest([*weight_files(self.folder), *sorted(self.folder.glob('*config.json'))])}"

    @property
    def licence(self) -> str:
        """Of the weights, as far as it is known."""
        if self.hub is None:
            return "that of your folder"
        locked = read_lock().get(self.hub.key)
        return (locked.licence if locked else "") or LICENCES.get(self.hub.id, "see its model card")

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json, as it is written (transformers knows more: defaults are left out of it)."""
        return read_json(self.folder / "config.json", self.source)

    @property
    def model_type(self) -> str:
        """What transformers calls the kind of network; empty if the folder does not say."""
        return str(self.config.get("model_type", ""))

    @cached_property
    def parameters(self) -> int:
        """How many numbers the network has learned."""
        return read_weight_sizes(self.folder.glob("*.safetensors")).numbers


def locate(source: str) -> Weights:
    """The weights that a source names.

    Args:
        source: a folder, or a Hugging Face id with an optional `@revision`.

    Raises:
        WeightsError: they are not on this machine, or are pickles.
        RefusedError: their folder asks for code, a kernel, another file, or for more than the weights hold.
    """
    return with_weights(look_up(source))


def with_weights(found: Weights) -> Weights:
    """Itself, if weights that may be opened lie in its folder. Raises WeightsError."""
    if not weight_files(found.folder):
        _refuse_folder(found)
    return found


def look_up(source: str) -> Weights:
    """The folder that a source names, with weights in it or without; it is checked as `locate` does.

    Args:
        source: a folder, or a Hugging Face id with an optional `@revision`.

    Raises:
        WeightsError: there is no such folder on this machine.
        RefusedError: as `locate`.
    """
    path = Path(source).expanduser()
    if path.is_file():
        _refuse_file(path)
    # A folder goes before an id of the same name: what a person has made lies before what can be fetched.
    hub = None if path.is_dir() else parse_hub_id(source)
    if hub is not None:
        return look_up_id(hub, source)
    if not path.is_dir():
        raise WeightsError(f"{source}: there is no such folder, and it is no Hugging Face id", "hcq models list")
    return checked(Weights(source, path))


def look_up_id(hub: HubId, source: str) -> Weights:
    """What `hcq models fetch`, or another client of the hub, has put on this machine of an id.

    Args:
        hub: id and revision.
        source: as a person gave it.

    Raises:
        WeightsError: it is not on this machine; the hint fetches it.
        RefusedError: as `locate`.
    """
    try:
        folder, commit = cached_snapshot(hub)
    except ValueError as error:
        raise WeightsError(str(error), hub.command) from error
    if not folder.is_dir():
        raise WeightsError(f"the weights {hub.key} are not on this machine", hub.command)
    return checked(Weights(source, folder, hub, commit))


def checked(found: Weights) -> Weights:
    """Itself, if its folder asks for no more than a network may have. Raises RefusedError."""
    try:
        check_folder(found.folder)
    except ForeignFileError as error:
        raise RefusedError(str(error), error.hint) from error
    return found


def locate_kind(
    source: str, expert: str, kinds: Collection[str], people: str, hint: str = "hcq models list"
) -> Weights:
    """The weights that a source names, if the expert can read a network of that kind.

    Args:
        source: a folder, or a Hugging Face id with an optional `@revision`.
        expert: its name.
        kinds: `model_type` of the networks it takes.
        people: the same, as people call them.
        hint: what to run if it is another.

    Raises:
        WeightsError: the weights are not there, or are of another kind.
    """
    if onnx_file(source) is not None:
        raise WeightsError(f"{expert} takes no onnx:FILE", f"give a folder or id of {people}")
    found = locate(source)
    if found.model_type not in kinds:
        takes = f"{expert} takes {', '.join(kinds)}"
        raise WeightsError(f"{source}: is of the kind {found.model_type!r}; {takes}", hint)
    return found


def onnx_file(source: str) -> Path | None:
    """The file of an `onnx:FILE` source; None for any other source.

    Raises:
        WeightsError: it is not there.
    """
    if not source.startswith(ONNX):
        return None
    path = Path(source.removeprefix(ONNX)).expanduser()
    if path.suffix.lower() in PICKLED:
        _refuse_file(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file", "give onnx:FILE the path of an ONNX file")
    return path


def weight_files(folder: Path) -> list[Path]:
    """The files with learned numbers in a folder that may be opened."""
    found = [*folder.glob("*.safetensors"), *folder.glob("*.onnx"), *folder.glob("onnx/model.onnx")]
    return sorted(path for path in found if path.is_file())  # nothing waits for a pipe


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of files, as hex."""
    # A digest of digests: where one file ends and the next begins counts too.
    whole = hashlib.sha256()
    for path in paths:
        about = path.stat()
        whole.update(_digest_of(path, about.st_size, about.st_mtime_ns, about.st_ino))
    return whole.hexdigest()


@lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, mtime_ns: int, inode: int) -> bytes:
    # Kept: a fit asks for the same gigabytes when it looks for features, and again when it writes the text encoder.
    one = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            one.update(block)
    return one.digest()


def read_json(path: Path, source: str) -> dict[str, Any]:
    """A JSON object of a folder of weights.

    Raises:
        WeightsError: it is not there, or is none.
    """
    if not path.exists():
        raise WeightsError(f"{source}: has no {path.name}", "give a folder as save_pretrained writes it")
    return read_settings(path, WeightsError, "fetch or copy it again")


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """A JSON list of objects, which may not be empty. Raises WeightsError."""
    document = read_document(path, WeightsError, "fetch or copy it again")
    if not isinstance(document, list) or not document or not all(isinstance(each, dict) for each in document):
        raise WeightsError(f"{path}: is no list of objects", "fetch or copy it again")
    return document


def first_line(error: BaseException) -> str:
    """What an error says in its first line; its kind if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _refuse_file(path: Path) -> NoReturn:
    """Raise WeightsError for a file where a folder or `onnx:FILE` is due."""
    if path.suffix.lower() == ".onnx":
        raise WeightsError(f"{path}: an ONNX file is given as {ONNX}FILE", f"write {ONNX}{path}")
    pickled = "may run code when it is opened (a pickle); hcq takes safetensors and ONNX only"
    reason = pickled if path.suffix.lower() in PICKLED else "is a file, not a folder of weights"
    raise WeightsError(f"{path}: {reason}", "give a folder as save_pretrained writes it, or onnx:FILE")


def _refuse_folder(found: Weights) -> NoReturn:
    """Raise WeightsError for a folder without weights that may be opened."""
    pickles = sorted(path.name for path in found.folder.iterdir() if path.suffix.lower() in PICKLED)
    if pickles:
        what = f"holds its weights as a pickle only ({pickles[0]}), which may run code when it is opened"
        hint = "save it again as safetensors; many ids on the hub have a revision that holds them (ID@refs/pr/N)"
        raise WeightsError(f"{found.source}: {what}", hint)
    hint = found.hub.command if found.hub else "give a folder as save_pretrained writes it"
    raise WeightsError(f"{found.source}: {found.folder} holds no *.safetensors and no *.onnx", hint)
