"""Networks on the Hugging Face hub: those that hcq takes by default, and the commit of each that this machine uses.

No revision is pinned here: none could be checked against the hub where this was written, and an invented one would be
worse than none. `hcq models fetch` resolves `main` once and writes the commit it found into the lock file:

    {"facebook/dinov2-base@main": {"commit": "0123…", "licence": "Apache-2.0", "fetched": "2026-01-31T12:00:00Z"}}

Extraction uses exactly that commit until it is fetched anew; the commit is part of the identity of every feature.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

COMMIT = re.compile("[0-9A-Za-z]{1,64}")
"""What a commit may look like: it becomes the name of a folder, and leads nowhere else."""

# Chosen so that anyone may use them: DINOv2 and V-JEPA 2 for what is seen, AST for what is heard. V-JEPA 2 is heavy
# without a GPU; VideoMAE is a quarter of the work, and not for commercial use.
PRESET: dict[str, str] = {
    "appearance": "facebook/dinov2-base",
    "motion": "facebook/vjepa2-vitl-fpc64-256",
    "audio": "MIT/ast-finetuned-audioset-10-10-0.4593",
}
"""The experts of the preset `neural`, in the order in which they are run."""

WITHOUT_CAPTIONS: dict[str, dict[str, str]] = {
    "light": {"objects": "microsoft/resnet-18"},
    "laptop": {"dual": "google/siglip2-base-patch16-224", "dual-sound": "laion/clap-htsat-unfused"},
    "gpu": {
        "dual": "google/siglip2-so400m-patch14-384",
        "dual-clips": "google/videoprism-lvt-base-f16r288",
        "dual-sound": "laion/clap-htsat-unfused",
    },
}
"""Presets of models without captions (`hcq fit --preset`), by what machine runs them: sources by expert."""

ON_REQUEST: dict[str, str] = {
    "dual": "google/siglip2-base-patch16-224",
    "face": "opencv/face_detection_yunet+opencv/face_recognition_sface",
    "speech": "openai/whisper-base",
}
"""Further experts that are networks and take this source if none is given. Faces are biometric data: never in a
preset, only where a person asks for them by name."""

SHORT_IDS: dict[str, str] = {
    "albert-base-v2": "albert/albert-base-v2",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-large-cased": "google-bert/bert-large-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "distilbert-base-cased": "distilbert/distilbert-base-cased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlnet-base-cased": "xlnet/xlnet-base-cased",
    "xlnet-large-cased": "xlnet/xlnet-large-cased",
}
"""Text encoders that papers name without an owner, and what the hub calls them now."""

LICENCES: dict[str, str] = {
    "microsoft/resnet-18": "Apache-2.0",
    "facebook/dinov2-small": "Apache-2.0",
    "facebook/dinov2-base": "Apache-2.0",
    "facebook/dinov2-large": "Apache-2.0",
    "openai/clip-vit-base-patch32": "MIT",
    "google/siglip2-base-patch16-224": "Apache-2.0",
    "google/siglip2-so400m-patch14-384": "Apache-2.0",
    "google/videoprism-lvt-base-f16r288": "Apache-2.0",
    "facebook/vjepa2-vitl-fpc64-256": "MIT",
    "MCG-NJU/videomae-base": "CC-BY-NC-4.0",
    "facebook/timesformer-base-finetuned-k400": "CC-BY-NC-4.0",
    "MIT/ast-finetuned-audioset-10-10-0.4593": "BSD-3-Clause",
    "laion/clap-htsat-unfused": "Apache-2.0",
    "openai/whisper-base": "Apache-2.0",
    "opencv/face_detection_yunet": "MIT",
    "opencv/face_recognition_sface": "Apache-2.0",
}
"""Licence of the weights, as their authors state it; the model card on the hub has the last word."""

ABOUT_MB: dict[str, int] = {
    "microsoft/resnet-18": 47,
    "google/siglip2-base-patch16-224": 1500,
    "google/siglip2-so400m-patch14-384": 4500,
    "google/videoprism-lvt-base-f16r288": 1000,
    "laion/clap-htsat-unfused": 610,
}
"""How large a network is that is not here yet, by its published number of parameters at four bytes each, in MB; what
fetches it says the exact size before it begins."""

DEFAULT_REVISION = "main"
_HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class HubId:
    """A network on the hub.

    Args:
        id: owner/name.
        revision: branch, tag or commit.
    """

    id: str
    revision: str = DEFAULT_REVISION

    @property
    def key(self) -> str:
        """How the lock file names it."""
        return f"{self.id}@{self.revision}"

    @property
    def command(self) -> str:
        """What fetches it."""
        at = "" if self.revision == DEFAULT_REVISION else f"@{self.revision}"
        return f"hcq models fetch {self.id}{at}"


def parse_hub_id(source: str) -> HubId | None:
    """`id` or `id@revision` as a `HubId`; None if it looks like something else."""
    found = _HUB_ID.fullmatch(source)
    return HubId(found["id"], found["revision"] or DEFAULT_REVISION) if found else None


@dataclass(frozen=True)
class LockedNetwork:
    """One fetched set of weights, as the lock file has it.

    Args:
        commit: what the revision was resolved to, 40 hex digits.
        licence: of the weights, as the model card says; empty if it does not.
        fetched: when, ISO 8601.
    """

    commit: str
    licence: str
    fetched: str


def lock_path() -> Path | None:
    """Where the lock file lies: in `HCQ_CACHE`, else in the cache folder of the user; None where no home is known."""
    own = os.environ.get("HCQ_CACHE")
    base = own or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        folder = Path(base).expanduser()
    except RuntimeError:  # a user without an entry, as in many a container
        return None
    return folder / "models.json" if own else folder / "hcq" / "models.json"


def read_lock() -> Mapping[str, LockedNetwork]:
    """What has been fetched, by `id@revision`; empty if nothing has.

    Raises:
        ValueError: the file is damaged.
    """
    path = lock_path()
    if path is None:
        return {}
    try:
        document = json.loads(path.read_text("utf-8"))
        return {key: _locked(key, value) for key, value in document.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, RecursionError, OSError) as error:
        raise ValueError(f"{path}: is no list of fetched models ({error}); move it away") from error


def _locked(key: str, value: Any) -> LockedNetwork:
    """An entry of the lock file. Raises ValueError."""
    names = [each.name for each in fields(LockedNetwork)]
    said = {name: value.get(name) for name in names} if isinstance(value, dict) else {}
    texts = {name: text for name, text in said.items() if isinstance(text, str)}
    if len(texts) < len(names) or not COMMIT.fullmatch(texts["commit"]):
        raise ValueError(f"{key[:80]!a} names no commit")
    return LockedNetwork(**texts)


def hub_folder(hub: HubId) -> Path:
    """Where the hub's client keeps a network: `refs/REVISION` names a commit, `snapshots/COMMIT` holds its files."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / ("models--" + hub.id.replace("/", "--"))


def cached_snapshot(hub: HubId) -> tuple[Path, str]:
    """The folder of a network in the hub client's cache, which may be absent, and its commit.

    Raises:
        ValueError: the lock file is damaged.
    """
    place = hub_folder(hub)
    # The lock goes before what the cache knows: another program may have moved the branch since.
    if locked := read_lock().get(hub.key):
        commit = locked.commit
    else:
        reference = place / "refs" / hub.revision
        named = reference.read_bytes().decode(errors="replace").strip() if reference.is_file() else ""
        commit = named if COMMIT.fullmatch(named) else hub.revision
    return place / "snapshots" / commit, commit
