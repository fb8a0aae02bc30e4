"""Pretrained networks for offline work: fetches them from the hub, and says which are on this machine.

The one place of hcq that uses the network, and only when asked to (`hcq models fetch`, `hcq models push`). What is
fetched is written into the lock file (experts/neural/hub.py), by which the experts find it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experts.neural.hub import (
    ABOUT_MB,
    LICENCES,
    ON_REQUEST,
    PRESET,
    SHORT_IDS,
    WITHOUT_CAPTIONS,
    HubId,
    LockedNetwork,
    lock_path,
    parse_hub_id,
    read_lock,
)
from experts.neural.pipeline import MODULES
from experts.neural.weights import PICKLED, WeightsError, locate
from hcq_cli import files
from hcq_cli.errors import DamagedError, HcqError, NotFoundError, UsageError, near
from hcq_cli.writer_lock import writer_lock

PRESETS = {"neural": PRESET, **WITHOUT_CAPTIONS}
"""The presets that are networks: sources by expert."""
BESIDE = {".json", ".txt", ".model"}
"""Endings of what goes with the weights: configuration, processors, tokenizers."""
TOWER = re.compile(r"tower-[\w-]+\.hcq")
"""The text encoder of a dual encoder, in a checkpoint of hcq's own (`tower_file`)."""
UNREACHABLE = {
    "ConnectError",
    "ConnectTimeout",
    "ConnectionError",
    "LocalEntryNotFoundError",
    "NetworkError",
    "Timeout",
}
"""Errors of the hub's client, and of the HTTP libraries that it has used, where nothing answers."""
TRY_AGAIN = "check the connection and run the same command again; files that have come whole are kept"


@dataclass(frozen=True)
class FetchedNetwork:
    """A network that has been fetched.

    Args:
        hub: id and revision.
        commit: what the revision was resolved to.
        licence: of the weights, as the model card says.
        folder: where the files lie.
        nbytes: of all files.
    """

    hub: HubId
    commit: str
    licence: str
    folder: Path
    nbytes: int


def networks_asked_for(names: Sequence[str]) -> list[HubId]:
    """Presets, experts and ids as ids of the hub, each once.

    Args:
        names: a preset (`neural`, `light`, `laptop`, `gpu`); an expert that a preset or a request gives a network
            (`face`); `id` or `id@revision`; or a text encoder by the name that papers give it (`bert-base-cased`).

    Raises:
        UsageError: it is none of these.
    """
    found: list[HubId] = []
    for name in names or ["neural"]:
        preset = PRESETS.get(name)
        sources = list(preset.values()) if preset else [(PRESET | ON_REQUEST | SHORT_IDS).get(name, name)]
        for part in (part for source in sources for part in source.split("+")):
            hub = parse_hub_id(part)
            if hub is None:
                known = [*PRESETS, *PRESET, *ON_REQUEST]
                meant = near(part, [*known, *SHORT_IDS])
                hint = f"give {', '.join(known)}, or an id as OWNER/NAME[@REVISION]"
                raise UsageError(
                    f"{part!r} is no Hugging Face id",
                    f"did you mean {meant}? hcq models fetch {meant}" if meant else hint,
                )
            found.append(hub)
    return list(dict.fromkeys(found))


def fetch(hub: HubId, told: Callable[[str], None] = lambda line: None) -> FetchedNetwork:
    """Bring a network to this machine and write the commit it has now into the lock.

    Args:
        hub: what to fetch.
        told: called with a line for people before anything large is fetched.

    Raises:
        NotFoundError: there is no such network or revision, or it may not be read.
        DamagedError: what came is not what the hub says it has.
        HcqError: the hub cannot be reached, there are only pickles, or they cannot be written.
    """
    from huggingface_hub import snapshot_download

    _need_network("fetched")
    try:
        commit, licence, wanted = _look_up(hub)
        nbytes = sum(each.nbytes for each in wanted.values())
        told(f"{hub.key}: {len(wanted)} files, {nbytes / 1e6:,.1f} MB, commit {commit[:12]}")
        # The commit and not the branch: what is fetched is what was looked up, even if the branch moves meanwhile.
        folder = Path(snapshot_download(hub.id, revision=commit, allow_patterns=list(wanted)))
        _verify(hub, folder, wanted)
    except HcqError:
        raise
    except Exception as error:  # of the hub's client, of its HTTP library, of the system
        raise _explain(hub, error) from error
    _lock(hub, LockedNetwork(commit, licence, datetime.now(UTC).isoformat(timespec="seconds")))
    size = folder_bytes(folder)
    return FetchedNetwork(hub, commit, licence, folder=folder, nbytes=size)


