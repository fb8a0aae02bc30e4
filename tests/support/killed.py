"""A process that is killed at one chosen call to the system, as a machine may lose it at any instant."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence


def killed_at(
    step: int,
    action: Callable[[], object],
    calls: Sequence[str],
    also: Callable[[Callable[[], bool]], None] = lambda due: None,
) -> bool:
    """Run `action` in a child that is killed at its `step`-th call, counted from 1; False where it ends before.

    Args:
        step: which call; it does not come to pass.
        action: what the child does; it must not fail by itself.
        calls: names of functions of `os` that count.
        also: called in the child, to have more counted: what it is given says whether the kill is due, once a call.
    """
    child = os.fork()
    if child == 0:
        left = [step]

        def due() -> bool:
            left[0] -= 1
            return left[0] == 0

        def deadly(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                if due():
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)

            return call

        for name in calls:
            setattr(os, name, deadly(getattr(os, name)))
        also(due)
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"the child failed at step {step}"
    return os.WIFSIGNALED(status)
