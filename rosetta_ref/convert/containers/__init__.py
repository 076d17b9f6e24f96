"""What the converter does with each container, a module each, found by the format's name.

`read` makes a file the canonical model, `into` says what becomes of a type on its way into the format, and `plan` makes of a model
what is to be written. `Container` says how they are called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from rosetta_ref.archive import Archive
from rosetta_ref.convert.encoding import Encoding
from rosetta_ref.convert.options import Options
from rosetta_ref.convert.policy import Rule
from rosetta_ref.convert.source import Source
from rosetta_ref.convert.target import Plan
from rosetta_ref.formats.registry import of as row_of
from rosetta_ref.quant import BlockType


class Container(Protocol):
    """A module of this package."""

    def read(self, path: Path, *, lenient: bool, keep_names: bool) -> Source:
        """A file as the canonical model. Raises what its reader and the mapping of its names raise."""

    def into(self, kind: BlockType, row: int, *, apr_native: bool, float_type: str) -> Rule:
        """What becomes of a type that not every format holds, in rows of so many elements."""

    def plan(self, model: Archive, options: Options, wanted: Encoding | None, file_name: str | None) -> Plan:
        """What is to be written of a model; `file_name` where it is one file. Raises OptionError, RefusedTypeError."""


def of(name: str) -> Container:
    """The module about a format."""
    return cast(Container, row_of(name).part(__name__))
