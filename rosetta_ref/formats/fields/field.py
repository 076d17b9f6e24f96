"""A field, and what becomes of fields that overlap, and of bytes between them.

Offsets in a damaged file point anywhere. So a walk claims fields where the offsets say, in any order, and lays them side by side:
the first claim to a byte holds, a claim cut by another keeps its rest, and what nobody claims is padding or not explained.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from rosetta_ref.errors import safe_line
from rosetta_ref.quant import BlockType

#: Characters of a name in a label; names may be as long as the file.
_LABEL_LIMIT = 64


class Walked(Protocol):
    """What is known of a file where nothing is claimed: see `reader.Walk`."""

    data: bytes | memoryview
    alignment: int
    reasons: dict[int, str]


class Field(NamedTuple):
    """Some bytes of a file and what they are.

    `format` is of `struct`: "<I", "<16B", "7s" for text and bytes. `meaning` is what the value stands for (the name of a type).
    `kind` is the type where the bytes are a row of numbers as such, in the byte order that `format` says. `what` is the part of the
    header, key or tensor that it is, the same for each of them: "dims.count".
    """

    offset: int
    data: bytes
    label: str
    format: str
    meaning: str = ""
    kind: BlockType | None = None
    what: str = ""

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.data)

    @property
    def end(self) -> int:
        """Where the next field begins."""
        return self.offset + len(self.data)

    @property
    def group(self) -> str:
        """What the field is a part of: one key, one tensor of the table, the data of one tensor."""
        return self.label.partition(" / ")[0]

    @property
    def values(self) -> tuple[Any, ...]:
        """What `struct` makes of the bytes."""
        return struct.unpack(self.format, self.data)

    @property
    def value(self) -> Any:
        """The one value, or the tuple of them."""
        return self.values[0] if len(self.values) == 1 else self.values


def rest(claim: Field, position: int) -> Field:
    """What is left of a field that begins before a position."""
    data = claim.data[position - claim.offset :]
    return claim._replace(
        offset=position, data=data, format=f"{len(data)}s", meaning="the rest, after an overlap", kind=None
    )


def between(walk: Walked, start: int, stop: int) -> Iterator[Field]:
    """Bytes that nobody claims: up to the next multiple of the alignment they are padding."""
    aligned = start + -start % walk.alignment
    if start in walk.reasons or aligned > stop:
        aligned = start
    if aligned > start:
        data = bytes(walk.data[start:aligned])
        yield Field(start, data, "padding", f"{len(data)}s", "not zeros" if any(data) else "")
    if stop > aligned:
        data = bytes(walk.data[aligned:stop])
        yield Field(aligned, data, "not explained", f"{len(data)}s", walk.reasons.get(aligned, ""))


def shown(name: bytes | str) -> str:
    r"""A name from a file as one short piece of a line.

    >>> shown(b"a\nb\xff")
    'a\\nb\\xff'
    """
    short = name[: 4 * (_LABEL_LIMIT + 1)]  # bytes of as many characters
    text = short.decode("utf-8", "backslashreplace") if isinstance(short, bytes) else short
    return printable(text if len(text) <= _LABEL_LIMIT else text[: _LABEL_LIMIT - 3] + "...")


def printable(text: str) -> str:
    r"""Text in one line, with an escape for what is not seen, moves what is seen, or is a command to a CI service.

    It escapes what `errors.safe_line` escapes, and whatever else Unicode does not call printable.

    >>> printable("a\nb\u202e"), printable("::error::forged")
    ('a\\nb\\u202e', '\\x3a:error::forged')
    """
    return safe_line("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))
