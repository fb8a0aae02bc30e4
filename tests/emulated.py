"""The AVX-512 kernel on a processor that lacks it: its own source, each instruction emulated by the SIMDe headers.

They are Debian's libsimde-dev; where they are not installed, or not needed, there is nothing here to test.
"""

from __future__ import annotations

import atexit
import importlib.util
import platform
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

import hcq_cli.search
from hcq_cli.search.blocks import Blocks
from hcq_cli.search.kernel import kernels
from hcq_cli.search.native_scan import NativeKernel
from hcq_cli.search.topk import Kernel, TopK, Visits

SOURCES = Path(hcq_cli.search.__file__).parent
IN_PLACE_OF = {  # in _scan_sums.c
    "#include <immintrin.h>": (
        "#include <immintrin.h>\n#define SIMDE_ENABLE_NATIVE_ALIASES\n#include <simde/x86/avx512.h>"
    ),
    'target("avx512f,avx512bw,avx512vbmi")': 'target("avx2")',
    '__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw")': "1",
    '#define HOLD(x) __asm__("" : "+v"(x))': "#define HOLD(x) (void)(x)",
}


class EmulatedKernel:
    """The kernel, compiled when it is first asked for something."""

    name = "avx512-emulated"

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> TopK:
        return NativeKernel(_compiled(), "avx512").topk(blocks, tables, k)

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        return NativeKernel(_compiled(), "avx512").visit(blocks, tables, k, visits)


def emulated_kernels() -> Sequence[Kernel]:
    """The emulated kernel, where it can be compiled and the processor has no such kernel of its own."""
    can = "avx2" in kernels() and "avx512" not in kernels() and platform.machine() == "x86_64" and shutil.which("gcc")
    if not can:
        return []
    found = subprocess.run(
        ["gcc", "-E", "-include", "simde/x86/avx512.h", "-x", "c", "/dev/null"], capture_output=True
    )
    return [] if found.returncode else [EmulatedKernel()]


@cache
def _compiled() -> ModuleType:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    source = (SOURCES / "_scan_sums.c").read_text()
    for ours, emulated in IN_PLACE_OF.items():
        assert source.count(ours) == 1, f"_scan_sums.c no longer says {ours!r}"
        source = source.replace(ours, emulated)
    sums, module = Path(folder.name, "_scan_sums.c"), Path(folder.name, "_scan.so")
    sums.write_text(source)
    others = [path for path in SOURCES.glob("_scan*.c") if path.name != sums.name]
    headers = [SOURCES, sysconfig.get_paths()["include"]]
    command = ["gcc", "-O2", "-mavx2", "-shared", "-fPIC", *(f"-I{place}" for place in headers), "-o", module]
    subprocess.run([*command, sums, *others, "-lm"], check=True, capture_output=True)
    spec = importlib.util.spec_from_file_location("_scan", module)
    assert spec and spec.loader
    compiled = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compiled)
    return compiled
