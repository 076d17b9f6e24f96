"""Malformed files: the rules of the formats broken one at a time, files cut short, sizes that nobody has.

Each is made from a valid file, its twin, by a few edits; `from_file` takes any file, a converter's own output too, since some
converters read nothing else; `of_directory` takes a directory in several files. Read `broken` first (what a malformed file is),
then the formats, a module each, and `directories`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import sniff
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.converter.walk import bytes_behind
from rosetta_ref.gate.malformed.broken import MAY_ACCEPT, MUST_REFUSE, Malformed, NoTwinError, require_few
from rosetta_ref.gate.malformed.directories import of_directory

__all__ = ["MAY_ACCEPT", "MUST_REFUSE", "Malformed", "NoTwinError", "from_file", "of_directory"]

#: What a file may hold that somebody else wrote: each rule makes much of it anew, and here nothing limits time and memory.
_BYTES = 4 << 20


def from_file(path: Path, seed: int, *, everywhere: bool = False, foreigner: bool = False) -> list[Malformed]:
    """The malformed files that can be made of a valid file or Hugging Face directory; the same for the same arguments.

    Cuts are one of each kind of field, or with `everywhere` before and in each. Raises NoTwinError for a file without data, for
    one that cannot be taken apart, and where it is a `foreigner`, one that somebody else wrote, for a large one.
    """
    if foreigner:
        require_few(path, "bytes", bytes_behind(path), _BYTES)
    try:
        return list(of(sniff(path)).part(__name__).of_file(path, seed, everywhere, foreigner))
    except NoTwinError:
        raise
    except (struct.error, LookupError, ValueError, TypeError, AttributeError, RecursionError, RosettaError) as error:
        raise NoTwinError(f"it cannot be taken apart: {error!r}", file=path) from error
