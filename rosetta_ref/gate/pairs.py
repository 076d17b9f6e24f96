"""The formats, their letters, the pairs of formats that a converter goes between, and paths of more than one.

A conversion is a path of formats that begins at a face of a sample: ("gguf", "apr") is a pair, ("gguf", "apr", "gguf") a chain,
whose legs take what the converter wrote itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from rosetta_ref.formats.registry import FORMATS, LETTERS

__all__ = ["FORMATS", "LETTERS", "PAIRS", "letters", "path"]

#: In the order of the gates that are numbered by them: a format that is new comes behind all pairs of the others.
PAIRS = tuple(
    pair
    for place, letter in enumerate(LETTERS)
    for other in list(LETTERS)[:place]
    for pair in (f"{other}-{letter}", f"{letter}-{other}")
)
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
