"""Which commit of each Hugging Face id this machine uses: written by `hcq models fetch`, read by extraction.

{"facebook/dinov2-base@main": {"commit": "0123…", "licence": "Apache-2.0", "fetched": "2026-01-31T12:00:00Z"}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_REVISION = "main"


@dataclass(frozen=True)
class Locked:
    """One fetched set of weights.

    Args:
        commit: what the revision was resolved to, 40 hex digits.
        licence: of the weights, as the model card says; empty if it does not.
        fetched: when, ISO 8601.
    """

    commit: str
    licence: str
    fetched: str


def lock_path() -> Path:
    """Where the lock lies: `HCQ_CACHE`, else the cache folder of the user."""
    own = os.environ.get("HCQ_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own).expanduser() / "models.json" if own else Path(base).expanduser() / "hcq" / "models.json"


def read_lock() -> Mapping[str, Locked]:
    """What has been fetched, by `id@revision`; empty if nothing has.

    Raises:
        ValueError: the file is damaged.
    """
    path = lock_path()
    try:
        document = json.loads(path.read_text("utf-8"))
        return {key: Locked(**value) for key, value in document.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is no list of fetched models ({error}); move it away") from error
