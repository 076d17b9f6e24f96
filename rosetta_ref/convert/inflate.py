"""What a model remembers deflated (zlib), inflated within limits: 2 MB of it could become 2 GB."""

from __future__ import annotations

import zlib
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.errors import RosettaError

#: Below this many bytes in all, the ratio says nothing: a configuration may be mostly blanks.
_FREE = 1 << 20


class DeflatedError(RosettaError):
    """A remembered file is one whole zlib stream, and nothing after it."""


class Inflater:
    """Inflates the files of one model, all of which share the limits `inflated-bytes` and `inflated-ratio`."""

    def __init__(self, file: str | Path | None = None) -> None:
        self._file = file
        self._taken = self._given = 0

    def inflated(self, data: bytes, what: str) -> bytes:
        """The bytes of one stream; `what` names it. Raises DeflatedError, LimitExceededError."""
        self._taken += len(data)
        most = min(limits.of("inflated-bytes"), max(_FREE, self._taken * limits.of("inflated-ratio"))) - self._given
        stream = zlib.decompressobj()
        try:
            made = stream.decompress(data, most + 1)
        except zlib.error as error:
            raise DeflatedError(f"{what} is not deflated: {error}", file=self._file) from error
        if len(made) > most:
            raise self._too_much(what)
        if not stream.eof:
            raise DeflatedError(f"{what} ends in the middle" if data else f"{what} is empty", file=self._file)
        if stream.unused_data:
            raise DeflatedError(f"{what} has {len(stream.unused_data)} bytes too many", file=self._file)
        self._given += len(made)
        return made

    def _too_much(self, what: str) -> limits.LimitExceededError:
        name = "inflated-bytes"
        if self._taken * limits.of("inflated-ratio") < limits.of(name):
            name = "inflated-ratio"
        return limits.exceeded(name, f"{what} inflates to too much", file=self._file)
