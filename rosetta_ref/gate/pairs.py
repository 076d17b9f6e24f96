"""The formats, their letters, and the pairs of formats that a converter goes between."""

from rosetta_ref.formats.registry import FORMATS, LETTERS

__all__ = ["FORMATS", "LETTERS", "PAIRS"]

#: In the order of the gates that are numbered by them: a format that is new comes behind all pairs of the others.
PAIRS = tuple(
    pair
    for place, letter in enumerate(LETTERS)
    for other in list(LETTERS)[:place]
    for pair in (f"{other}-{letter}", f"{letter}-{other}")
)
