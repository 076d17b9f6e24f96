"""rosetta-ref: a reference converter between GGUF, SafeTensors and APR.

Read it from the ground up: `quant` (blocks to numbers), `archive` (what a file holds), `formats` (the three files),
`architectures` (what names and numbers mean), `inference` (what a model answers), `convert` (the six pairs), `verify` (the same
answers), `cli`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rosetta_ref.errors import RosettaError
from rosetta_ref.version import __version__

if TYPE_CHECKING:
    from rosetta_ref.convert import convert

__all__ = ["RosettaError", "__version__", "convert"]


class _Package(ModuleType):
    """The package as a module whose `convert` is the function. Nothing of the converter is loaded before somebody asks for it."""

    @property
    def convert(self) -> Any:
        """`rosetta_ref.convert.convert`."""
        from rosetta_ref.convert import convert

        return convert

    @convert.setter
    def convert(self, package: ModuleType) -> None:
        """Python puts the package `rosetta_ref.convert` here when it is imported; the function stays in its place."""


sys.modules[__name__].__class__ = _Package
