"""The worker process: takes one video at a time, decodes it once, puts its features into the store.

Run by child.py as `python -P -m hcq_cli.extraction.worker`; executor.py is what the two say to each other. It runs
in one thread, as there are as many workers as cores. It ends when its parent does, however that ends: the kernel
kills it with the parent (Linux), and the end of its stdin ends it anywhere.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experts.base import Expert
    from hcq_cli.extraction.executor import Answer, Job, Setup
    from hcq_cli.extraction.pipeline import Extracted
    from hcq_cli.media.decoder import Decoder

SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_PR_SET_PDEATHSIG = 1


def _die_with(parent: int | None = None) -> None:
    """Ask the kernel to be killed with the parent; leave at once if it is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _take_over_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Keep stdin and stdout for the protocol; what native libraries print goes where stderr goes."""
    words_in, words_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return os.fdopen(words_in, "rb"), os.fdopen(words_out, "wb", buffering=0)


def _listen(words: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Pass on the parent's lines; its end is ours, even in the middle of a video."""
    for text in words:
        lines.put(text)
    os._exit(0)


def _limit_memory(limit_bytes: int) -> None:
    import resource

    if limit_bytes:
        # Not RLIMIT_AS: mapping a large read-only file (weights, the video itself) is no use of memory.
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _prepared(setup: Setup, alive: Callable[[], None]) -> dict[str, Expert]:
    import cv2

    from experts.neural.expert import NetworkExpert
    from experts.registry import load
    from hcq_cli.extraction.extract import sampled
    from hcq_cli.extraction.remote import RemoteNetwork

    cv2.setNumThreads(1)
    experts = sampled(load(setup.experts), setup.sample_fps)
    for expert in experts:
        if setup.inference and isinstance(expert, NetworkExpert):
            expert.prepare_gathering()
            expert.network = RemoteNetwork(setup.inference, expert.name, alive)
        else:
            expert.prepare(setup.device)
    return {expert.name: expert for expert in experts}


def _extract(
    job: Job, experts: list[Expert], decoders: list[Decoder], setup: Setup, opened: Callable[[float], None]
) -> Answer:
    from hcq_cli.extraction.pipeline import decode_video, extract_video
    from hcq_cli.features.store import VideoFeatures, write_incoming
    from hcq_cli.features.words import write_words

    begun = time.monotonic()
    if setup.decode_only:
        return _answer(decode_video(job.path, decoders), time.monotonic() - begun)
    found = extract_video(job.path, experts, decoders, setup.max_seconds, opened)
    now = Path(job.path).stat()
    if (now.st_size, now.st_mtime_ns) != (job.size, job.mtime_ns):
        found = replace(found, error="it was changed while it was being read", lasting=False)
    if found.error is None:
        warnings = [f"{r.expert}: {r.message}" if r.expert else r.message for r in found.remarks]
        video = VideoFeatures(
            job.id,
            job.path,
            job.content_hash,
            job.size,
            job.mtime_ns,
            found.duration_s,
            found.decoder,
            warnings,
            found.tokens,
            job.identities,
        )
        write_words(Path(setup.store), video)
        write_incoming(Path(setup.store), video)
    return _answer(found, time.monotonic() - begun)


def _answer(found: Extracted, seconds: float) -> Answer:
    from hcq_cli.extraction.executor import Answer

    states = {name: str(tokens.state) for name, tokens in found.tokens.items()}
    warnings = [(remark.expert, remark.message) for remark in found.remarks]
    return Answer(
        found.error,
        found.lasting,
        states,
        warnings,
        found.decoder,
        found.duration_s,
        found.packets,
        found.frames,
        seconds,
    )


def _serve(lines: queue.SimpleQueue[bytes], words: IO[bytes]) -> None:
    from hcq_cli.errors import HcqError
    from hcq_cli.extraction import executor as protocol
    from hcq_cli.media.decoder import chain

    setup = protocol.Setup(**protocol.parse(lines.get()))
    _die_with(setup.parent)
    _limit_memory(setup.memory_bytes)

    def alive() -> None:
        words.write(protocol.line({"alive": True}))

    try:
        experts, decoders = _prepared(setup, alive), chain(setup.decoder)
    except Exception as error:
        hint = getattr(error, "hint", "")
        reason = str(error) if hint else f"{type(error).__name__}: {error}"
        words.write(protocol.line({"error": reason, "hint": hint}))
        return
    words.write(protocol.line({"ready": True}))

    def opened(duration_s: float) -> None:
        words.write(protocol.line({"duration_s": duration_s}))

    while True:
        job = protocol.Job(**protocol.parse(lines.get()))
        try:
            answer = _extract(job, [experts[name] for name in job.experts], decoders, setup, opened)
        except MemoryError:
            words.write(protocol.line({"memory": True}))
            return  # a fresh process starts with fresh memory
        except HcqError as error:  # the store cannot be written, a network is lost: no other video will fare better
            words.write(protocol.line({"fatal": error.message, "hint": error.hint}))
            continue
        except Exception as error:
            answer = _broken(error)
        words.write(protocol.line(answer))


def _broken(error: Exception) -> Any:
    from hcq_cli.extraction.executor import Answer

    reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    return Answer(error=reason, lasting=False)


def main() -> None:
    """Serve until the parent has no more jobs."""
    _die_with()
    for name in SINGLE_THREADED:
        os.environ[name] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"  # whatever an expert loads is on this machine, or is missing
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    words_in, words_out = _take_over_streams()
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(words_in, lines), daemon=True).start()
    _serve(lines, words_out)
    os._exit(0)


if __name__ == "__main__":
    main()
