"""The folder that a trained model is kept in: safetensors, JSON and a tokenizer; nothing in it is a pickle.

config.json          format, version, the model's shape, its hash, how it was trained; a checksum over all of it
model.safetensors    every weight, the text encoder's included
tokenizer.json  text_encoder.json  text.json   what builds the text encoder again, with no other file
tower-EXPERT.hcq     of a fitted model: the text encoder of a dual encoder (model/exported_text_encoder.py)
video.hcq            the video side, exported when it is first used; follows from the others, and may be deleted
metrics.jsonl        one line an epoch
earlier/HASH/        the models that later ones have replaced, each a checkpoint folder
next/                for the instant of publishing: the new checkpoint, whole, while its files are put beside it
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experts.neural.weight_sizes import ForeignFileError, outline, read_weight_sizes
from hcq_cli.errors import DamagedError, NotFoundError, UsageError
from hcq_cli.files import (
    atomic_folder,
    digest_file,
    digest_json,
    disk_errors,
    plain_name,
    read_regular,
    remove_folder,
    remove_leftover_folders,
    sync_folder,
)
from hcq_cli.headers import Digest, decode
from hcq_cli.model.config import ModelConfig
from hcq_cli.model.trained_model import Model

if TYPE_CHECKING:
    from torch import Tensor

    from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
    from hcq_cli.model.hcq import DualEncoder
    from hcq_cli.model.text import CaptionEncoder

FORMAT, VERSION = "hcq-checkpoint", 1
CONFIG_FILE, WEIGHTS_FILE, METRICS_FILE = "config.json", "model.safetensors", "metrics.jsonl"
TEXT_FILES = ("tokenizer.json", "text_encoder.json", "text.json")
VIDEO_FILE = "video.hcq"
"""Of the exported video encoder (model/exported_video_encoder.py); not one of the files that the hash is of."""
NEXT, EARLIER = "next", "earlier"


def save(
    folder: Path,
    network: DualEncoder,
    caption_encoder: CaptionEncoder,
    about: dict[str, Any] | None = None,
    metrics: str = "",
    towers: Sequence[Path] = (),
) -> str:
    """Publish a checkpoint; the one before it is kept in `folder/earlier`, if it is another model.

    All files are written and synced aside, and become the checkpoint by one rename: a kill or a full disk at any
    instant leaves the old one or the new one, whole. Call it with the folder's writer lock held.

    Args:
        folder: made if missing.
        network, caption_encoder: the model.
        about: how it was trained (recipe, epochs, figures); not part of the hash.
        metrics: what metrics.jsonl shall hold.
        towers: files of text encoders of dual encoders, each called as in the checkpoint: `tower_file`.

    Returns:
        The model's hash.

    Raises:
        DamagedError: what lies there is no checkpoint of hcq's, or one of a newer hcq.
    """
    settle(folder)
    with atomic_folder(folder / NEXT) as fresh:
        identity = write(fresh, network, caption_encoder, about, towers)
        if metrics:
            (fresh / METRICS_FILE).write_text(metrics, "utf-8")
        _keep_earlier(folder, identity)
    settle(folder)
    return identity


def write(
    folder: Path,
    network: DualEncoder,
    caption_encoder: CaptionEncoder,
    about: dict[str, Any] | None = None,
    towers: Sequence[Path] = (),
) -> str:
    """Write the files of a checkpoint into a folder that nobody reads yet; returns the model's hash."""
    for tower in towers:
        shutil.copyfile(tower, folder / tower.name)
    caption_encoder.write(folder)
    write_tensors({key: value.detach() for key, value in network.state_dict().items()}, folder / WEIGHTS_FILE)
    digests = {
        name: digest_file(folder / name) for name in (WEIGHTS_FILE, *TEXT_FILES, *(tower.name for tower in towers))
    }
    shape = network.config.to_dict()
    identity = _hash(shape, digests)
    document = {"format": FORMAT, "version": VERSION, "hash": identity, "files": digests, "model": shape}
    write_signed(folder / CONFIG_FILE, {**document, "about": about or {}})
    return identity


def tower_file(expert: str) -> str:
    """The file of the text encoder of a dual encoder."""
    return f"tower-{expert}.hcq"


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors of any device as safetensors: `torch.save` would write a pickle, which can run code.

    Raises:
        OSError: they cannot be written; it names the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))  # the library tells of a full disk by text alone
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def settle(folder: Path) -> None:
    """Finish what a killed run began to publish, and remove what it left; call with the writer lock held."""
    remove_leftover_folders(folder, NEXT)
    if not (folder / NEXT).is_dir():
        return
    # Readers take `next` for the checkpoint as long as it is there, so the files beside it may change one by one.
    names = set(os.listdir(folder / NEXT)) - {CONFIG_FILE}
    for path in (folder / METRICS_FILE, folder / VIDEO_FILE, *folder.glob(tower_file("*"))):
        if path.name not in names:
            with disk_errors(path):
                path.unlink(missing_ok=True)  # of the model before
    for name in (*sorted(names), CONFIG_FILE):
        _place(folder / NEXT / name, folder / name)
    with disk_errors(folder / CONFIG_FILE):
        sync_folder(folder)
        remove_folder(folder / NEXT)


