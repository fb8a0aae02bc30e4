"""Looks at everything, in the order in which a person would want to read it."""

from __future__ import annotations

from collections.abc import Callable

from hcq_cli.doctor.finding import Finding
from hcq_cli.doctor.machine import look_at_machine, look_at_python
from hcq_cli.doctor.packages import find_minilm, try_packages
from hcq_cli.doctor.places import look_at_settings, look_at_workspace
from hcq_cli.errors import HcqError
from hcq_cli.workspace import Workspace


def examine(
    workspace: Workspace, settings_error: HcqError | None = None, progress: Callable[[], None] = lambda: None
) -> list[Finding]:
    """Try the packages, look at the machine and into the workspace; changes nothing.

    Args:
        workspace: the one to look into; read whole, to check its checksums.
        settings_error: what reading hcq.toml met.
        progress: called as each package has been tried.
    """
    trials = try_packages(progress)
    works = {module for module, trial in trials.items() if trial.facts}
    torch_facts = trials["torch"].facts if "torch" in works else None
    return [
        *look_at_python(),
        *sorted((trial.finding for trial in trials.values()), key=lambda finding: finding.name),
        find_minilm(),
        *look_at_machine(torch_facts, workspace.root),
        look_at_settings(settings_error),
        *look_at_workspace(workspace, store_works="h5py" in works),
    ]
