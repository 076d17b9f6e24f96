"""Which of several failures is followed, and what it is called: by its cause where one is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rosetta_ref.diagnosis import UNKNOWN
from rosetta_ref.diagnosis.explain import WHOLE
from rosetta_ref.gate import kinds
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.gates import SAFE
from rosetta_ref.gate.judge.chains import OF_NUMBERS
from rosetta_ref.gate.judge.tensors import CARD, META, NAME
from rosetta_ref.gate.kinds import About
from rosetta_ref.reduce.search import gates
from rosetta_ref.reduce.search.candidate import Seen, diagnosed, looked
from rosetta_ref.reduce.search.failure import Fingerprint, Wanted
from rosetta_ref.reduce.search.input import size_of

#: What is looked at first where several things are wrong: the values, then what is harder to see small.
_LAST = (NAME, CARD, META)
#: No failure in particular.
ANY = Wanted()
#: Kinds that single tensors show, none of which is lost.
_OF_A_TENSOR = OF_NUMBERS | kinds.named(About.LAYOUT)
#: Elements of a tensor of which a cause is looked for.
_LARGE = 1 << 20


def chosen(findings: Sequence[Finding], wanted: Wanted = ANY) -> Finding | None:
    """The finding that is followed: a wanted one; of tensors before names and words; of the smallest tensor.

    What says more than "other numbers" comes first.
    """
    listed = [one for one in findings if wanted.fits(one)]
    return min(listed, key=lambda one: (one.gate in _LAST, one.kind in OF_NUMBERS, one.count or 1 << 62), default=None)


def named(finding: Finding, seen: Seen, *, asked: str | None = None) -> Fingerprint:
    """A failure with its cause, where one is known; else with the type, which is then all that tells it from another bug.

    What is too large to be explained has no cause yet.
    """
    plain = Fingerprint.of(finding)
    cause: tuple[str, ...] = ()
    if seen.target is not None and plain.gate not in (SAFE, *gates.OTHERS) and _can_be_named(finding, seen):
        cause = next((one.ids for one in diagnosed(seen, finding, asked=asked) if UNKNOWN not in one.ids), ())
    kind = None if cause or finding.kind == "refused" else finding.source_type
    return replace(plain, cause=cause, type=kind)


def _can_be_named(finding: Finding, seen: Seen) -> bool:
    """Whether a search for the cause takes seconds, not minutes."""
    if size_of(seen.source) <= WHOLE:
        return True
    # Of a large file single tensors are looked at, of which none is lost.
    if finding.tensor is None or finding.kind not in _OF_A_TENSOR:
        return False
    with looked(seen.source) as view:
        there = view.tensors.get(finding.tensor)
        return there is None or there.tensor.count <= _LARGE
