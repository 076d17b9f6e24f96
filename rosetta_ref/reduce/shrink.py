"""From a file that fails to the smallest one that fails in the same way: the passes, in their order, to a fixed point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.reduce.passes import metadata, models, payload, tensors
from rosetta_ref.reduce.search.candidate import Oracle, Seen
from rosetta_ref.reduce.search.failure import Fingerprint, Wanted, fitting
from rosetta_ref.reduce.search.naming import ANY, chosen, named
from rosetta_ref.reduce.search.search import Search, tried
from rosetta_ref.zoo import MEMBERS

#: A pass makes the best input of a search smaller, and says whether it did.
Pass = Callable[[Search], bool]
_OF_TENSORS: tuple[Pass, ...] = (
    metadata.one_file, tensors.smaller, tensors.simpler_type, metadata.fewer_keys, metadata.fewer_companions, payload.simpler,
    tensors.shorter_names,
)  # fmt: skip
_OF_MODELS: tuple[Pass, ...] = (
    models.smaller, metadata.one_file, metadata.fewer_keys, metadata.fewer_companions, payload.simpler,
)  # fmt: skip
#: Rounds at most: each one begins with a smaller input, and the third has never found anything.
_ROUNDS = 4


class NothingFailsError(RosettaError):
    """Only what comes out wrong can be made smaller."""


def failure_of(oracle: Oracle, source: Path, wanted: Wanted = ANY) -> tuple[Fingerprint, Seen]:
    """What is wrong with a file's conversion, by one call. Raises NothingFailsError where nothing is."""
    seen = oracle.look(source)
    finding = chosen(seen.findings, wanted)
    if finding is None:
        of = f" of {wanted}" if wanted != ANY else ""
        others = sorted({found.gate for found in seen.findings})
        hint = f"There are failures of {', '.join(others)}." if others else None
        raise NothingFailsError(f"nothing{of} is wrong with what comes of it", file=source, hint=hint)
    if seen.target is None and not oracle.reference_is_right(source):
        raise NothingFailsError("the reference does not convert it, so that no converter has to", file=source)
    return named(finding, seen, asked=oracle.asked), seen


def _name(search: Search) -> None:
    """Give the failure its cause now that it is small; a bug of the zoo also in the place of what the data alone tell."""
    finding = next(iter(fitting(search.fingerprint, search.seen.findings)), None)
    if finding is None or _is_bug(search.fingerprint):
        return
    found = named(finding, search.seen, asked=search.oracle.asked)
    if _is_bug(found) or (found.cause and not search.fingerprint.cause):
        search.fingerprint = replace(found, kind=search.fingerprint.kind)


def _is_bug(fingerprint: Fingerprint) -> bool:
    return any(name in MEMBERS for name in fingerprint.cause)


def shrink(search: Search) -> None:
    """Run the passes until none finds anything more. Raises SpentError when the budget is spent: `search.best` is good then."""
    search.small = lambda: _name(search)
    if tried(tensors.alone, search) or len(search.best.tensors) == 1:
        passes = _OF_TENSORS
    elif tried(models.is_model, search):
        passes = _OF_MODELS
    else:
        tried(tensors.fewest, search)
        passes = (*_OF_TENSORS, tensors.fewest)
    _name(search)
    for _ in range(_ROUNDS):
        changed = [tried(step, search) for step in passes]
        if not any(changed):
            break
    _name(search)
