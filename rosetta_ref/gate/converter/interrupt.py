"""The converters that run at this moment, so that whoever is interrupted need not wait for their time limits."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from rosetta_ref.gate.converter.streams import OURS

#: Process groups that were started and are not reaped yet: their numbers are their own.
GROUPS: set[int] = set()
#: Set while everything is being ended.
ENDING = threading.Event()


def kill(group: int) -> None:
    """Kill a process group, if there is one; where there are no groups, the process of that number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(group, signal.SIGKILL)
        else:  # Windows
            os.kill(group, signal.SIGTERM)


@contextlib.contextmanager
def at_once(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for so many conversions at once. Interrupted, it begins no other, and those that run are killed."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=OURS)
    try:
        yield pool
    except BaseException:
        ENDING.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for group in tuple(GROUPS):
            kill(group)
        raise
    finally:
        pool.shutdown()
        ENDING.clear()
