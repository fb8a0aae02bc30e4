"""`hcq -w ADDRESS`: the verbs give the bytes and answers of a folder, on machines that share nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_models import model
from store_contents import shard_digests
from trained import save_workspace

from hcq_cli.errors import EXIT_DAMAGED, EXIT_LOCKED, EXIT_NOT_FOUND, EXIT_USAGE, UsageError
from hcq_cli.features.store import FeatureStore
from hcq_cli.files import digest_file
from hcq_cli.model import checkpoint
from hcq_cli.model.config import ExpertConfig
from hcq_cli.remote.mirror import Mirror
from hcq_cli.search.index import Index
from hcq_cli.workspace import Workspace

EXPERTS = ["--experts", "appearance,audio", "--workers", "1"]
SEARCH = ["query", "--like", "clip1.mp4", "--json"]


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"file://{tmp_path}/there"


@pytest.fixture
def on(hcq: Callable[..., Any], tmp_path: Path, address: str) -> Callable[..., Any]:
    """Runs a command on a machine by its name."""
    return lambda name, *arguments, **how: hcq(
        *arguments, "-w", address, env={"HCQ_CACHE": str(tmp_path / name)}, **how
    )


def folder_of(machine: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The mirror of an address on a machine."""
    with monkeypatch.context() as patch:
        patch.setenv("HCQ_CACHE", str(machine))
        patch.setattr(Mirror, "opened", {})
        return Workspace(Mirror.at(address).folder)


def made(workspace: Workspace) -> dict[str, Any]:
    """SHA-256 of what a workspace holds, but for files that tell names made by chance."""
    index = Index.open(workspace.index)
    return {
        "features": shard_digests(workspace.features),
        "codes": digest_file(workspace.codes),
        "index": [digest_file(workspace.index / entry.file) for entry in index.manifest.segments],
    }


def train(workspace: Workspace) -> None:
    experts = FeatureStore.open(workspace.features).experts
    random = model(experts={name: ExpertConfig(expert.dim) for name, expert in experts.items()})
    checkpoint.save(workspace.model, random.network, random.caption_encoder)


def answer(outcome: Any) -> Any:
    return [{**hit} for hit in outcome.json["hits"]]


