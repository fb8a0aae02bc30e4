"""What networks are on this machine, and which the presets would need."""

from __future__ import annotations

from dataclasses import dataclass

from experts.neural.lock import read_lock
from experts.neural.sources import LICENCES, ON_REQUEST, PRESET
from experts.neural.weights import HubId, WeightsError, locate, parse_hub_id
from hcq_cli.errors import DamagedError


@dataclass(frozen=True)
class Listed:
    """One network.

    Args:
        hub: id and revision.
        experts: the experts that take it where nothing else is said.
        commit: what is on this machine; empty if nothing is.
        licence: of the weights, as far as it is known.
        nbytes: of its files; 0 if it is not here.
        hint: what to run if it is not here or cannot be used.
    """

    hub: HubId
    experts: list[str]
    commit: str
    licence: str
    nbytes: int = 0
    hint: str = ""


def list_models() -> list[Listed]:
    """The networks of the presets and those that were fetched.

    Raises:
        DamagedError: the lock cannot be read.
    """
    used: dict[HubId, list[str]] = {}
    for name, source in (PRESET | ON_REQUEST).items():
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
    return [_listed(hub, experts) for hub, experts in used.items()]


def _listed(hub: HubId, experts: list[str]) -> Listed:
    try:
        found = locate(f"{hub.id}@{hub.revision}")
    except WeightsError as error:
        return Listed(hub, experts, commit="", licence=LICENCES.get(hub.id, ""), hint=error.hint)
    size = sum(path.stat().st_size for path in found.folder.rglob("*") if path.is_file())
    return Listed(hub, experts, found.commit, found.licence, nbytes=size)
