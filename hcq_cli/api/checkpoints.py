"""Which model a verb means, and which ones there are: the workspace's, those it has replaced, those of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.errors import DamagedError, HcqError, NotFoundError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from experts.neural.hub import HubId


def find_checkpoint(workspace: Workspace, given: Path | None = None) -> Path:
    """The checkpoint folder that was asked for: a path, the name of a model that the workspace has kept, or the id of
    one that `hcq models fetch` has fetched.

    Raises:
        NotFoundError: there is none of them.
    """
    from experts.neural.hub import parse_hub_id
    from hcq_cli.model.checkpoint import EARLIER

    if given is None or given.exists():
        return given or workspace.model
    kept = workspace.model / EARLIER / given
    if len(given.parts) == 1 and kept.is_dir():
        return kept
    hub = parse_hub_id(str(given))
    if hub is not None and (fetched := fetched_checkpoint(hub)):
        return fetched
    hint = f"hcq models list, or: {hub.command}" if hub is not None else "hcq models list"
    raise NotFoundError(f"{given}: no checkpoint there, and no model is called so", hint)


def fetched_checkpoint(hub: HubId) -> Path | None:
    """The folder of a checkpoint of the hub; None where it is not on this machine.

    Raises:
        DamagedError: the list of what was fetched is damaged.
    """
    from experts.neural.hub import cached_snapshot
    from hcq_cli.model.checkpoint import CONFIG_FILE

    try:
        folder, _ = cached_snapshot(hub)
    except ValueError as error:
        raise DamagedError(str(error), hub.command) from error
    return folder if (folder / CONFIG_FILE).is_file() else None


def trained_models(workspace: Workspace) -> list[dict[str, Any]]:
    """The workspace's checkpoint and those it has replaced, the newest first: where, and how each was trained."""
    from hcq_cli.model.checkpoint import CONFIG_FILE, earlier, read_header

    found = []
    for folder in (workspace.model, *earlier(workspace.model)):
        try:
            header = read_header(folder)
        except HcqError:  # none, or damaged: hcq doctor tells
            continue
        recipe = header.about.get("recipe")
        found.append(
            {
                "checkpoint": str(folder),
                "name": "" if folder == workspace.model else folder.name,
                "hash": header.hash,
                "kind": header.config.kind,
                "recipe": recipe.get("name", "") if isinstance(recipe, dict) else "",
                "text_encoder": header.config.text.encoder,
                "videos": header.about.get("videos"),
                "new_videos": header.about.get("new_videos") or None,
                "written": (folder / CONFIG_FILE).stat().st_mtime,
            }
        )
    return sorted(found, key=lambda each: each["written"], reverse=True)
