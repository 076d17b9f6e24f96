"""Whether what is verified is a conversion at all: another file than the source, with other bytes."""

from __future__ import annotations

from pathlib import Path

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError

_CHUNK = 1 << 20


class NothingConvertedError(RosettaError):
    """What is verified is a conversion: another file than the source, with other bytes."""


def refuse_copies(source: Path, target: Path) -> None:
    """Raise NothingConvertedError where both are the same. What cannot be read is no copy; who reads it next says why."""
    try:
        if source.resolve() == target.resolve() or _same(source, target):
            raise NothingConvertedError("the converted model is a copy of the source, byte for byte", file=target)
    except (OSError, RuntimeError, ValueError, foreign.ForeignTextError):  # a loop of links, a NUL in a name
        return


def _same(source: Path, target: Path) -> bool:
    ours, theirs = (
        sorted(path.glob("*.safetensors")) if path.is_dir() else [path] * path.exists() for path in (source, target)
    )
    return len(ours) == len(theirs) > 0 and all(
        a.stat().st_size == b.stat().st_size and _equal_bytes(a, b) for a, b in zip(ours, theirs, strict=True)
    )


def _equal_bytes(a: Path, b: Path) -> bool:
    with foreign.open_file(a) as one, foreign.open_file(b) as other:
        while True:
            here, there = one.read(_CHUNK), other.read(_CHUNK)
            if here != there:
                return False
            if not here:
                return True
