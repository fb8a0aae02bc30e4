"""The whole examination: looks at everything, in the order in which a person would want to read it."""

from __future__ import annotations

from collections.abc import Callable

from hcq_cli.doctor import Finding
from hcq_cli.doctor.machine_checks import check_machine, check_python
from hcq_cli.doctor.package_checks import check_minilm, check_packages
from hcq_cli.doctor.workspace_checks import check_settings, check_workspace
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
    # Packages first: a torch that crashes must not be asked for its devices, nor a broken h5py for the features.
    checks = check_packages(progress)
    works = {module for module, check in checks.items() if check.facts}
    return [
        *check_python(),
        *sorted((check.finding for check in checks.values()), key=lambda finding: finding.name),
        check_minilm(),
        *check_machine(checks["torch"].facts if "torch" in works else None, workspace.root),
        check_settings(settings_error),
        *check_workspace(workspace, store_works="h5py" in works),
    ]
