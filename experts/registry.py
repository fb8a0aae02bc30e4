"""Which experts there are: the classic ones, and those that other packages announce.

    experts = load(["appearance", "motion"])
    experts = load(presets["classic"])

A package adds an expert with an entry point in the group `hcq.experts` whose name is the expert's and whose
value is its class (or anything that gives an `Expert` when called without arguments).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from experts.base import Expert

GROUP = "hcq.experts"

presets: dict[str, list[str]] = {"classic": ["appearance", "motion", "audio", "face"]}
"""Named sets of experts, each in the order in which it is run."""

BUILT_IN: dict[str, str] = {
    "appearance": "experts.appearance:Appearance",
    "motion": "experts.motion:Motion",
    "audio": "experts.audio:Audio",
    "face": "experts.face:Face",
}


@dataclass(frozen=True)
class Announced:
    """An expert that can be loaded by its name.

    Args:
        name: what it is asked for by.
        value: "module:object" that makes it.
        package: the distribution that announces it; "hcq" for those that come with hcq.
    """

    name: str
    value: str
    package: str


def announced() -> dict[str, Announced]:
    """Every expert that is installed, by name, without importing any.

    Raises:
        ValueError: two packages announce the same name, or one takes the name of a built-in expert.
    """
    known = {name: Announced(name, value, "hcq") for name, value in BUILT_IN.items()}
    for point in entry_points(group=GROUP):
        other = Announced(point.name, point.value, point.dist.name if point.dist else "?")
        if known.setdefault(point.name, other) != other:
            packages = f"{known[point.name].package} and {other.package}"
            raise ValueError(f"expert {point.name!r} is announced by both {packages}: uninstall one of them")
    return known


def load(names: Iterable[str]) -> list[Expert]:
    """Make the experts of these names, in this order; call `prepare` before using them.

    Raises:
        LookupError: no expert of such a name is installed; the message lists those that are.
        ValueError: a name was given twice, or what its package announces cannot be imported or is no expert.
    """
    wanted, known = list(names), announced()
    twice = sorted({name for name in wanted if wanted.count(name) > 1})
    if twice:
        raise ValueError(f"expert {twice[0]!r} is asked for more than once")
    missing = [name for name in wanted if name not in known]
    if missing:
        raise LookupError(f"no expert is called {missing[0]!r}; there are: {', '.join(known)}")
    return [_make(known[name]) for name in wanted]


def _make(source: Announced) -> Expert:
    where = f"expert {source.name!r} of package {source.package} ({source.value})"
    try:
        expert = EntryPoint(source.name, source.value, GROUP).load()()
    except Exception as error:  # whatever a foreign module does on import or construction
        raise ValueError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    lacking = [part for part in Expert.__annotations__ if not hasattr(expert, part)]
    lacking += [part for part in ("prepare", "extract") if not callable(getattr(expert, part, None))]
    if lacking:
        raise ValueError(f"{where} is no expert: it has no {', '.join(lacking)}")
    if expert.name != source.name:
        raise ValueError(f"{where} calls itself {expert.name!r}: name and entry point must agree")
    return expert
