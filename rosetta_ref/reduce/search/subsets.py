"""The fewest of many things: delta debugging (Zeller and Hildebrandt 2002), taking away rather than keeping."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from rosetta_ref.reduce.search.search import Hunt, Parts

Item = TypeVar("Item")


def without(search: Hunt[Parts], items: Sequence[Item], made: Callable[[list[Item]], Parts]) -> bool:
    """Take things away, all at once, then in halves, quarters and so on, until each that is left is needed.

    `made` gives the input with those that are kept. Whether anything went.
    """
    kept, size, changed = list(items), len(items), False

    def proposals() -> Iterator[list[Item]]:
        for start in range(0, len(kept), size):
            yield kept[:start] + kept[start + size :]

    while kept and size:
        for fewer in proposals():
            if search.first([made(fewer)]):
                kept, changed = fewer, True
                break
        else:
            size = size // 2
    return changed
