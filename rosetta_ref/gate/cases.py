"""A case: one question about a converter.

A conversion is a path of formats that begins at a face of a sample: ("gguf", "apr") is a pair, ("gguf", "apr", "gguf") a chain,
whose legs take what the converter wrote itself. One conversion answers many cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rosetta_ref.gate.pairs import LETTERS

#: The gate of malformed files.
SAFE = "F-CONV-SAFE-001"
_LETTER = {name: letter for letter, name in LETTERS.items()}


@dataclass(frozen=True)
class Case:
    """One question. `steps` is the conversion that answers it, `other` the one it is compared with.

    `what` names the check that asks it, a module of `run.checks`. `tensors` are those of the sample that it is about; `type` is
    what a quantiser is asked for; `rule` names the malformed file.
    """

    id: str
    gate: str
    what: str
    sample: str
    steps: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    type: str | None = None
    rule: str = ""

    @property
    def malformed(self) -> bool:
        """Whether a malformed file is converted."""
        return bool(self.rule)


def letters(steps: Sequence[str]) -> str:
    """The short name of a path of formats.

    >>> letters(("gguf", "safetensors"))
    'G-S'
    """
    return "-".join(_LETTER[step] for step in steps)


def path(name: str) -> tuple[str, ...]:
    """The formats of a short name."""
    return tuple(LETTERS[letter] for letter in name.split("-"))