def _place(source: Path, target: Path) -> None:
    """Give a file a second name, in place of what is there; a copy where the file system has no links."""
    temporary = target.with_name(f".{target.name}.placed.tmp")
    with disk_errors(target, source.stat().st_size):
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EIO, errno.EROFS):
                # About the file that was to be, whatever name the system tells.
                raise OSError(error.errno, error.strerror, str(target)) from error
            shutil.copyfile(source, temporary)
            with temporary.open("rb+") as copied:
                os.fsync(copied.fileno())
        temporary.replace(target)
        temporary.unlink(missing_ok=True)  # renaming a file onto another name of itself does nothing


def _keep_earlier(folder: Path, identity: str) -> None:
    """Give the checkpoint that is there a place in `earlier/`, unless it is the model `identity` or kept already."""
    remove_leftover_folders(folder / EARLIER, "*")
    try:
        header = read_header(folder)
        name, files = header.hash[:12], set(header.files)
    except NotFoundError:
        return
    except DamagedError:
        need_own(folder)
        name, files = f"damaged-{digest_file(folder / CONFIG_FILE)[:12]}", {WEIGHTS_FILE, *TEXT_FILES}
    kept = folder / EARLIER / name
    if identity.startswith(name) or kept.exists():
        return
    with atomic_folder(kept) as fresh:
        for each in (CONFIG_FILE, METRICS_FILE, *files):
            if (folder / each).is_file():
                _place(folder / each, fresh / each)


def earlier(folder: Path) -> list[Path]:
    """The checkpoints that later ones in `folder` have replaced, by name."""
    held = folder / EARLIER
    return sorted(path for path in held.iterdir() if not path.name.startswith(".")) if held.is_dir() else []


def need_own(folder: Path) -> None:
    """See that `folder` is one that hcq may put a checkpoint in: none is there, or one of hcq's, damaged or not.

    Raises:
        DamagedError: a config.json lies there that is another program's, or a newer hcq's.
    """
    try:
        document = json.loads(read_regular(folder / CONFIG_FILE, links=True))
        name, version = document.get("format"), document.get("version")
    except (OSError, ValueError, AttributeError, RecursionError):
        return
    if name != FORMAT:
        raise DamagedError(f"{folder}: holds files of another program", "give another folder with -o")
    if not isinstance(version, int) or version > VERSION:
        raise DamagedError(f"{folder}: holds a checkpoint of a newer hcq", "upgrade hcq, or give another folder")


