"""Foreign libraries are asked in a forked child: they may end their process, run long or take all memory.

A fork has the libraries already, so that a small question takes some ms.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds that a child may take, and bytes that are read of what it says.
_SECONDS, _MOST = 60, 64 << 20


@dataclass(frozen=True)
class Said:
    """How a child ended (0: well; minus a signal), what it answered, and what it printed."""

    code: int
    answer: bytes
    log: str


def can_fork() -> bool:
    """Whether the system has children of this kind."""
    return hasattr(os, "fork")


def ask(work: Callable[[], bytes]) -> Said:
    """What `work` returns in a child. Whatever it raises, a panic of Rust too, is printed and gives another code than 0."""
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as answer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, none of which the child needs
            child = os.fork()
        if not child:
            _answer(work, log.fileno(), answer.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in (log, answer):
            file.seek(0)
        return Said(code, answer.read(_MOST), log.read(_MOST).decode("utf-8", "replace"))


def _answer(work: Callable[[], bytes], log: int, answer: int) -> None:
    """In the child: never returns."""
    code = 1
    try:
        faulthandler.disable()  # it would print to the parent's
        for stream in (1, 2):
            os.dup2(log, stream)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_SECONDS)
        with os.fdopen(answer, "wb", closefd=False) as file:
            file.write(work())
        code = 0
    except BaseException as error:  # noqa: BLE001 - pyo3's PanicException is no Exception, and the child ends here
        os.write(log, f"\n{type(error).__name__}: {error}".encode("utf-8", "replace"))
    finally:
        os._exit(code)
