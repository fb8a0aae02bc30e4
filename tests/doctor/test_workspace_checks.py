"""What the doctor says of a workspace: nothing there, damage inside files, parts of different models."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_places import small_workspace
from handmade import HEADER, names, other_model, random_codes, write_codes

from hcq_cli.doctor import Finding, Health
from hcq_cli.doctor.workspace_checks import check_workspace
from hcq_cli.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return small_workspace(tmp_path)


def workspace_findings(place: Workspace) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_workspace(place)}


def test_an_empty_workspace_hinders_nothing(tmp_path: Path) -> None:
    found = workspace_findings(Workspace(tmp_path / "none"))
    assert {name for name, finding in found.items() if finding.health is Health.MISSING} == {
        "features",
        "checkpoint",
        "codes",
        "index",
    }
    assert not any(finding.is_blocking for finding in found.values())
    assert not (tmp_path / "none").exists()


def test_damage_inside_a_file_is_found(workspace: Workspace) -> None:
    """A flipped bit that opening alone would not notice."""
    blob = bytearray(workspace.codes.read_bytes())
    at = blob.find(random_codes(2).tobytes())
    assert at > 0
    blob[at] ^= 1
    workspace.codes.write_bytes(blob)
    found = workspace_findings(workspace)["codes"]
    assert found.health is Health.BROKEN and found.is_blocking and found.repair == "hcq encode"


def test_a_checkpoint_is_checked_and_codes_must_be_of_it(workspace: Workspace) -> None:
    from small_models import model

    from hcq_cli.model.checkpoint import save

    trained = model()
    identity = save(workspace.model, trained.network, trained.caption_encoder)
    found = workspace_findings(workspace)
    assert found["checkpoint"].health is Health.OK and identity[:12] in found["checkpoint"].detail
    assert found["codes"].health is Health.BROKEN and found["codes"].repair == "hcq encode"
    weights = workspace.model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    found = workspace_findings(workspace)
    assert found["checkpoint"].health is Health.BROKEN and "model.safetensors" in found["checkpoint"].detail


def test_codes_of_another_model_than_the_index_are_told(workspace: Workspace) -> None:
    write_codes(workspace.codes, names(2), random_codes(2), other_model())
    found = workspace_findings(workspace)
    assert found["codes"].health is Health.OK
    assert found["index"].health is Health.BROKEN and found["index"].repair == "hcq index build"
    assert HEADER.model_hash[:12] in found["index"].detail


def test_a_workspace_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert check_workspace(Workspace(tmp_path / "file"))[0].is_blocking
