"""Few patterns for many cases: each matches some of them, and no other case of the run.

A case is words between slashes, `F-CONV-001/llama-mix/q4_0/attn_q/index-coded`. In a pattern some of them are `*`, never the gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import combinations

#: Cases that a pattern stands for, at least: fewer are named.
FEWEST = 3
#: Words of a case that may be any; a case with more of them is named.
_MOST_WORDS = 8


def patterns_of(cases: Sequence[str], others: Iterable[str]) -> list[str]:
    """Patterns that together match these cases, and none of the others: the one that matches most comes first.

    >>> patterns_of(["G/a/x", "G/b/x", "G/c/x", "G/c/y"], ["G/a/y"])
    ['G/*/x', 'G/c/y']
    """
    gates = {case.partition("/")[0] for case in cases}
    against = [other for other in others if other.partition("/")[0] in gates]
    opened = Counter(pattern for case in cases for pattern in set(_opened(case)))
    matched = {
        pattern: frozenset(case for case in cases if fnmatchcase(case, pattern))
        for pattern, count in opened.items()
        if count >= FEWEST and not any(fnmatchcase(other, pattern) for other in against)
    }
    left, made = set(cases), list[str]()
    while matched:
        best = max(matched, key=lambda pattern: (len(matched[pattern] & left), len(pattern.replace("*", "")), pattern))
        if len(matched[best] & left) < FEWEST:
            break
        made.append(best)
        left -= matched.pop(best)
    return [*made, *map(literal, sorted(left))]


def _opened(case: str) -> Iterator[str]:
    """A case with some of its words left open."""
    gate, *words = case.split("/")
    if len(words) > _MOST_WORDS:
        return
    for count in range(1, len(words) + 1):
        for places in combinations(range(len(words)), count):
            opened = ["*" if place in places else literal(word) for place, word in enumerate(words)]
            # A star matches slashes, too: of several in a row one is enough.
            kept = [word for place, word in enumerate(opened) if word != "*" or opened[place - 1 : place] != ["*"]]
            yield "/".join([literal(gate), *kept])


def literal(case: str) -> str:
    """A pattern that matches this case alone.

    >>> literal("F-CONV-001/[2, 3]/a*")
    'F-CONV-001/[[]2, 3]/a[*]'
    """
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in case)
