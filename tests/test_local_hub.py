"""Models fetched from a hub and pushed to it, by the hub's own client: a small one that runs on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hub_networks
import pytest
from local_hub import TOKEN, LocalHub, Repository, local_hub

from experts.neural.hub import ON_REQUEST, PRESET, WITHOUT_CAPTIONS
from hcq_cli.errors import EXIT_DAMAGED, EXIT_NOT_FOUND

pytestmark = pytest.mark.long
KEPT = Path(__file__).parent / "golden" / "workspace"


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return hub_networks.save(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def hub(networks: dict[str, Path]) -> Iterator[LocalHub]:
    with local_hub() as running:
        for id, folder in networks.items():
            running.add(id, folder)
        yield running


Command = Callable[..., Any]


@pytest.fixture
def asking(hub: LocalHub, hcq: Command, tmp_path: Path) -> Command:
    """hcq, where the hub is the local one."""

    def run(*arguments: Any, env: dict[str, str] | None = None, **how: Any) -> Any:
        return hcq(*arguments, env={**hub.environment(tmp_path / "hf"), **(env or {})}, **how)

    return run


def test_every_preset_is_fetched_and_then_serves_offline(
    hub: LocalHub, asking: Command, networks: dict[str, Path], clips: Path, tmp_path: Path
) -> None:
    said = asking("models", "fetch", *WITHOUT_CAPTIONS, "neural", "face", "speech", "bert-base-cased").err
    assert "microsoft/resnet-18@main: 3 files" in said and "it/s" not in said  # no progress where nobody looks at it
    named = {*PRESET.values(), *(source for each in WITHOUT_CAPTIONS.values() for source in each.values())}
    named |= {part for source in ON_REQUEST.values() for part in source.split("+")}
    listed = {each["id"]: each for each in asking("models", "list", "--json").json["models"]}
    assert named <= set(networks) and {listed[id]["commit"] for id in named} == {
        hub.repositories[id].commit for id in named
    }
    assert not [path for _, path, _ in hub.asked if path.endswith((".bin", "README.md"))]
    asked = len(hub.asked)
    for preset in ("light", "laptop"):
        where = ("-w", tmp_path / preset)
        extracted = asking("extract", clips, "--preset", preset, "--json", *where, env={"HF_ENDPOINT": ""}).json
        assert extracted["extracted"] == 6 and not extracted["failed"]
        asking("fit", "--preset", preset, *where)
        asking("encode", *where)
        asking("index", "build", *where)
        assert asking("query", "a red ball", "--all", "--json", *where).json["hits"]
    assert len(hub.asked) == asked


def fetched(tmp_path: Path, id: str) -> Path:
    """The folder of what the lock names."""
    locked = json.loads((tmp_path / "hf" / "own" / "models.json").read_text())
    return tmp_path / "hf" / "hub" / f"models--{id.replace('/', '--')}" / "snapshots" / locked[f"{id}@main"]["commit"]


@pytest.fixture
def large(hub: LocalHub, networks: dict[str, Path]) -> bytes:
    """Weights of three pieces of the size that the client writes down at once, 10 MB; kept as own/large."""
    config = (networks["microsoft/resnet-18"] / "config.json").read_bytes()
    weights = bytes(range(256)) * (30 << 12)
    hub.repositories["own/large"] = Repository({"config.json": config, "model.safetensors": weights})
    return weights


def pieces_asked_for(hub: LocalHub) -> list[str]:
    return [ranges for method, path, ranges in hub.asked if method == "GET" and path.endswith("model.safetensors")]


def test_a_line_that_breaks_costs_no_piece_that_has_come(
    hub: LocalHub, asking: Command, large: bytes, tmp_path: Path
) -> None:
    hub.cut["model.safetensors"] = [11 << 20, 0, 11 << 20]
    asking("models", "fetch", "own/large")
    assert (fetched(tmp_path, "own/large") / "model.safetensors").read_bytes() == large
    first, second = f"bytes={10 << 20}-", f"bytes={20 << 20}-"
    assert pieces_asked_for(hub) == ["", first, first, second]


def test_a_fetch_that_ended_is_run_again(hub: LocalHub, asking: Command, large: bytes, tmp_path: Path) -> None:
    hub.cut["model.safetensors"] = [11 << 20, *[0] * 5]  # the client tries six times
    said = asking("models", "fetch", "own/large", code=1).err
    assert "own/large@main cannot be fetched" in said and "run the same command again" in said
    assert "Traceback" not in said and not (tmp_path / "hf" / "own" / "models.json").exists()
    asking("models", "fetch", "own/large")
    assert (fetched(tmp_path, "own/large") / "model.safetensors").read_bytes() == large


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_the_hub_promises_are_not_kept(
    hub: LocalHub, asking: Command, tmp_path: Path, name: str
) -> None:
    """The client looks at how many there are, no further."""
    hub.spoilt = {name}
    said = asking("models", "fetch", "light", code=EXIT_DAMAGED).err
    assert name in said and "microsoft/resnet-18" in said
    assert not (tmp_path / "hf" / "own" / "models.json").exists()
    assert (
        "hcq models fetch microsoft/resnet-18"
        in asking("experts", "--check", "objects=microsoft/resnet-18", code=EXIT_NOT_FOUND).err
    )
    hub.spoilt = set()
    asking("models", "fetch", "light")


def test_what_the_hub_refuses_is_told_with_what_mends_it(hub: LocalHub, asking: Command) -> None:
    hub.repositories["laion/clap-htsat-unfused"].gated = True
    hub.repositories["microsoft/resnet-18"].private = True
    for name, told in {
        "no/such": "the hub has no no/such, or it is private",
        "microsoft/resnet-18": "the hub has no microsoft/resnet-18, or it is private",
        "google/siglip2-base-patch16-224@v9": "has no revision 'v9'",
        "laion/clap-htsat-unfused": "only for those who accept its terms",
    }.items():
        said = asking("models", "fetch", name, code=EXIT_NOT_FOUND).err
        assert told in said and "Traceback" not in said
    asking("models", "fetch", "microsoft/resnet-18", "laion/clap-htsat-unfused", env={"HF_TOKEN": TOKEN})


def test_offline_asks_nobody(hub: LocalHub, asking: Command, tmp_path: Path) -> None:
    work = shutil.copytree(KEPT, tmp_path / "w")
    for command in (["fetch", "light"], ["push", "owner/drawn", "--licence", "mit", "-w", work]):
        assert "HF_HUB_OFFLINE is set" in asking("models", *command, code=1, env={"HF_HUB_OFFLINE": "1"}).err
    assert not hub.asked


def test_a_model_is_pushed_fetched_and_is_the_same(hub: LocalHub, asking: Command, tmp_path: Path) -> None:
    work = shutil.copytree(KEPT, tmp_path / "w")
    push = (
        "models",
        "push",
        "owner/drawn",
        "--licence",
        "apache-2.0",
        "--captions",
        KEPT / "captions.jsonl",
        "-w",
        work,
    )
    assert "wants to know who asks" in asking(*push, code=EXIT_NOT_FOUND).err
    known = {"HF_TOKEN": TOKEN}
    first = asking(*push, "--json", env=known).json
    assert first["place"] == f"{hub.address}/owner/drawn" and hub.repositories["owner/drawn"].private
    assert set(first["files"]) == set(hub.repositories["owner/drawn"].files)
    assert hub.stored, "weights lie in the large file storage"
    commit = hub.repositories["owner/drawn"].commit
    asking(*push, env=known)  # again, into what is there
    assert hub.repositories["owner/drawn"].commit == commit
    asking("models", "fetch", "owner/drawn", env=known)
    asked = len(hub.asked)
    encoded = asking("encode", "--ckpt", "owner/drawn", "-o", tmp_path / "codes.hcq", "-w", work, "--json").json
    assert encoded["videos"] == 15 and len(hub.asked) == asked
    assert first["model"] in asking("models", "list", "--json", "-w", work).out
