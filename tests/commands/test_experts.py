"""`hcq experts` from outside, with the example package installed and with a broken one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("setuptools")

REPOSITORY = Path(__file__).resolve().parents[2]


def test_classic_experts_are_listed(hcq):
    rows = hcq("experts", "--json").json["experts"]
    assert [row["name"] for row in rows][:4] == ["appearance", "motion", "audio", "face"]
    for row in rows[:4]:
        assert row["package"] == "hcq"
        assert row["presets"] == ["classic"]
        assert row["dim"] > 0
        assert row["version"] == "1"
        assert row["about"]
    assert rows[2]["sampling"] == {"frames_per_second": None, "max_side": None, "audio_hz": 16000}
    assert "haarcascade" in rows[3]["weights"]
    assert rows[3]["licence"]
    assert "ms of a core" in rows[0]["cost"]
    found = hcq("experts", "--json", env={"HF_HUB_CACHE": "/nowhere"}).json["networks"]
    networks = {row["name"]: row for row in found}
    assert list(networks) == ["appearance", "motion", "audio", "dual", "face", "speech"]
    assert networks["motion"]["missing"] == "hcq models fetch motion" and networks["face"]["presets"] == []
    assert networks["appearance"]["licence"] == "Apache-2.0" and networks["audio"]["presets"] == ["neural"]
    shown = hcq("experts").out
    assert "haarcascade" in shown and "BSD" in shown
    assert all(name in shown for name in ("appearance", "motion", "audio", "face", "preset classic"))


@pytest.mark.long
def test_the_example_package_installs_and_is_listed(hcq, tmp_path):
    place = tmp_path / "site"
    source = tmp_path / "own_expert"
    subprocess.run(["cp", "-r", str(REPOSITORY / "examples" / "own_expert"), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*pip, "--target", str(place), str(source)], check=True, timeout=120)
    env = {"PYTHONPATH": os.pathsep.join([str(place), str(REPOSITORY)])}
    rows = {row["name"]: row for row in hcq("experts", "--json", env=env).json["experts"]}
    assert rows["brightness"]["package"] == "hcq-brightness"
    assert rows["brightness"]["dim"] == 16
    assert hcq("experts", "--check", "brightness", "--json", env=env).json == {
        "expert": "brightness",
        "kept": True,
        "broken": [],
    }
    own_test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(source)]
    subprocess.run(own_test, check=True, timeout=120, env={**os.environ, **env}, cwd=tmp_path)


def test_a_broken_package_is_a_warning_and_the_rest_is_listed(hcq, tmp_path):
    info = tmp_path / "site" / "sorry-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sorry\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hcq.experts]\nsorry = no_such_module_here:Sorry\n")
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(REPOSITORY)])}
    outcome = hcq("experts", "--json", env=env)
    rows = {row["name"]: row for row in outcome.json["experts"]}
    assert "no_such_module_here" in rows["sorry"]["error"]
    assert rows["audio"]["dim"] > 0
    assert "warning: expert 'sorry' of package sorry" in outcome.err


def test_an_expert_is_put_to_the_test_of_the_contract(hcq, planted):
    assert "audio keeps every promise" in hcq("experts", "--check", "audio").out
    broken = hcq("experts", "--check", "fragile", "--json", env=planted, code=1).json
    assert broken["expert"] == "fragile" and not broken["kept"]
    assert any("three seconds" in line and "too wide for me" in line for line in broken["broken"])
    people = hcq("experts", "--check", "fragile", env=planted, code=1)
    assert "fragile breaks the contract" in people.out and "Traceback" not in people.err
    assert "there are: appearance" in hcq("experts", "--check", "nose", code=2).err


@pytest.mark.parametrize("command", [("experts",), ("models", "list"), ("doctor",)])
def test_a_user_without_a_home_is_none_the_worse(hcq, tmp_path, command):
    """As in a container that runs under a number: neither HOME nor an entry among the users."""
    (tmp_path / "homeless").mkdir()
    code = ["import os, pwd", "os.environ.pop('HOME')", "def nobody(_): raise KeyError"]
    code += ["pwd.getpwuid = pwd.getpwnam = nobody"]
    (tmp_path / "homeless" / "sitecustomize.py").write_text("\n".join(code))
    assert hcq(*command, env={"PYTHONPATH": str(tmp_path / "homeless"), "HOME": "/x"}, fresh=True).out
