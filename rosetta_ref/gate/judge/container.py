"""How the modules of `containers` are asked, by the format's name: what the judge finds in a file of each.

Typed from the formats' own documents, like the rest of the judge; the converter has its own in `convert.containers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from rosetta_ref.formats.registry import of as row_of


class Container(Protocol):
    """A module of `containers`. Each method is asked about a `view.View`."""

    #: Whether the format has Hugging Face's names and numbers (True), or GGUF's; either, where there are both.
    AT_HOME: tuple[bool, ...]

    def look(self, view: Any) -> None:
        """Fill in the architecture, and what else the file says before its names are read. Raises UnreadableError."""

    def numbers(self, view: Any, rows: Sequence[Any]) -> dict[Any, Any]:
        """The numbers that the file states, by these rows."""

    def word(self, row: Any) -> str:
        """What a number is called there."""

    def rows(self, view: Any) -> int:
        """How rows of q and k stand in such a file, whatever a tensor is called: mapping.PAIRS or mapping.HALVES."""

    def stated_rows(self, view: Any) -> int | None:
        """The same, where the file itself says it."""

    def scaling(self, view: Any) -> dict[str, Any]:
        """Type and numbers of rope scaling in config.json's words; None, or nothing, for what is not there."""

    def facts(self, view: Any) -> dict[str, Any]:
        """Tokens by id, merges, special ids, the chat template; None for what is not there. Raises UnreadableError."""


def of(name: str) -> Container:
    """The module about a format."""
    return cast(Container, row_of(name).part("rosetta_ref.gate.judge.containers"))