def write_signed(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document with a checksum over all that it says; nothing that is no number, as JSON has none."""
    text = json.dumps({**document, "checksum": digest_json(document)}, indent=1, ensure_ascii=True, allow_nan=False)
    path.write_text(text + "\n", "utf-8")


def check_signed(path: Path, document: Any, unsigned: Collection[str]) -> None:
    """Raise DamagedError if a document is not what `write_signed` wrote.

    Args:
        path: where it was read from.
        document: as it was read.
        unsigned: the keys that a document of an hcq before 0.2 has, which signed none.
    """
    if not isinstance(document, dict):
        raise DamagedError(f"{path}: is no table", "hcq train")
    body = {key: value for key, value in document.items() if key != "checksum"}
    # A flip in the word "checksum" must not turn a signed document into an old one.
    signed = document["checksum"] == digest_json(body) if "checksum" in document else set(document) <= set(unsigned)
    if not signed:
        raise DamagedError(f"{path}: its checksum does not match, the file is damaged", "hcq train")


def _hash(shape: dict[str, Any], digests: dict[str, str]) -> str:
    return digest_json({"shape": shape, "files": digests})


@dataclass(frozen=True)
class CheckpointHeader:
    """What config.json says.

    Args:
        hash: the model's.
        files: SHA-256 of each file.
        config: the model's shape.
        about: how it was trained.
        place: the folder that the files lie in: the checkpoint's, or for an instant `next` in it.
    """

    hash: str
    files: dict[str, str]
    config: ModelConfig
    about: dict[str, Any]
    place: Path

    def verify(self) -> None:
        """Compare every file with its digest.

        Raises:
            DamagedError: one is missing or damaged.
        """
        for name, digest in self.files.items():
            if not (self.place / name).is_file() or digest_file(self.place / name) != digest:
                raise DamagedError(f"{self.place / name}: missing or damaged", "hcq train")


def read_header(folder: Path) -> CheckpointHeader:
    """Read a checkpoint's config.json; no torch, no weights.

    Raises:
        NotFoundError: there is no checkpoint.
        DamagedError: it is damaged, foreign or of a newer version.
    """
    try:
        for place in (folder / NEXT, folder):
            if (place / CONFIG_FILE).is_file():
                return _header(place)
    except FileNotFoundError:  # put in its place between the two looks
        return _header(folder)
    unfinished = (folder / "resume").is_dir()
    hint = "hcq train --resume" if unfinished else "hcq train --captions FILE, or without captions: hcq fit"
    state = "its training has not finished" if unfinished else "no checkpoint there"
    raise NotFoundError(f"{folder}: {state}", hint)


def _header(folder: Path) -> CheckpointHeader:
    path, text = folder / CONFIG_FILE, read_regular(folder / CONFIG_FILE, links=True)
    remedy = "give a folder that hcq train wrote"
    said = decode(_Config, text, path, remedy, format_name=FORMAT, version=VERSION)
    if said.hash != _hash(said.model, said.files):
        raise DamagedError(f"{path}: its hash does not match, the file is damaged", "hcq train")
    check_signed(path, json.loads(text), ("format", "version", "hash", "files", "model", "about"))
    try:
        config = ModelConfig.from_dict(said.model)
    except (UsageError, TypeError, AttributeError, ValueError) as error:
        reason = "".join(c if c.isprintable() else "?" for c in str(error)[:300])
        raise DamagedError(f"{path}: describes no model that there can be ({reason})", "hcq train") from error
    return CheckpointHeader(said.hash, said.files, config, said.about, folder)


@dataclass(frozen=True)
class _Config:
    """config.json as it is written; `CheckpointHeader` says what it means."""

    hash: Digest
    files: dict[str, Digest]
    model: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lacking = {WEIGHTS_FILE, *TEXT_FILES} - {plain_name(name) for name in self.files}
        if lacking:
            raise ValueError(f"it names no {min(lacking)}")


def model_hash(folder: Path) -> str:
    """SHA-256 over all weights, the tokenizer and the config: what makes codes comparable.

    Raises:
        NotFoundError, DamagedError: as `read_header`.
    """
    return read_header(folder).hash


def load(folder: Path, device: str = "cpu") -> Model:
    """Load a checkpoint, every file checked against its digest.

    Raises:
        NotFoundError: there is no checkpoint.
        DamagedError: a file is missing, damaged, or not of this model.
    """
    while True:
        header = read_header(folder)
        try:
            return _load(header, folder, device)
        except Exception:
            # A training that ended meanwhile has put its files in the place of those that were being read.
            if read_header(folder) == header:
                raise


def _load(header: CheckpointHeader, folder: Path, device: str) -> Model:
    from safetensors.torch import load_file

    from hcq_cli.model import registry, text

    header.verify()
    file = header.place / WEIGHTS_FILE
    try:
        held = read_weight_sizes([file])  # from the header alone
    except ForeignFileError as error:
        raise DamagedError(str(error), "give a folder that hcq train wrote") from error
    caption_encoder, weights = text.read(header.place, header.config.text.max_tokens, held), load_file(file)
    # A config may ask for a network of any size: built without memory first, it must be one that the weights fill.
    try:
        outline(lambda: registry.build_network(header.config, caption_encoder.transformer, weights), held, folder)
    except ForeignFileError as error:
        raise DamagedError(str(error), "give a folder that hcq train wrote") from error
    network = registry.build_network(header.config, caption_encoder.transformer, weights)
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        message = f"{file}: its weights do not fit its config ({str(error).splitlines()[-1].strip()})"
        raise DamagedError(message, "hcq train") from error
    return Model(network.to(device), caption_encoder, header.hash, folder, _towers(header))


def _towers(header: CheckpointHeader) -> dict[str, ExportedTextEncoder]:
    """The text encoders of a fitted model's dual encoders. Raises DamagedError where a width is not its expert's."""
    from hcq_cli.model.exported_text_encoder import ExportedTextEncoder

    found = {}
    for name in header.config.experts:
        if tower_file(name) in header.files:
            found[name] = tower = ExportedTextEncoder(header.place / tower_file(name))
            if (tower.header.levels, tower.header.width) != (1, header.config.experts[name].dim):
                raise DamagedError(f"{tower.source}: is of another width than the vectors of {name}", "hcq fit")
    return found
