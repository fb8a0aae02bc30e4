"""Every error a user can meet has an exit code of the contract."""

from __future__ import annotations

from hcq_cli import errors


def test_exit_codes():
    codes = {
        kind.__name__: kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HcqError)
    }
    assert codes == {
        "HcqError": 1,
        "UsageError": 2,
        "DamagedError": 4,
        "ModelMismatchError": 4,
        "ReplacedError": 1,
        "NotFoundError": 10,
        "LockedError": 11,
    }
    assert (errors.EXIT_SOME_FAILED, errors.EXIT_INTERRUPTED) == (3, 130)
    error = errors.NotFoundError("no index there", "hcq index build")
    assert (error.message, error.hint, str(error)) == ("no index there", "hcq index build", "no index there")


def test_the_near_name_is_found_whatever_its_capitals() -> None:
    assert errors.near("Neurl", ["classic", "neural"]) == "neural"
    assert errors.near("bert", ["classic", "neural"]) == ""
    assert errors.near("HQC", ["hct", "hcq", "dcmh"]) == "hcq"
