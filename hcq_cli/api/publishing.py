"""A checkpoint for others, in Hugging Face's manner: a folder with a model card, on this machine or on the hub.

    hcq.save_pretrained(workspace, "hcq-beach", licence="apache-2.0")
    hcq.push_to_hub(workspace, "owner/hcq-beach", licence="apache-2.0")
    model = hcq.from_pretrained("owner/hcq-beach")

Weights are safetensors, with digests in config.json that are checked when they are loaded; nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.checkpoints import fetched_checkpoint, find_checkpoint
from hcq_cli.api.evaluation import Evaluation, evaluate
from hcq_cli.api.model_card import model_card, without_places
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.model.checkpoint import CheckpointHeader
    from hcq_cli.model.trained_model import Model

CARD_FILE = "README.md"


@dataclass(frozen=True)
class PublishedModel:
    """A checkpoint that was written for others.

    Args:
        place: the folder, or the address on the hub.
        hash: the model's.
        files: their names.
        nbytes: of all of them.
        measured: how well it finds; None where there was nothing to measure it with.
    """

    place: str
    hash: str
    files: list[str]
    nbytes: int
    measured: Evaluation | None


def save_pretrained(
    workspace: Workspace,
    folder: str | PathLike[str],
    *,
    licence: str,
    dataset: str = "",
    checkpoint: Path | None = None,
    captions: str | PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> PublishedModel:
    """Write a checkpoint into a folder of its own, with a model card that says what was measured.

    Args:
        workspace: whose checkpoint it is, and whose features and captions it is measured with, where it has any.
        folder: a new one.
        licence: of the weights, as the hub abbreviates it: apache-2.0, cc-by-4.0, other…
        dataset: a phrase on the videos and captions that it was made of.
        checkpoint, captions: other ones than the workspace's.
        progress: told of what is measured, or why nothing is.

    Raises:
        NotFoundError: there is no checkpoint.
        UsageError: no licence, or something lies in the folder.
        DamagedError: a file of the checkpoint is damaged.
    """
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{folder}: something lies there already", "give a new folder")
    header, measured = _looked_at(workspace, licence, checkpoint, captions, progress)
    return _write(place, header, model_card(header, place.resolve().name, licence, dataset, measured), measured)


def push_to_hub(
    workspace: Workspace,
    hub_id: str,
    *,
    licence: str,
    dataset: str = "",
    checkpoint: Path | None = None,
    captions: str | PathLike[str] | None = None,
    private: bool = True,
    progress: Progress = SILENT,
) -> PublishedModel:
    """Put a checkpoint on the Hugging Face hub, as `save_pretrained` writes it; `hf auth login` comes first.

    Args:
        hub_id: OWNER/NAME; made if it is not there yet.
        private: whether one that is made can be seen by its owner alone.
        workspace, licence, dataset, checkpoint, captions, progress: as for `save_pretrained`.

    Raises:
        NotFoundError: there is no checkpoint, or no such owner.
        UsageError: no licence, or it is no OWNER/NAME.
        HcqError: the hub cannot be reached, or refuses.
    """
    from experts.neural.hub import DEFAULT_REVISION, parse_hub_id
    from hcq_cli.weights import upload

    hub = parse_hub_id(hub_id)
    if hub is None or hub.revision != DEFAULT_REVISION:
        raise UsageError(f"{hub_id!r} is no Hugging Face id to push to", "give OWNER/NAME")
    header, measured = _looked_at(workspace, licence, checkpoint, captions, progress)
    with tempfile.TemporaryDirectory(prefix="hcq-") as temporary:
        folder = Path(temporary) / "model"
        written = _write(folder, header, model_card(header, hub.id, licence, dataset, measured), measured)
        address = upload(hub, folder, f"hcq model {header.hash[:12]}", private)
    return dataclasses.replace(written, place=address)


def from_pretrained(source: str | PathLike[str], revision: str | None = None, *, device: str = "cpu") -> Model:
    """Load a checkpoint from a folder, or from the hub, of which it is fetched where it is not on this machine.

    The commit that a revision has when it is fetched is written down, as `hcq models fetch` does, and is the one that
    is loaded from then on.

    Args:
        source: a folder, or OWNER/NAME[@REVISION].
        revision: branch, tag or commit on the hub; default: main.
        device: cpu or cuda.

    Raises:
        NotFoundError: there is no such folder, id or revision.
        DamagedError: it is no checkpoint of hcq, or a file is damaged.
        HcqError: the hub cannot be reached, or holds no safetensors there.
    """
    from experts.neural.hub import HubId, parse_hub_id
    from hcq_cli.model.checkpoint import load
    from hcq_cli.weights import fetch

    if Path(source).is_dir():
        return load(Path(source), device)
    hub = parse_hub_id(str(source))
    if hub is None:
        raise NotFoundError(f"{source}: no folder, and no id of the hub", "give a folder, or OWNER/NAME")
    hub = HubId(hub.id, revision or hub.revision)
    return load(fetched_checkpoint(hub) or fetch(hub).folder, device)


def _looked_at(
    workspace: Workspace,
    licence: str,
    checkpoint: Path | None,
    captions: str | PathLike[str] | None,
    progress: Progress,
) -> tuple[CheckpointHeader, Evaluation | None]:
    """The checkpoint, whole, and how well it finds, where there are captions and features to measure it with."""
    from hcq_cli.model.checkpoint import read_header

    if not licence.strip():
        raise UsageError("no licence: without one nobody may use the weights", "--licence apache-2.0")
    header = read_header(find_checkpoint(workspace, checkpoint))
    header.verify()
    try:
        return header, evaluate(workspace, checkpoint=checkpoint, captions=captions, progress=progress)
    except NotFoundError as error:
        if captions is not None:  # it was asked for
            raise
        progress.note(f"the model card holds no recall: {error.message}")
        return header, None


def _write(folder: Path, header: CheckpointHeader, card: str, measured: Evaluation | None) -> PublishedModel:
    """Write the files of a checkpoint and its card; of the training's paths on this machine the names alone."""
    from hcq_cli.files import atomic_folder
    from hcq_cli.model.checkpoint import CONFIG_FILE, METRICS_FILE, write_signed

    names = [*header.files, *([METRICS_FILE] if (header.place / METRICS_FILE).is_file() else [])]
    document = json.loads((header.place / CONFIG_FILE).read_text("utf-8"))
    document.pop("checksum", None)
    with atomic_folder(folder) as fresh:
        for name in names:
            shutil.copyfile(header.place / name, fresh / name)
        write_signed(fresh / CONFIG_FILE, document | {"about": without_places(header.about)})
        (fresh / CARD_FILE).write_text(card, "utf-8")
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return PublishedModel(str(folder), header.hash, list(sizes), sum(sizes.values()), measured)