@pytest.mark.long
def test_features_codes_and_index_are_those_of_a_folder(
    hcq: Callable[..., Any],
    on: Callable[..., Any],
    clips: Path,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a folder; by one machine for each verb; and by three that each extract and encode a share."""
    here = folder_of(tmp_path / "one", address, monkeypatch)
    verbs: list[list[Any]] = [["extract", clips, *EXPERTS], ["encode"], ["index", "build"]]
    hcq(*verbs[0], "-w", here.root)
    train(here)
    shutil.copytree(here.model, tmp_path / "model")
    for verb in verbs[1:]:
        hcq(*verb, "-w", here.root)
    local, found = made(here), answer(hcq(*SEARCH, "-w", here.root))
    names = {path.name for path in here.index.iterdir() if path.name != "writer.lock"}
    shutil.rmtree(here.root)

    def alike(run: Callable[[list[Any]], object]) -> None:
        shutil.rmtree(tmp_path / "there", ignore_errors=True)
        shutil.rmtree(tmp_path / "one", ignore_errors=True)
        run(verbs[0])
        shutil.copytree(tmp_path / "model", here.model)
        on("one", "features", "info")  # which puts it
        for verb in verbs[1:]:
            run(verb)
        on("one", "features", "info")
        assert made(here) == local
        # A machine that has nothing fetches what a query needs alone.
        asked = on("new", *SEARCH)
        new = folder_of(tmp_path / "new", address, monkeypatch)
        assert answer(asked) == found and len(list(new.index.iterdir())) == len(names)
        assert [path.name for path in new.root.iterdir() if path.name[0] != "."] == ["index"]
        assert f"fetched {len(names)} files" in asked.err and "put" not in asked.err
        assert "model" not in asked.err
        shutil.rmtree(tmp_path / "new")
        assert not list((tmp_path / "there" / "parts").rglob("*.h5"))

    alike(lambda verb: on("one", *verb))

    def shared(verb: list[Any]) -> None:
        if verb[0] != "index":
            for number in (2, 3, 1):
                on(f"share{number}", *verb, "--shard", f"{number}/3")
        on("one", *verb)

    alike(shared)


def test_errors_of_a_workspace_at_an_address_are_its_own(
    hcq: Callable[..., Any], on: Callable[..., Any], clips: Path, address: str, tmp_path: Path
) -> None:
    done = hcq("query", "a dog", "-w", "nope://x/y", code=EXIT_USAGE)
    assert "Protocol not known: nope" in done.err
    done = hcq("query", "a dog", "-w", "gs://x/y", code=EXIT_USAGE)
    assert "pip install gcsfs" in done.err
    assert "no index there" in on("one", "query", "a dog", code=EXIT_NOT_FOUND).err
    (tmp_path / "hcq.toml").write_text(f'workspace = "{address}"\n')
    done = hcq("features", "info", env={"HCQ_CACHE": str(tmp_path / "one")}, code=EXIT_NOT_FOUND)
    assert "is left out" in done.err.replace("\n", " ") and not (tmp_path / "there").exists()
    with pytest.raises(UsageError, match="is an address"):
        Workspace(address)


def test_what_one_has_put_is_not_lost_to_another(
    on: Callable[..., Any], clips: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("one", "extract", clips / "clip0.mp4", *EXPERTS)
    on("two", "features", "info")
    (tmp_path / "there" / "manifest-00000002.json").write_text("{}\n")
    on("one", "extract", clips / "clip1.mp4", *EXPERTS, code=EXIT_DAMAGED)
    (tmp_path / "there" / "manifest-00000002.json").unlink()
    on("one", "extract", clips / "clip1.mp4", *EXPERTS)
    two = folder_of(tmp_path / "two", address, monkeypatch)
    with monkeypatch.context() as patch:  # it does not see what the other one has put
        patch.setenv("HCQ_CACHE", str(tmp_path / "two"))
        patch.setattr(Mirror, "opened", {})
        patch.setattr(Mirror, "fetch", lambda self, parts=None: type("Nothing", (), {"warnings": (), "files": 0})())
        import hcq_cli as hcq

        with pytest.raises(hcq.HcqError, match="another machine has changed features") as caught:
            with hcq.mirrored(address) as workspace:
                hcq.extract(workspace, [clips / "clip2.mp4"], experts="audio", workers=1)
        assert caught.value.exit_code == EXIT_LOCKED
    done = on("two", "extract", clips / "clip2.mp4", *EXPERTS)
    assert "another machine has put a newer one" in done.err
    assert sorted(FeatureStore.open(two.features).ids) == [f"clip{number}.mp4" for number in range(3)]


def test_json_is_what_it_is_in_a_folder(hcq: Callable[..., Any], on: Callable[..., Any], clips: Path) -> None:
    there = on("one", "extract", clips / "clip0.mp4", *EXPERTS, "--json")
    assert set(there.json) == set(hcq("extract", clips / "clip0.mp4", *EXPERTS, "--json").json)
    assert json.loads(there.out)["extracted"] == 1 and "put" in there.err


@pytest.mark.long
def test_a_query_fetches_the_model_where_the_index_has_no_text_side(
    on: Callable[..., Any], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_workspace(folder_of(tmp_path / "one", address, monkeypatch).root)
    on("one", "index", "build", "--text-side", "none", "--no-words")
    found = on("one", "query", "red ball", "--json").json["hits"]
    shutil.rmtree(tmp_path / "one")  # another machine sees none of it
    asked = on("two", "query", "red ball", "--json")
    two = folder_of(tmp_path / "two", address, monkeypatch)
    assert two.model.is_dir() and not two.codes.exists() and asked.err.count("fetched") == 2
    assert [hit["score"] for hit in asked.json["hits"]] == [hit["score"] for hit in found]


def test_a_query_for_a_face_fetches_the_features(on: Callable[..., Any], clips: Path, tmp_path: Path) -> None:
    on("one", "extract", clips / "clip0.mp4", *EXPERTS)
    save_workspace(tmp_path / "model")
    on("one", "index", "build", tmp_path / "model" / "codes.hcq", "--text-side", "none", "--no-words")
    told = on("two", "query", "--face", "clip0.mp4@1", code=EXIT_NOT_FOUND)
    assert "holds no face vectors" in told.err
