"""The machine: processor, memory, accelerators, scan kernel, disk, caches of pretrained networks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hcq_cli import __version__
from hcq_cli.cores import cores
from hcq_cli.doctor import Finding, Health
from hcq_cli.doctor.child_checks import SCAN_KERNEL
from hcq_cli.doctor.package_checks import run_in_child

PART = "machine"
INSTRUCTION_SETS = ("avx", "avx2", "avx512f", "avx512bw", "avx512vbmi", "avx512_vnni", "neon", "asimd", "sve")
LEAST_FREE_BYTES = 200 << 20
"""Below this no training can write its checkpoints."""
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Set to something true, they keep the hub's client from the network."""


def check_python() -> list[Finding]:
    """The interpreter and hcq itself."""
    version = platform.python_version()
    fits = sys.version_info >= (3, 11)
    health = Health.OK if fits else Health.BROKEN
    detail = f"{version} ({sys.executable})" + ("" if fits else "; hcq takes 3.11 and newer")
    repair = "" if fits else "install Python 3.11 or newer"
    where = Path(__file__).resolve().parent.parent
    return [
        Finding("python", "hcq", Health.OK, f"{__version__} ({where})", required=True),
        Finding("python", "python", health, detail, required=True, repair=repair),
    ]


def check_machine(torch_facts: Mapping[str, Any] | None, folder: Path) -> list[Finding]:
    """Processor, memory, accelerators, scan kernel, disk, and the cache of pretrained networks.

    Args:
        torch_facts: what torch told when it was tried; None if it does not work.
        folder: where hcq will write.
    """
    return [
        _processor(),
        _memory(),
        *_accelerators(torch_facts),
        _kernel(),
        _disk(folder),
        *check_caches(),
    ]


def instruction_sets() -> list[str]:
    """Those of `INSTRUCTION_SETS` that the processor has; empty where the system does not say (macOS)."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return []
    # x86 calls the line "flags", Arm "Features".
    flags = next((line.split(":", 1)[1].split() for line in text.splitlines() if line[:5] in ("flags", "Featu")), [])
    return [name for name in INSTRUCTION_SETS if name in flags]


def _processor() -> Finding:
    sets = " ".join(instruction_sets()) or "instruction sets unknown"
    return Finding(PART, "processor", Health.OK, f"{platform.machine()}, {cores()} cores for hcq; {sets}")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return Finding(PART, "memory", Health.OK, "size unknown")
    return Finding(PART, "memory", Health.OK, f"{total / 2**30:.1f} GiB")


def _accelerators(facts: Mapping[str, Any] | None) -> list[Finding]:
    if facts is None:
        return [Finding(PART, "cuda", Health.MISSING, "unknown, because torch does not work")]
    if facts.get("cuda"):
        found = [Finding(PART, "cuda", Health.OK, ", ".join(facts["cuda"]))]
    elif facts.get("cuda_build"):
        found = [Finding(PART, "cuda", Health.MISSING, "no CUDA device; hcq runs on the processor")]
    else:
        found = [Finding(PART, "cuda", Health.MISSING, "torch is built without CUDA; hcq runs on the processor")]
    if sys.platform == "darwin":
        health = Health.OK if facts.get("mps") else Health.MISSING
        found.append(Finding(PART, "mps", health, "Apple GPU" if facts.get("mps") else "no Apple GPU for torch"))
    return found


def _kernel() -> Finding:
    """Run every scan kernel on a few codes, in a process of its own."""
    name, outcome = SCAN_KERNEL, run_in_child(SCAN_KERNEL)
    if "error" in outcome:
        repair = outcome.get("hint") or "HCQ_KERNEL=numpy"
        return Finding(PART, name, Health.BROKEN, outcome["error"], required=True, repair=repair)
    if outcome["wrong"]:
        detail = f"{', '.join(outcome['wrong'])} give wrong answers (right: {', '.join(outcome['right'])})"
        repair = f"export HCQ_KERNEL={outcome['right'][0]}" if outcome["right"] else "reinstall numpy"
        # A kernel that is wrong and not used does no harm until somebody names it in HCQ_KERNEL.
        used = outcome["used"] in outcome["wrong"]
        return Finding(PART, name, Health.BROKEN, detail, required=used, repair=repair)
    others = [other for other in outcome["right"] if other != outcome["used"]]
    detail = outcome["used"] + (f" (also {', '.join(others)})" if others else "")
    return Finding(PART, name, Health.OK, detail, required=True)


def _disk(folder: Path) -> Finding:
    """Free space where hcq will write."""
    # The folder may not be there yet: what counts is the nearest one above it that is.
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    detail = f"{free / 2**30:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        detail, repair = f"{place} is not writable", "hcq -w DIR, with a DIR that is"
        return Finding(PART, "disk", Health.BROKEN, detail, required=True, repair=repair)
    if free < LEAST_FREE_BYTES:
        repair = "free some space, or use hcq -w DIR elsewhere"
        return Finding(PART, "disk", Health.BROKEN, detail, required=True, repair=repair)
    return Finding(PART, "disk", Health.OK, detail, required=True)


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it has fetched."""
    # By its rules but without importing it: the doctor must speak where that package is broken.
    if os.environ.get("HF_HUB_CACHE"):
        return _at_home(Path(os.environ["HF_HUB_CACHE"]))
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(os.environ.get("HF_HOME") or caches / "huggingface")
    return _at_home(home) / "hub"


def _at_home(path: Path) -> Path:
    with suppress(RuntimeError):  # no home is known: huggingface_hub takes ~ for a name then
        return path.expanduser()
    return path


def check_caches() -> list[Finding]:
    """The cache of pretrained networks, and whether the network may be used."""
    cache = hub_cache()
    try:
        models = sorted(path.name for path in cache.glob("models--*"))
    except OSError as error:
        repair = f"chmod u+rwx {cache}"
        return [Finding(PART, "network cache", Health.BROKEN, f"{cache}: {error.strerror}", repair=repair)]
    there = f"{len(models)} pretrained networks in {cache}" if models else f"empty ({cache})"
    switched = [name for name in OFFLINE_VARIABLES if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")]
    online = (
        f"off: {switched[0]} is set" if switched else "pretrained networks may be fetched (by hcq models fetch alone)"
    )
    return [
        Finding(PART, "network cache", Health.OK, there),
        Finding(PART, "hub", Health.OK, online),
    ]
