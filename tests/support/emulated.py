"""Kernels of processors that are not at hand, from their own source.

AVX-512: each instruction emulated by the SIMDe headers (Debian's libsimde-dev).
NEON: a program for aarch64, run by qemu (gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user).
Where these are not installed, or not needed, there is nothing here to test.
"""

from __future__ import annotations

import atexit
import importlib.util
import platform
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import hcq_cli.scan
from hcq_cli.scan.blocks import Blocks
from hcq_cli.scan.kernels import NativeKernel, kernels
from hcq_cli.scan.topk import Kernel, TopK, Visits

SOURCES = Path(hcq_cli.scan.__file__).parent / "native"
PROCESS = Path(__file__).parent / "scan_process.c"
IN_PLACE_OF = {  # in sums.c
    "#include <immintrin.h>": (
        "#include <immintrin.h>\n#define SIMDE_ENABLE_NATIVE_ALIASES\n#include <simde/x86/avx512.h>"
    ),
    'target("avx512f,avx512bw,avx512vbmi")': 'target("avx2")',
    '__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw")': "1",
    '#define HOLD(x) __asm__("" : "+v"(x))': "#define HOLD(x) (void)(x)",
}


class EmulatedKernel:
    """A kernel, compiled when it is first asked for something."""

    def __init__(self, of: str, compiled: Callable[[], Any]) -> None:
        self.name, self._of, self._compiled = f"{of}-emulated", of, compiled

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> list[TopK]:
        return NativeKernel(self._compiled(), self._of).topk(blocks, tables, k)

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        return NativeKernel(self._compiled(), self._of).visit(blocks, tables, k, visits)


def emulated_kernels() -> Sequence[Kernel]:
    """Those that can be compiled and run here, and that the processor does not have itself."""
    here, found = kernels(), []
    if "avx2" in here and "avx512" not in here and _compiles("gcc", "simde/x86/avx512.h", "Python.h"):
        found.append(EmulatedKernel("avx512", _avx512_module))
    cross = "aarch64-linux-gnu-gcc"
    if platform.machine() == "x86_64" and shutil.which("qemu-aarch64") and _compiles(cross, "arm_neon.h", "stdio.h"):
        found.append(EmulatedKernel("neon", _neon_process))
    return found


def _compiles(compiler: str, *headers: str) -> bool:
    if not shutil.which(compiler):
        return False
    includes = [word for header in headers for word in ("-include", header)]
    includes.append(f"-I{sysconfig.get_paths()['include']}")
    return not subprocess.run([compiler, "-E", *includes, "-x", "c", "/dev/null"], capture_output=True).returncode


def _temporary_folder() -> Path:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def _avx512_module() -> ModuleType:
    folder = _temporary_folder()
    source = (SOURCES / "sums.c").read_text()
    for ours, emulated in IN_PLACE_OF.items():
        assert source.count(ours) == 1, f"sums.c no longer says {ours!r}"
        source = source.replace(ours, emulated)
    sums, module = folder / "sums.c", folder / "_scan.so"
    sums.write_text(source)
    others = [path for path in SOURCES.glob("*.c") if path.name not in (sums.name, "transpose.c")]
    headers = [SOURCES, sysconfig.get_paths()["include"]]
    command = ["gcc", "-O2", "-mavx2", "-shared", "-fPIC", *(f"-I{place}" for place in headers), "-o", module]
    subprocess.run([*command, sums, *others, "-lm"], check=True)
    spec = importlib.util.spec_from_file_location("_scan", module)
    assert spec and spec.loader
    compiled = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compiled)
    return compiled


@cache
def _neon_process() -> _Process:
    program = _temporary_folder() / "scan"
    sources = [path for path in SOURCES.glob("*.c") if path.name not in ("module.c", "transpose.c")]
    command = ["aarch64-linux-gnu-gcc", "-O3", "-static", f"-I{SOURCES}", "-o", program, PROCESS, *sources, "-lm"]
    subprocess.run(command, check=True)
    return _Process(["qemu-aarch64", str(program)])


class _Process:
    """What `_scan` is to Python, by a program that is given everything and gives everything back."""

    def __init__(self, command: list[str]) -> None:
        self._command = command

    def scan(
        self,
        kernel: str,
        codes: np.ndarray,
        slots: int,
        S: int,
        tables: np.ndarray,
        Q: int,
        K: int,
        dead: np.ndarray | None,
        order: np.ndarray | None,
        videos: np.ndarray | None,
        visits: np.ndarray | None,
        askers: np.ndarray | None,
        scores: np.ndarray,
        rows: np.ndarray,
        found_videos: np.ndarray | None,
        counts: np.ndarray,
        k: int,
    ) -> None:
        lengths = [-1 if each is None else len(each) for each in (visits, askers, dead)]
        sizes = np.array([S, Q, K, k, slots, *lengths, order is not None, videos is not None], np.int64)
        given = [sizes, codes, tables, visits, askers, dead, order, videos]
        sent = b"".join(each.tobytes() for each in given if each is not None)
        answer = subprocess.run([*self._command, kernel], input=sent, stdout=subprocess.PIPE, check=True).stdout
        counts[:] = np.frombuffer(answer, np.int64, Q)
        scores.reshape(-1)[:] = np.frombuffer(answer, np.float64, Q * k, 8 * Q)
        rows.reshape(-1)[:] = np.frombuffer(answer, np.int64, Q * k, 8 * Q * (1 + k))
        if found_videos is not None:
            found_videos.reshape(-1)[:] = np.frombuffer(answer, np.uint32, Q * k, 8 * Q * (1 + 2 * k))
