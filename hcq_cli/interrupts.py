"""How an interrupt (Ctrl-C) ends hcq: with exit code 130, within two seconds, whatever it is at.

Python turns an interrupt into a KeyboardInterrupt when its main thread is back from what it has called. Before
`app.main` can catch one there are the imports; and what has been called may take minutes (a product of matrices, a
thread that is waited for). All that hcq writes may be cut off at any instant, so it need not be waited for.
"""

import os
import signal
import threading
import time

from hcq_cli.errors import EXIT_INTERRUPTED

LONGEST_S = 1.5
"""For what ends by itself, with its children, in an orderly way."""
MESSAGE = "interrupted; run the same command again to go on"
_STOP = b"\0"

happened = False
"""Whether there was an interrupt: what fails after one fails because of it."""
_watching: tuple[threading.Thread, int] | None = None
"""Ends what does not end by itself, and where it is told to stop."""


def leave_at_once() -> None:
    """From here on an interrupt ends the process there and then; for where nothing is running, at start and end."""
    global _watching
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGINT, _leave)
    if _watching is not None and not happened:
        signal.set_wakeup_fd(-1)
        os.write(_watching[1], _STOP)
        _watching[0].join()
        os.close(_watching[1])
        _watching = None


def end_in_time() -> None:
    """From here on an interrupt is a KeyboardInterrupt, and the end `LONGEST_S` later; a second one is the end."""
    global _watching
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    listening, telling = os.pipe()
    os.set_blocking(telling, False)
    # The handler in C writes a byte at once, while the one below has to wait for the main thread.
    signal.set_wakeup_fd(telling, warn_on_full_buffer=False)
    _watching = threading.Thread(target=_end_after_interrupt, args=(listening,), daemon=True), telling
    _watching[0].start()
    signal.signal(signal.SIGINT, _interrupt)


def _interrupt(*_: object) -> None:
    global happened
    happened = True
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _end_after_interrupt(listening: int) -> None:
    told = b""
    while told not in (bytes([signal.SIGINT]), _STOP):
        told = os.read(listening, 1)
    if told != _STOP:  # left open: where a library raises the signal once more, its byte must go somewhere
        time.sleep(LONGEST_S)
        _leave()
    os.close(listening)


def _leave(*_: object) -> None:
    try:
        os.write(2, f"warning: {MESSAGE}\n".encode())
    finally:
        os._exit(EXIT_INTERRUPTED)
