"""Which experts there are: the classic ones, networks by their source, and those that other packages announce.

    experts = load(["appearance", "motion"])
    experts = load(presets["classic"])
    experts = load(["appearance=onnx:squeezenet.onnx", "motion=facebook/vjepa2-vitl-fpc64-256", "audio"])

A package adds an expert with an entry point in the group `hcq.experts` whose name is the expert's and whose
value is its class (or anything that gives an `Expert` when called without arguments; with `name=SOURCE` it is called
with the source).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from experts.base import Expert
from experts.neural.hub import ON_REQUEST, PRESET, WITHOUT_CAPTIONS
from experts.neural.weights import WeightsError

GROUP = "hcq.experts"

presets: dict[str, list[str]] = {
    "classic": ["appearance", "motion", "audio", "face"],
    "neural": [f"{name}={source}" for name, source in PRESET.items()],
    **{
        preset: [f"{name}={source}" for name, source in sources.items()]
        for preset, sources in WITHOUT_CAPTIONS.items()
    },
}
"""Named sets of experts, each in the order in which it is run."""

BUILT_IN: dict[str, str] = {
    "appearance": "experts.classic.appearance:Appearance",
    "motion": "experts.classic.motion:Motion",
    "audio": "experts.classic.audio:Audio",
    "face": "experts.classic.face:Face",
    "scene": "experts.scene:Scene",
    "ocr": "experts.neural.ocr:Ocr",
}
"""What makes an expert without a source, by its name. As text: a query must not wait for torch to be imported."""

WITH_SOURCE: dict[str, str] = {
    "appearance": "experts.neural.appearance:appearance",
    "motion": "experts.neural.motion:motion",
    "audio": "experts.neural.audio:audio",
    "face": "experts.neural.face:NeuralFace",
    "scene": "experts.scene:Scene",
    "ocr": "experts.neural.ocr:Ocr",
    "speech": "experts.neural.speech:Speech",
    "dual": "experts.neural.dual:dual",
    "objects": "experts.neural.classes:objects",
    "sounds": "experts.neural.classes:sounds",
}
"""What makes an expert of a source (`name=SOURCE`); of a name that stands in both either may."""

FAMILIES = ("dual", "objects", "sounds")
"""Experts of which several may look at a video, each under a name of its own: `dual=SOURCE,dual-sound=SOURCE`."""


@dataclass(frozen=True)
class InstalledExpert:
    """An expert that can be loaded by its name.

    Args:
        name: what it is asked for by.
        value: "module:object" that makes it.
        package: the distribution that announces it; "hcq" for those that come with hcq.
    """

    name: str
    value: str
    package: str


def installed() -> dict[str, InstalledExpert]:
    """Every expert that is installed, by name, without importing any.

    Raises:
        ValueError: two packages announce the same name, or one takes the name of a built-in expert.
    """
    known = {name: InstalledExpert(name, value, "hcq") for name, value in {**WITH_SOURCE, **BUILT_IN}.items()}
    for point in entry_points(group=GROUP):
        other = InstalledExpert(point.name, point.value, point.dist.name if point.dist else "?")
        # Equal twice is no clash: a package that lies in two places on the path is seen twice.
        if known.setdefault(point.name, other) != other:
            packages = f"{known[point.name].package} and {other.package}"
            raise ValueError(f"expert {point.name!r} is announced by both {packages}: uninstall one of them")
    return known


def split_source(ask: str) -> tuple[str, str]:
    """`name=source` in two; the source is empty if there is none."""
    name, _, source = ask.partition("=")
    return name.strip(), source.strip()


def with_default_sources(names: Iterable[str], preset: str) -> list[str]:
    """What to load for experts a person names: one without a source takes the one it has in the preset.

    Args:
        names: `name` or `name=source`.
        preset: under "neural" an expert that can be a network is one.

    Returns:
        `name` or `name=source` for each, as `load` takes them.
    """
    found = []
    for ask in names:
        name, source = split_source(ask)
        takes_network = preset == "neural" or name not in BUILT_IN
        network = (PRESET.get(name) or ON_REQUEST.get(name)) if takes_network else None
        found.append(f"{name}={network}" if not source and network else ask)
    return found


def load(names: Iterable[str]) -> list[Expert]:
    """Make the experts of these names, in this order; call `prepare` before using them.

    Args:
        names: `name` or `name=source`.

    Raises:
        LookupError: no expert of such a name is installed; the message lists those that are.
        WeightsError: the weights of a network are not on this machine or cannot be used; its hint says what to run.
        ValueError: a name was given twice, or what its package announces cannot be imported or is no expert.
    """
    wanted, known = [split_source(ask) for ask in names], installed()
    only = [name for name, _ in wanted]
    for name in only:
        # One more of a family under its own name: `dual-sound` of `dual`.
        family, dash, own = name.partition("-")
        if name not in known and family in FAMILIES and dash and own.replace("-", "").isalnum():
            known[name] = known[family]
    # The name is the key of the features in the store: two sources of one expert cannot lie side by side.
    if twice := sorted({name for name in only if only.count(name) > 1}):
        raise ValueError(f"expert {twice[0]!r} is asked for more than once")
    if missing := [name for name in only if name not in known]:
        near = difflib.get_close_matches(missing[0], known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise LookupError(f"no expert is called {missing[0]!r}; {meant}there are: {', '.join(known)}")
    return [_make(name, known[name], source) for name, source in wanted]


def _make(name: str, found: InstalledExpert, source: str) -> Expert:
    """The expert itself, seen to be one.

    Raises:
        WeightsError: see `load`.
        ValueError: see `load`.
    """
    value = found.value
    if found.package == "hcq" and source:
        value = WITH_SOURCE[found.name]
    where = f"expert {name!r} of package {found.package} ({value})"
    try:
        make = EntryPoint(name, value, GROUP).load()
        expert = make(*([source] if source else []))
    except WeightsError:
        raise
    except Exception as error:  # whatever a foreign module does on import or construction
        raise ValueError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    # Looked up on the class first: `hasattr` on the object would compute a property, and some read large files.
    parts = [part for part in Expert.__annotations__ if not hasattr(type(expert), part) and not hasattr(expert, part)]
    parts += [part for part in ("prepare", "extract") if not callable(getattr(expert, part, None))]
    if parts:
        raise ValueError(f"{where} is no expert: it has no {', '.join(parts)}")
    if found.name != name:  # one more of a family
        expert.name = name
    if expert.name != name:
        raise ValueError(f"{where} calls itself {expert.name!r}: name and entry point must agree")
    made: Expert = expert
    return made
