"""A smaller zoo, for tests of something else than diagnosis: each look at a failure tries every member that is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rosetta_ref.zoo import MEMBERS

#: Besides those that a test names: another of the same class for most of them, which a diagnosis has to tell apart.
_ALWAYS = ("k-scales-low-bits", "q5_k-in-sequence", "shape-not-reversed", "k-permuted-as-q", "tokenizer-dropped")


@contextmanager
def few_members(*named: str) -> Iterator[None]:
    """Only these members and five more, while it is open."""
    kept = {*named, *_ALWAYS}
    assert kept <= MEMBERS.keys(), kept - MEMBERS.keys()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in MEMBERS if name not in kept]:
            patch.delitem(MEMBERS, name)
        yield
