"""What a conversion did, for people and for machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class ProgressLike(Protocol):
    """What shows how far a long conversion has come."""

    def total(self, nbytes: int, what: str) -> None:
        """A new stretch of work begins: that many bytes, and what is done with them."""

    def advance(self, nbytes: int) -> None:
        """That many bytes of it are done."""


@dataclass
class Report:
    """What a conversion did. `actions` counts tensors; `changed` names those that no longer fit their kept blocks."""

    source: Path
    target: Path
    source_format: str
    target_format: str
    actions: Counter[str] = field(default_factory=Counter)
    tensors: int = 0
    compared: int = 0
    metadata_keys: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checksums: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        plain = {key: value for key, value in vars(self).items() if key != "checksums"}
        return plain | {"source": str(self.source), "target": str(self.target), "actions": dict(self.actions)}

    def lines(self) -> list[str]:
        """The report as lines of text."""
        did = ", ".join(f"{count} {action}" for action, count in sorted(self.actions.items()))
        return [
            f"{self.source} ({self.source_format}) -> {self.target} ({self.target_format})",
            f"{self.tensors} tensors: {did}; {self.compared} compared after writing",
            f"{self.metadata_keys} metadata keys; {self.nbytes:,} bytes in {self.seconds:.2f} s",
            *(f"note: {note}" for note in self.notes),
        ]
