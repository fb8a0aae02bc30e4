"""The API is what its description says, whatever is asked: Schemathesis asks what it allows and what it does not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from served import Served

pytest.importorskip("starlette")
SCHEMATHESIS = shutil.which("schemathesis")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_every_answer_of_the_api_is_described(served: Served) -> None:
    described = json.loads(served.get("/static/openapi.json")[2])["paths"]
    assert {"/api/search", "/api/similar/{key}", "/api/duplicates", "/api/stats", "/media/{key}"} <= set(described)


@pytest.mark.long
@pytest.mark.skipif(SCHEMATHESIS is None, reason="no schemathesis on this machine")
def test_nothing_that_can_be_asked_is_an_error_of_the_server(served: Served, tmp_path: Path) -> None:
    where = [f"{served.address}static/openapi.json", "--url", served.address]
    command = [str(SCHEMATHESIS), "run", *where, "--checks", CHECKS, "--max-examples", "60", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500)
    assert done.returncode == 0, done.stdout
