"""What functions print that are called in this process, several at once: to each call its own words, and the gate keeps its own.

`sys.stdout` and `sys.stderr` are one for all threads, so that whoever replaces them for a call takes the words of all others, and
two that overlap leave the wrong one behind. While any call runs, a stream stands there that asks which thread prints.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rosetta_ref.gate.converter.output import Said

#: How the threads of the gate are called, which begin while calls run.
OURS = "rosetta-gate"
_NAMES = ("stdout", "stderr")


class Writer(io.TextIOBase):
    """A stream that keeps as much of the text as of a program's."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self) -> None:
        self.said = Said()
        self.buffer = _Bytes(self.said)

    def writable(self) -> bool:
        """It is."""
        return True

    def reconfigure(self, **_: Any) -> None:
        """A program may ask for another encoding; what is kept is read as UTF-8."""

    def write(self, text: str) -> int:
        """Take text."""
        self.said.add(text.encode("utf-8", "backslashreplace"))
        return len(text)


class _Bytes(io.RawIOBase):
    """The same for whoever prints bytes."""

    def __init__(self, said: Said) -> None:
        self._said = said

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._said.add(piece)
        return len(piece)


class _Split:
    """Stands for a stream: what a call prints goes to its writer, and all else where it went before."""

    def __init__(self, calls: _Calls, place: int, before: Any) -> None:
        self._calls, self._place, self.before = calls, place, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._calls.writers()[self._place] if self._calls.prints() else self.before, name)

    def __iter__(self) -> Iterator[str]:
        return iter(())


class _Calls:
    """The calls that run, by thread, and the streams that were there before the first of them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._running: dict[threading.Thread, tuple[Writer, Writer]] = {}
        self._asking = 0
        self._before: tuple[Any, ...] = ()
        self._known: frozenset[threading.Thread] = frozenset()
        self._nobody = (Writer(), Writer())

    def prints(self) -> bool:
        """Whether the thread that asks is a call, or was begun by one: neither of the gate, nor there before."""
        thread = threading.current_thread()
        if thread in self._running:
            return True
        ours = thread is threading.main_thread() or thread in self._known or thread.name.startswith(OURS)
        return bool(self._running) and not ours

    def writers(self) -> tuple[Writer, Writer]:
        """Those of the call. What a thread prints that one of several calls has begun is nobody's: it cannot be told whose."""
        with self._lock:
            found = self._running.get(threading.current_thread())
            if found is None:
                found = next(iter(self._running.values())) if len(self._running) == 1 else self._nobody
            return found

    def begin(self, thread: threading.Thread, writers: tuple[Writer, Writer]) -> None:
        with self._lock:
            if not self._asking:
                self._forget()
                self._known = frozenset(threading.enumerate())
                now = tuple(getattr(sys, name) for name in _NAMES)
                self._before = tuple(each.before if isinstance(each, _Split) else each for each in now)
            self._running[thread] = writers
            self._asking += 1
            self._place()

    def end(self, thread: threading.Thread) -> None:
        """A call that is over is forgotten; one that was left to itself prints to its own writer until it ends."""
        with self._lock:
            self._asking -= 1
            if not thread.is_alive():
                del self._running[thread]
            if not self._asking:
                self._forget()
            self._place()

    def _forget(self) -> None:
        self._running = {thread: each for thread, each in self._running.items() if thread.is_alive()}

    def _place(self) -> None:
        """Whatever a call has put there itself, and two calls in turn may leave it behind: afterwards all is as it was."""
        for place, (name, before) in enumerate(zip(_NAMES, self._before, strict=True)):
            setattr(sys, name, _Split(self, place, before) if self._running else before)


_CALLS = _Calls()


@contextmanager
def captured(thread: threading.Thread) -> Iterator[tuple[Writer, Writer]]:
    """What that thread prints, which is not begun yet, and the threads that it begins: standard output, and standard error."""
    writers = (Writer(), Writer())
    _CALLS.begin(thread, writers)
    try:
        yield writers
    finally:
        _CALLS.end(thread)
