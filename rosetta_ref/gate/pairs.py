"""The formats, their letters, the pairs of formats that a converter goes between, and paths of more than one.

A conversion is a path of formats that begins at a face of a sample: ("gguf", "apr") is a pair, ("gguf", "apr", "gguf") a chain,
whose legs take what the converter wrote itself.
"""

from __future__ import annotations

from collections.abc import Sequence

FORMATS = ("gguf", "apr", "safetensors")
#: The letters of the formats in the names of pairs: "G-A" is GGUF -> APR.
LETTERS = {"G": "gguf", "A": "apr", "S": "safetensors"}
PAIRS = ("G-A", "A-G", "G-S", "S-G", "A-S", "S-A")
_LETTER = {name: letter for letter, name in LETTERS.items()}


def letters(steps: Sequence[str]) -> str:
    """The short name of a path of formats.

    >>> letters(("gguf", "safetensors"))
    'G-S'
    """
    return "-".join(_LETTER[step] for step in steps)


def path(name: str) -> tuple[str, ...]:
    """The formats of a short name."""
    return tuple(LETTERS[letter] for letter in name.split("-"))
