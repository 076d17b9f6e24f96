"""What the smallest input of each member of the zoo holds: the least that its bug needs."""

from __future__ import annotations

from dataclasses import dataclass

from rosetta_ref.reduce.cut import grid
from rosetta_ref.reduce.given import Given
from rosetta_ref.reduce.search import Search
from rosetta_ref.reduce.sizes import sizes_of
from rosetta_ref.reduce.tensors import focus


@dataclass(frozen=True)
class Minimal:
    """Tensors; rows and blocks of the one that shows the bug (elements, of plain numbers); layers of a model, 0 for none; files."""

    tensors: int
    rows: int
    blocks: int
    layers: int = 0
    files: int = 1

    @classmethod
    def of(cls, search: Search) -> Minimal:
        """Of what a search ended with."""
        given: Given = search.best
        one = focus(search)
        sizes = sizes_of(given)
        rows, blocks = grid(one) if one is not None else (0, 0)
        return cls(len(given.tensors), rows, blocks, sizes.layers if sizes is not None else 0, len(given.parts))
