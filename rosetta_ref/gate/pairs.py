"""The formats, their letters, and the pairs of formats that a converter goes between."""

from rosetta_ref.formats.registry import FORMATS, LETTERS

__all__ = ["FORMATS", "LETTERS", "PAIRS"]

#: In the order of the gates that are numbered by them.
PAIRS = ("G-A", "A-G", "G-S", "S-G", "A-S", "S-A")
