"""What a program said: the beginning and the end of it, and whether there was a panic anywhere."""

from __future__ import annotations

import re

#: Bytes that are kept of the beginning, and of the end, of what a program prints.
KEPT = 32 << 10

#: How a program says that it fell, whatever exit code it gives: Python, Rust, Go.
_PANIC = re.compile(
    rb"Traceback \(most recent call last\)"
    rb"|^thread '[^'\n]*' (?:\(\d+\) )?panicked at"
    rb"|^panic: "
    rb"|^fatal error: "
    rb"|^goroutine \d+ \[running\]",
    re.MULTILINE,
)
_LINE = 512


class Said:
    """Takes output piece by piece, keeps both ends, and looks for a panic in all of it."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._head = bytearray()
        self._tail = bytearray()
        self._line = b""
        self._panic = b""
        self.count = 0

    def add(self, piece: bytes) -> None:
        """More output."""
        self.count += len(piece)
        if self._panic:
            self._panic += piece[: max(_LINE - len(self._panic), 0)]
        else:
            self._look(piece)
        room = self._kept - len(self._head)
        self._head += piece[:room] if room > 0 else b""
        self._tail += piece[max(room, 0) :]
        if len(self._tail) > 2 * self._kept:
            del self._tail[: -self._kept]

    def _look(self, piece: bytes) -> None:
        """A piece may begin within a line: what came of that line before is looked at again."""
        whole = self._line + piece
        if (found := _PANIC.search(whole)) is not None:
            self._panic = whole[found.start() : found.start() + _LINE]
        begun = whole[whole.rfind(b"\n") + 1 :]
        # A line may be endless; then what is kept of it does not look like the beginning of one.
        self._line = begun if len(begun) <= _LINE else b"\0" + begun[-_LINE:]

    @property
    def panic(self) -> str | None:
        """The line of the first panic, and the next one where that has the message; without what is new on every run."""
        if not self._panic:
            return None
        first, *others = self._panic.decode("utf-8", "replace").splitlines()
        line = f"{first} {others[0]}" if first.endswith(":") and others else first
        return re.sub(r"' \(\d+\) panicked", "' panicked", line).strip()

    @property
    def text(self) -> str:
        """What was kept."""
        tail = bytes(self._tail[-self._kept :])
        left_out = self.count - len(self._head) - len(tail)
        between = f"\n[... {left_out:,} bytes left out ...]\n".encode() if left_out else b""
        return (bytes(self._head) + between + tail).decode("utf-8", "replace")