def upload(hub: HubId, folder: Path, message: str, private: bool) -> str:
    """Put the files of a folder on the hub, as one commit.

    Args:
        hub: where; made if it is not there yet.
        folder: of plain files.
        message: of the commit.
        private: whether one that is made can be seen by its owner alone.

    Returns:
        the address of its page.

    Raises:
        NotFoundError: there is no such owner, or nobody is logged in.
        HcqError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi

    _need_network("pushed")
    hub_api = HfApi()
    try:
        made = hub_api.create_repo(hub.id, private=private, exist_ok=True)
        hub_api.upload_folder(repo_id=hub.id, folder_path=folder, commit_message=message)
    except Exception as error:  # as in `fetch`
        raise _explain(hub, error, "pushed") from error
    return str(made)


def _need_network(what: str) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise HcqError(f"HF_HUB_OFFLINE is set, so nothing can be {what}", "unset HF_HUB_OFFLINE")


@dataclass(frozen=True)
class _Wanted:
    """A file as the hub describes it.

    Args:
        nbytes: of it.
        sha256: of what lies in the large file storage; else empty.
        blob: the SHA-1 that git knows another file by; empty where the hub does not say it.
    """

    nbytes: int
    sha256: str
    blob: str


def _look_up(hub: HubId) -> tuple[str, str, dict[str, _Wanted]]:
    """Commit, licence, and the files that are needed, by name."""
    from huggingface_hub import HfApi

    about = HfApi().model_info(hub.id, revision=hub.revision, files_metadata=True)
    card: Any = about.card_data
    licence = str(card.get("license") or "") if card is not None else ""
    there = {
        each.rfilename: _Wanted(each.size or 0, each.lfs.sha256 if each.lfs else "", each.blob_id or "")
        for each in about.siblings or []
    }
    names = chosen_files(list(there))
    if not names:
        pickles = [name for name in there if Path(name).suffix in PICKLED]
        what = f"only pickles ({pickles[0]}), which may run code when they are opened" if pickles else "no weights"
        hint = "some ids have a revision with safetensors: look for one on its page, and give ID@refs/pr/N"
        raise HcqError(f"{hub.key} holds {what}", hint)
    return str(about.sha), licence or LICENCES.get(hub.id, ""), {name: there[name] for name in names}


def _verify(hub: HubId, folder: Path, wanted: Mapping[str, _Wanted]) -> None:
    """Compare what came with the digests that the hub names, whose client counts bytes alone. Raises DamagedError."""
    for name, each in wanted.items():
        kind, promised = ("sha256", each.sha256) if each.sha256 else ("sha1", each.blob)
        with (folder / name).open("rb") as file:
            begun = hashlib.new(kind, b"" if each.sha256 else b"blob %d\0" % each.nbytes, usedforsecurity=False)
            found = hashlib.file_digest(file, lambda begun=begun: begun).hexdigest()  # type: ignore[misc]
        if promised and found != promised:
            (folder / name).resolve().unlink()  # so that the next fetch brings it anew
            (folder / name).unlink(missing_ok=True)
            raise DamagedError(
                f"{hub.key}: {name} is not what the hub says it has ({kind} {found[:12]})", hub.command
            )


def chosen_files(names: Sequence[str]) -> list[str]:
    """The files that are needed: safetensors, else ONNX, and what goes with them; none if there are only pickles."""
    top = [name for name in names if "/" not in name]
    if MODULES in top:
        # Of sentence-transformers: its modules lie in folders of their own, beside other formats of it.
        top += [name for name in names if "/" in name and name.partition("/")[0] not in ("onnx", "openvino")]
    weights = [name for name in top if name.endswith(".safetensors")]
    if not weights:
        weights = [
            name for name in names if name.endswith(".onnx") and ("/" not in name or name == "onnx/model.onnx")
        ]
    beside = [name for name in top if Path(name).suffix in BESIDE or TOWER.fullmatch(name)]
    return sorted([*weights, *beside]) if weights else []


def _lock(hub: HubId, locked: LockedNetwork) -> None:
    """Add an entry to the lock file; the writer lock keeps the entry of another fetch that runs beside this one."""
    path = lock_path()
    if path is None:
        raise HcqError("no folder is known to note it in: this user has no home", "set HCQ_CACHE to a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with writer_lock(path.parent, wait_s=10.0):
        known = {key: asdict(each) for key, each in read_lock().items()}
        files.write_json(path, known | {hub.key: asdict(locked)})


def _explain(hub: HubId, error: Exception, what: str = "fetched") -> HcqError:
    """What went wrong, in words a person can act on."""
    # By the names of the classes: their module in the hub's client has moved from version to version.
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if "GatedRepoError" in kinds:
        return NotFoundError(f"{hub.key} is only for those who accept its terms", "accept them, then: hf auth login")
    if "RepositoryNotFoundError" in kinds:
        return NotFoundError(f"the hub has no {hub.id}, or it is private", "check the name, or: hf auth login")
    if "RevisionNotFoundError" in kinds:
        return NotFoundError(f"{hub.id} has no revision {hub.revision!r}", f"hcq models fetch {hub.id}")
    if "LocalTokenNotFoundError" in kinds or getattr(getattr(error, "response", None), "status_code", 0) in (
        401,
        403,
    ):
        return NotFoundError(f"{hub.id} cannot be {what}: the hub wants to know who asks", "hf auth login")
    if UNREACHABLE & set(kinds):
        return HcqError(f"{hub.key} cannot be {what}: the hub cannot be reached", TRY_AGAIN)
    reason = str(error).strip().splitlines()
    return HcqError(f"{hub.key} cannot be {what}: {reason[0] if reason else type(error).__name__}", TRY_AGAIN)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder and those below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class KnownNetwork:
    """A network of a preset, or one that was fetched.

    Args:
        hub: id and revision.
        experts: the experts that take it where nothing else is said.
        presets: that it belongs to.
        commit: what is on this machine; empty if nothing is.
        licence: of the weights, as far as it is known.
        nbytes: of its files; 0 if it is not here.
        about_bytes: of its files, before it is here; 0 if that is not known.
        hint: what to run if it is not here or cannot be used.
    """

    hub: HubId
    experts: list[str]
    presets: list[str]
    commit: str
    licence: str
    nbytes: int
    about_bytes: int
    hint: str


def list_models() -> list[KnownNetwork]:
    """The networks of the presets and those that were fetched.

    Raises:
        DamagedError: the lock cannot be read.
    """
    used: dict[HubId, list[str]] = {}
    taken = [*(PRESET | ON_REQUEST).items(), *(pair for each in WITHOUT_CAPTIONS.values() for pair in each.items())]
    for name, source in dict.fromkeys(taken):
        for part in source.split("+"):
            hub = parse_hub_id(part)
            if hub is not None:
                used.setdefault(hub, []).append(name)
    try:
        locked = read_lock()
    except ValueError as error:
        raise DamagedError(str(error), "hcq models fetch") from error
    for key in locked:
        hub = parse_hub_id(key)
        if hub is not None:
            used.setdefault(hub, [])
    return [_describe(hub, experts) for hub, experts in used.items()]


def _describe(hub: HubId, experts: list[str]) -> KnownNetwork:
    licence, about = LICENCES.get(hub.id, ""), ABOUT_MB.get(hub.id, 0) * 1_000_000
    presets = [preset for preset, sources in PRESETS.items() if hub.id in sources.values()]
    try:
        found = locate(f"{hub.id}@{hub.revision}")
    except WeightsError as error:
        return KnownNetwork(
            hub, experts, presets, commit="", licence=licence, nbytes=0, about_bytes=about, hint=error.hint
        )
    size = folder_bytes(found.folder)
    return KnownNetwork(
        hub, experts, presets, commit=found.commit, licence=found.licence, nbytes=size, about_bytes=about, hint=""
    )
