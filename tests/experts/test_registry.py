"""Loading experts by name: the classic ones, and those of other packages, good and bad."""

import pytest

from experts import registry
from experts.base import Expert, Sampling

GOOD = """
from experts.base import Sampling, State, Tokens
class Echo:
    name, dim, version, weights = "echo", 3, "1", ""
    sampling = Sampling(audio_hz=8000)
    def prepare(self, device): ...
    def extract(self, clip): return Tokens.none(self.dim, State.SILENT)
"""


@pytest.fixture
def announce(tmp_path, monkeypatch):
    """Put a package beside the others: a module and the entry point that an installer would have written."""

    def install(package: str, name: str, source: str, value: str | None = None) -> None:
        module = f"module_{package}"
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[hcq.experts]\n{name} = {value or module + ':Echo'}\n")

    monkeypatch.syspath_prepend(str(tmp_path))
    return install


def test_the_preset_loads_in_its_order():
    experts = registry.load(registry.presets["classic"])
    assert [expert.name for expert in experts] == ["appearance", "motion", "audio", "face"]
    assert all(isinstance(expert, Expert) for expert in experts)


def test_two_loads_share_nothing():
    first, second = registry.load(["motion"]) + registry.load(["motion"])
    assert first is not second


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(LookupError, match="'smell'; there are: appearance, motion, audio, face"):
        registry.load(["audio", "smell"])


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="'audio' is asked for more than once"):
        registry.load(["audio", "face", "audio"])


def test_another_package_adds_an_expert(announce):
    announce("echo_one", "echo", GOOD)
    assert registry.installed()["echo"].package == "echo_one"
    assert registry.load(["echo", "audio"])[0].dim == 3


def test_two_packages_with_one_name_are_told_apart(announce):
    announce("echo_two", "echo", GOOD)
    announce("echo_three", "echo", GOOD)
    with pytest.raises(ValueError, match="'echo' is announced by both echo_t"):
        registry.load(["audio"])


def test_the_name_of_a_built_in_expert_cannot_be_taken(announce):
    announce("echo_four", "audio", GOOD)
    with pytest.raises(ValueError, match="both hcq and echo_four"):
        registry.load(["audio"])


@pytest.mark.parametrize(
    ("package", "source", "value", "said"),
    [
        ("bad_import", "import no_such_module_anywhere", None, "ModuleNotFoundError"),
        ("bad_syntax", "class Echo(:", None, "SyntaxError"),
        ("bad_init", "class Echo:\n    def __init__(self): raise OSError('no weights')", None, "OSError: no weights"),
        ("bad_value", GOOD, "module_bad_value:Missing", "AttributeError"),
        ("bad_kind", "class Echo:\n    name = 'echo'", None, "is no expert: it has no dim, version"),
        ("bad_name", GOOD.replace('"echo"', '"other"'), None, "calls itself 'other'"),
    ],
)
def test_a_broken_package_is_named_with_its_reason(announce, package, source, value, said):
    announce(package, "echo", source, value)
    with pytest.raises(ValueError, match="expert 'echo' of package") as caught:
        registry.load(["echo"])
    assert package in str(caught.value)
    assert said in str(caught.value)
    assert registry.load(["face"])[0].name == "face"  # the others are not harmed


def test_no_experts_share_a_sampling_by_accident():
    """Equal samplings would be one resize; different ones must hash differently for the decoder's table."""
    samplings = [expert.sampling for expert in registry.load(registry.presets["classic"])]
    assert len(set(samplings)) == len(samplings)
    assert Sampling(2.0, 256) == samplings[0]
