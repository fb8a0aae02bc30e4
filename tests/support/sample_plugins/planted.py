"""Decoders and experts that misbehave on files whose names ask for it; on PYTHONPATH, it looks installed."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from experts.base import Clip, Sampling, State, Tokens
from experts.neural.expert import NetworkExpert, PreparedInputs
from hcq_cli.media.pyav import PyAVDecoder


class Mischief(PyAVDecoder):
    """PyAV, except that some files spin, crash, take all memory or print into the middle of everything."""

    name = "mischief"

    def open(self, path, see, hear_hz):
        name = Path(path).name
        if name.startswith("spin"):
            while True:
                pass
        if name.startswith("hold"):  # the lock of the interpreter, as a hang in native code does
            ctypes.PyDLL(None).sleep(1000)
        if name.startswith("crash"):
            ctypes.string_at(0)
        if name.startswith("deafening") and hear_hz:
            ctypes.string_at(0)
        if name.startswith("greedy"):
            bytearray(1 << 33)
        if name.startswith("murder"):  # as a machine that is short of memory does
            os.kill(os.getppid(), signal.SIGKILL)
        if name.startswith("leave"):
            os._exit(7)
        if name.startswith("chatter"):
            os.write(1, b'{"error": "said by a library"}\n' * 100)
            for handle in range(3, 64):  # wherever the messages to the parent may go
                with suppress(OSError):
                    if stat.S_ISFIFO(os.fstat(handle).st_mode):
                        os.write(handle, b'{"outcome": {}}\n{"duration_s": "x", "number": 0}\n["x"]\n7\nhalf a line')
            print("more of it", flush=True)
            print("and on stderr", file=sys.stderr, flush=True)
        return super().open(path, see, hear_hz)


class Slow(PyAVDecoder):
    """PyAV, after a moment."""

    name = "slow"

    def open(self, path, see, hear_hz):
        time.sleep(float(os.environ.get("SLOW_S", "0.2")))
        with open(os.environ["OPENED_LOG"], "a") as log:  # one line a decoding
            log.write(Path(path).name + "\n")
        return super().open(path, see, hear_hz)


class Colour:
    """The mean colour of each frame."""

    name, dim, weights = "colour", 3, ""
    sampling = Sampling(frames_per_second=2.0, max_side=64)

    def __init__(self) -> None:
        self.version = os.environ.get("COLOUR_VERSION", "1")

    def prepare(self, device: str) -> None:
        pass

    def extract(self, clip: Clip) -> Tokens:
        frames = clip.frames(self.sampling)
        if not len(frames):
            return Tokens.none(3, State.NO_FRAMES)
        return Tokens(frames.images.mean((1, 2)).astype(np.float32), frames.times)


class Fragile(Colour):
    """Breaks on frames that are wider than high."""

    name = "fragile"

    def extract(self, clip: Clip) -> Tokens:
        frames = clip.frames(self.sampling)
        if frames.images.shape[2] > frames.images.shape[1] and os.environ.get("FRAGILE") != "no":
            raise RuntimeError("too wide for me")
        return super().extract(clip)


class Plodding(NetworkExpert):
    """The mean colour, by a network that takes its time and tells NETWORK_LOG what it ran: a JSON line a batch."""

    name, dim, weights, source = "plodding", 3, "1", "planted"
    licence, cost = "none", "time"
    sampling = Sampling(frames_per_second=2.0, max_side=64)

    def load_preprocessor(self) -> None:
        pass

    def load_network(self, device: str) -> Plodding:
        return self

    def preprocess(self, clip: Clip) -> PreparedInputs | State:
        frames = clip.frames(self.sampling)
        if not len(frames):
            return State.NO_FRAMES
        worker = np.full((len(frames), 1), os.getpid())
        return PreparedInputs({"x": np.hstack([frames.images.mean((1, 2)), worker])}, frames.times)

    def run(self, inputs):
        told = {"process": os.getpid(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
        told["workers"] = sorted(set(inputs["x"][:, 3].tolist()))
        told["opened"] = len(Path(os.environ["OPENED_LOG"]).read_text().split())
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(json.dumps(told) + "\n")
        time.sleep(float(os.environ.get("NETWORK_S", "1")))
        return inputs["x"][:, :3].astype(np.float32)
