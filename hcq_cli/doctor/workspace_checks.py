"""The workspace: settings, features, checkpoint, codes and index, and whether they belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hcq_cli.doctor import Finding, Health
from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.printable import counted
from hcq_cli.workspace import Workspace

PART = "workspace"


def check_settings(error: HcqError | None) -> Finding:
    """hcq.toml, of which the command line has already tried to read the defaults.

    Args:
        error: what it met, if anything.
    """
    if error is not None:
        return Finding(PART, "hcq.toml", Health.BROKEN, error.message, required=True, repair=error.hint)
    return Finding(PART, "hcq.toml", Health.OK, "read" if Path("hcq.toml").is_file() else "none here; defaults apply")


def check_workspace(workspace: Workspace, store_works: bool = True) -> list[Finding]:
    """Everything that the verbs leave behind.

    Args:
        workspace: where to look.
        store_works: whether h5py works; without it the feature store is not looked into.
    """
    root = workspace.root
    if root.exists() and not root.is_dir():
        repair = "hcq -w DIR, with a DIR that is a folder"
        return [Finding(PART, "workspace", Health.BROKEN, f"{root}: is no folder", required=True, repair=repair)]
    detail = f"{root.absolute()}" + ("" if root.is_dir() else " (not there yet)")
    found = [Finding(PART, "workspace", Health.OK, detail)]
    if store_works:
        found.append(_describe("features", lambda: _features(workspace.features)))
    else:
        found.append(Finding(PART, "features", Health.MISSING, "not looked at, because h5py does not work"))
    # Filled as the parts are looked at: the model of the first that names one is that of all that come after it.
    hashes: dict[str, str] = {}
    found.append(_describe("checkpoint", lambda: _checkpoint(workspace.model, hashes)))
    found.append(_describe("codes", lambda: _codes(workspace.codes, hashes)))
    if workspace.texts.exists():
        found.append(_describe("text codes", lambda: _codes(workspace.texts, hashes, "hcq encode --texts FILE")))
    found.append(_describe("index", lambda: _index(workspace.index, hashes)))
    return found


def _describe(name: str, describe: Callable[[], str]) -> Finding:
    """The finding that a description makes: `describe` tells what is there, or raises what is wrong with it."""
    try:
        return Finding(PART, name, Health.OK, describe())
    except NotFoundError as error:
        return Finding(PART, name, Health.MISSING, error.message, repair=error.hint)
    except HcqError as error:
        return Finding(PART, name, Health.BROKEN, error.message, required=True, repair=error.hint)
    except Exception as error:  # the examination goes on, whatever one file does to its reader
        detail = f"cannot be looked at: {type(error).__name__}: {error}"
        return Finding(PART, name, Health.BROKEN, detail, required=True)


def _features(folder: Path) -> str:
    """How many videos and which experts the feature store has."""
    from hcq_cli.features.store import FeatureStore

    store = FeatureStore.open(folder)
    experts = ", ".join(f"{info.name} [{info.dim}]" for info in store.experts.values())
    warnings = "".join(f"; {warning}" for warning in store.warnings)
    return f"{counted(len(store), 'video')}, experts {experts or 'none'}{warnings}"


def _checkpoint(folder: Path, hashes: dict[str, str]) -> str:
    """Levels and model of the checkpoint, every file of it read and its checksum compared."""
    from hcq_cli.model.checkpoint import read_header

    header = read_header(folder)
    header.verify()
    hashes["checkpoint"] = header.hash
    return f"{header.config.levels + 1} levels, model {header.hash[:12]}, every file's checksum right"


def _codes(path: Path, hashes: dict[str, str], make: str = "hcq encode") -> str:
    """How many codes of how many bytes; every block's checksum is compared."""
    from hcq_cli.codes.codefile import open_codes

    codes = open_codes(path)
    codes.verify()
    _expect_same_model(path, codes.header.model_hash, hashes, make)
    return f"{len(codes):,} {codes.header.kind} × {codes.header.S} bytes, checksums right"


def _index(folder: Path, hashes: dict[str, str]) -> str:
    """How many videos and segments the index has; every block's checksum is compared."""
    from hcq_cli.search.index import Index

    index = Index.open(folder)
    index.verify()
    _expect_same_model(folder, index.header.model_hash, hashes, "hcq index build")
    videos, segments = index.videos, len(index.segments)
    return f"{counted(videos, 'video')} × {index.header.S} bytes in {counted(segments, 'segment')}, checksums right"


def _expect_same_model(path: Path, model_hash: str, hashes: dict[str, str], make: str) -> None:
    """Raise HcqError if a file was made by another model than one before it; `make` is what makes it anew."""
    for holder, known in hashes.items():
        if known != model_hash:
            message = f"{path}: made by another model ({model_hash[:12]}) than the {holder} ({known[:12]})"
            raise HcqError(message, make)
    hashes.setdefault("codes", model_hash)
