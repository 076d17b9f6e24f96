"""From a file that fails to the smallest one that fails in the same way: the passes, in their order, to a fixed point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rosetta_ref.diagnosis import UNKNOWN
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.judge import CARD, META, NAME
from rosetta_ref.gate.result import Finding
from rosetta_ref.reduce import metadata, models, payload, tensors
from rosetta_ref.reduce.fingerprint import Fingerprint
from rosetta_ref.reduce.oracle import Oracle, Seen, diagnosed
from rosetta_ref.reduce.search import Search

#: What is looked at first where several things are wrong: the values, then what is harder to see small.
_LAST = (NAME, CARD, META)
#: A pass makes the best input of a search smaller, and says whether it did.
Pass = Callable[[Search], bool]
_OF_TENSORS: tuple[Pass, ...] = (
    tensors.smaller, tensors.simpler_type, metadata.fewer_keys, metadata.fewer_companions, payload.simpler,
)  # fmt: skip
_OF_MODELS: tuple[Pass, ...] = (models.smaller, metadata.fewer_keys, metadata.fewer_companions, payload.simpler)
#: Rounds at most: each one begins with a smaller input, and the third has never found anything.
_ROUNDS = 4


class NothingFailsError(RosettaError):
    """What is shrunk comes out wrong."""


def chosen(findings: Sequence[Finding], gate: str | None = None, kind: str | None = None) -> Finding | None:
    """The finding that is followed: of gate and kind, where named; of values before names and words; of the smallest tensor."""
    listed = [one for one in findings if gate in (None, one.gate) and kind in (None, one.kind)]
    return min(listed, key=lambda finding: (finding.gate in _LAST, finding.count or 1 << 62), default=None)


def failure_of(
    oracle: Oracle, source: Path, gate: str | None = None, kind: str | None = None
) -> tuple[Fingerprint, Seen]:
    """What is wrong with a file's conversion, by one call. Raises NothingFailsError where nothing is."""
    seen = oracle.look(source)
    finding = chosen(seen.findings, gate, kind)
    if finding is None:
        of = f" of {gate or kind}" if gate or kind else ""
        others = sorted({found.gate for found in seen.findings})
        hint = f"There are failures of {', '.join(others)}." if others else None
        raise NothingFailsError(f"nothing{of} is wrong with what comes of it", file=source, hint=hint)
    if seen.target is None and not oracle.reference_is_right(source):
        raise NothingFailsError("the reference does not convert it either, so no converter has to", file=source)
    return named(Fingerprint.of(finding), finding, seen, asked=oracle.asked), seen


def named(seen_as: Fingerprint, finding: Finding, seen: Seen, *, asked: str | None = None) -> Fingerprint:
    """With the cause, where one is known; else with the type, which is then all that tells it from another bug."""
    cause: tuple[str, ...] = ()
    if seen.target is not None:
        cause = next((one.ids for one in diagnosed(seen, finding, asked=asked) if UNKNOWN not in one.ids), ())
    kind = None if cause or finding.kind in ("refused", "accepted") else finding.source_type
    return Fingerprint(seen_as.gate, seen_as.kind, seen_as.subject, cause, kind)


def shrink(search: Search) -> None:
    """Run the passes until none finds anything more. Raises SpentError when the budget is spent: `search.best` is good then."""
    if tensors.alone(search) or len(search.best.tensors) == 1:
        passes = _OF_TENSORS
    elif models.is_model(search):
        passes = _OF_MODELS
    else:
        tensors.fewest(search)
        passes = _OF_TENSORS
    for _ in range(_ROUNDS):
        changed = [step(search) for step in passes]
        if not any(changed):
            return
