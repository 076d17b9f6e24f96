"""A case: one question about a converter, and the names of the gates.

A conversion is a path of formats that begins at a face of a sample: ("gguf", "apr") is a pair, ("gguf", "apr", "gguf") a chain,
whose legs take what the converter wrote itself. One conversion answers many cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rosetta_ref.gate.pairs import LETTERS

RT = {
    "F-CONV-RT-001": "G-A-S-G", "F-CONV-RT-002": "S-A-G-S", "F-CONV-RT-003": "S-A-G-A-S", "F-CONV-RT-004": "S-A-G-A",
}  # fmt: skip
ABA, COM, IDEM, DET, SAFE, BE = (f"F-CONV-{name}-001" for name in ("ABA", "COM", "IDEM", "DET", "SAFE", "BE"))
_LETTER = {name: letter for letter, name in LETTERS.items()}
#: What a case compares.
TENSORS, COUNT, NAMES, WORDS, CHAIN, SAME, AGAIN, BYTES, ANSWERS, ENCODED, REFUSAL, CLAIM = (
    "tensors", "count", "names", "words", "chain", "same", "again", "bytes", "answers", "encoded", "refusal", "claim",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One question. `steps` is the conversion that answers it, `other` the one it is compared with.

    `tensors` are those of the sample that it is about; `type` is what a quantiser is asked for; `rule` names the malformed file.
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


def letters(steps: Sequence[str]) -> str:
    """The short name of a path of formats.

    >>> letters(("gguf", "safetensors"))
    'G-S'
    """
    return "-".join(_LETTER[step] for step in steps)


def path(name: str) -> tuple[str, ...]:
    """The formats of a short name."""
    return tuple(LETTERS[letter] for letter in name.split("-"))
