"""The failures of a run of the gate, named while their files are still there.

Of the failures that look alike (pair of formats, kind of finding, type of the source) the smallest file is shown to every member
of the zoo, the others to those that explained it. What those do not explain is another bug that looks alike: it is shown to every
member in the end, one of each set of tensors. There is so much of that and no more, counted in tries and not in seconds, so that a
busy machine names what an idle one does: what is left when they are spent has no name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rosetta_ref.diagnosis.cause import Diagnosis
from rosetta_ref.diagnosis.explain import WHOLE, attach
from rosetta_ref.diagnosis.files import size_of
from rosetta_ref.gate.run.engine import Failure
from rosetta_ref.zoo import MEMBERS

#: For all failures of a run together. A try is a member on a small file, some 3 ms; a larger one counts for as many as it is times
#: as large.
TRIES = 2500.0
_SMALL = 128 << 10  # bytes of source and output together
#: Seconds of this process's own work, for files that are made to take long.
_SECONDS = 60.0
Look = tuple[str, str, str | None]
Tensors = tuple[str, frozenset[tuple[str, str, str | None]]]


@dataclass
class Namer:
    """Gives results their diagnosis and link. One serves for all seeds of a run; `left` are the tries that are left for them."""

    left: float = TRIES
    seconds: float = _SECONDS
    #: What broke a search: its failure stays without a name, and the verdicts stand.
    errors: list[str] = field(default_factory=list)
    _known: dict[Look, set[str]] = field(default_factory=dict)
    _searched: set[Tensors] = field(default_factory=set)

    def __call__(self, failures: Sequence[Failure]) -> None:
        """Name the failures, as far as the tries go."""
        unlike = [failure for failure in _first_of_each(failures) if self._timed(self._name, failure) is False]
        for failure in unlike:
            if (tensors := _tensors(failure)) not in self._searched:
                self._searched.add(tensors)
                self._timed(self._search, failure)

    def _timed(self, do: Callable[[Failure], bool], failure: Failure) -> bool | None:
        """What that says; None where the tries are spent, or it breaks."""
        if self.left <= 0 or self.seconds <= 0:
            return None
        began = time.process_time()
        try:
            return do(failure)
        except Exception as error:  # noqa: BLE001 - a foreign file may be wrong in any way, and the gate has judged it
            self.errors.append(f"{failure.results[0].case}: no diagnosis: {type(error).__name__}: {error}")
            return None
        finally:
            self.seconds -= time.process_time() - began

    def _name(self, failure: Failure) -> bool:
        """Whether it is explained, or the whole zoo has been asked."""
        if _looks(failure) - self._known.keys():
            self._searched.add(_tensors(failure))
            return self._search(failure)
        ids = {name for look in _looks(failure) for name in self._known[look]}
        return bool(ids) and _explains(self._attached(failure, ids))

    def _search(self, failure: Failure) -> bool:
        found = self._attached(failure, None)
        causes = {name for one in found for cause in one.causes for name in (cause.id, *cause.alike)}
        for look in _looks(failure):
            self._known.setdefault(look, set()).update(causes & MEMBERS.keys())
        return True

    def _attached(self, failure: Failure, ids: set[str] | None) -> list[Diagnosis]:
        members = None if ids is None else [member for name, member in MEMBERS.items() if name in ids]
        assert failure.output is not None
        size = size_of(failure.source) + size_of(failure.output)
        self.left -= len(MEMBERS if members is None else members) * (1 + size / _SMALL)
        return attach(failure.source, failure.output, failure.results, asked=failure.asked, members=members)


def _explains(found: Sequence[Diagnosis]) -> bool:
    return bool(found) and all(one.known for one in found)


def _tensors(failure: Failure) -> Tensors:
    """What is wrong in which tensors of which type: one bug shows alike in files of one model."""
    found = (finding for result in failure.results for finding in result.findings)
    return failure.pair, frozenset((one.kind, one.tensor or one.detail, one.source_type) for one in found)


def _first_of_each(failures: Sequence[Failure]) -> Iterator[Failure]:
    """Those that look like none before them, the smallest first, and then the rest."""
    with_output = [one for one in failures if one.output is not None]
    small = [(size, place, one) for place, one in enumerate(with_output) if (size := size_of(one.source)) <= WHOLE]
    seen: set[Look] = set()
    rest = []
    for _, _, failure in sorted(small, key=lambda entry: entry[:2]):
        looks = _looks(failure)
        if looks <= seen:
            rest.append(failure)
        else:
            seen |= looks
            yield failure
    yield from rest


def _looks(failure: Failure) -> set[Look]:
    return {
        (failure.pair, finding.kind, finding.source_type)
        for result in failure.results
        for finding in result.findings
        if finding.leg in ("", failure.pair)
    }
