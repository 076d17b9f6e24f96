"""The kill matrix: which gate kills which member, by which case, after how many conversions and how long.

A member is killed where the gate falsifies what it wrote. A crash or a refusal is no kill, and neither is what the gate finds in
the output of the control, the reference under the member's own options, too. The gate knows nothing of members: it runs its cases
one by one, those on the pairs that the member touches first, and the run of a member ends with the first kill, or when every case
has been answered. `tally` puts the trials of many members and seeds together.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rosetta_ref.gate import kinds
from rosetta_ref.gate.converter import bundled, named
from rosetta_ref.gate.converter.entry import Converter
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Finding, Result
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.kinds import About
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks import CHECKS
from rosetta_ref.gate.run.engine import Engine, run, samples_for
from rosetta_ref.gate.run.session import Faces
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.zoo.adapter import control, converter
from rosetta_ref.zoo.member import Member

#: Findings that are about a run, not about what it wrote.
NOT_OF_AN_OUTPUT = kinds.named(About.RUN)
#: Members that no input can tell from the reference, by id, with the reason.
EQUIVALENT: dict[str, str] = {}


@dataclass(frozen=True)
class Kill:
    """The first case of a gate that falsified a member: what it found, and what it took since the member's run began."""

    gate: str
    case: str
    kind: str
    detail: str
    conversions: int
    seconds: float


@dataclass
class Trial:
    """A member on one seed. `kills` has the first of each gate that was asked until the run ended, `kinds` all that they found."""

    member: str
    seed: int
    kills: list[Kill] = field(default_factory=list)
    #: By kind of finding, the first case that showed it, of those that were asked.
    kinds: dict[str, str] = field(default_factory=dict)
    cases: int = 0
    conversions: int = 0
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        """Whether it did not survive."""
        return bool(self.kills)


class Arena:
    """One seed: the inputs, made once for all members, and what the controls answered. Use it with `with`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._open = ExitStack()
        self._folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="rosetta-zoo-")))
        self._faces: dict[bool, Faces] = {}
        self._controls: dict[str, _Run] = {}

    def trial(
        self, member: Member, *, every_gate: bool = False, only: Iterable[str] | None = None,
        gates: Collection[str] | None = None,
    ) -> Trial:  # fmt: skip
        """Run a member until a gate kills it, or until each gate has killed it or has no case left.

        `only` are the ids of the cases that are run, and `gates` those whose cases are; all where there is none.
        """
        trial, under_test = Trial(member.id, self.seed), converter(member)
        self._inputs(under_test)  # whoever comes first makes them, on nobody's time
        began = time.perf_counter()
        with Workspace(self._folder) as work:
            one = self._run(under_test, work)
            killed: set[str] = set()
            chosen = set(only) if only is not None else None
            cases = [case for case in in_order(one.engine.cases, member) if chosen is None or case.id in chosen]
            cases = [case for case in cases if gates is None or case.gate in gates]
            waiting = (case for case in cases if case.gate not in killed)
            for result in one.engine.answers(waiting):
                trial.cases += 1
                found = assertion(result)
                if found is None or not self._control_is_right(member, one.by_id[result.case]):
                    continue
                for finding in result.findings:
                    trial.kinds.setdefault(finding.kind, result.case)
                killed.add(result.gate)
                seconds = time.perf_counter() - began
                kill = Kill(result.gate, result.case, found.kind, str(found), one.conversions, seconds)
                trial.kills.append(kill)
                if not every_gate:
                    break
            trial.conversions, trial.seconds = one.conversions, time.perf_counter() - began
        return trial

    def _control_is_right(self, member: Member, case: Case) -> bool:
        """Whether the reference, told what the member is told, passes the case, or refuses what cannot be written as it is told."""
        key = repr((member.asks, sorted(member.options.items()), "G-G" in member.pairs))
        if key not in self._controls:
            self._controls[key] = self._run(control(member), self._open.enter_context(Workspace(self._folder)))
        return self._controls[key].is_right(case)

    def _inputs(self, under_test: Converter) -> Faces:
        """What a converter is given, each file written when it is first asked for; quantisers get some more."""
        quantises = bool(under_test.entry.quantises)
        if quantises not in self._faces:
            by_name = {sample.name: sample for sample in samples_for(under_test.entry, self.seed)}
            self._faces[quantises] = Faces(by_name, self._folder / f"faces-{quantises}")
        return self._faces[quantises]

    def _run(self, under_test: Converter, work: Workspace) -> _Run:
        return _Run(under_test, self._inputs(under_test), work, self.seed)

    def __enter__(self) -> Arena:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


class _Run:
    """A converter, its cases, and what came of those that were asked as a control."""

    def __init__(self, under_test: Converter, faces: Faces, work: Workspace, seed: int) -> None:
        self.engine = Engine.of(under_test, work, seed, list(faces.samples.values()), faces=faces)
        self.by_id = {case.id: case for case in self.engine.cases}
        self._right: dict[str, bool] = {}

    @property
    def conversions(self) -> int:
        """How many there were."""
        return self.engine.session.calls

    def is_right(self, case: Case) -> bool:
        """Whether nothing is wrong with what it writes for a case; worked out once."""
        if case.id not in self._right:
            (result,) = self.engine.answers([self.by_id[case.id]])
            self._right[case.id] = result.outcome in (CORROBORATED, SKIPPED, FALSIFIED) and assertion(result) is None
        return self._right[case.id]


def assertion(result: Result) -> Finding | None:
    """What is wrong with the output of a case; None where it is right, or where there is no output to speak of."""
    if result.outcome != FALSIFIED:
        return None
    return next((found for found in result.findings if found.kind not in NOT_OF_AN_OUTPUT), None)


def in_order(cases: Sequence[Case], member: Member) -> list[Case]:
    """Single conversions of the member's pairs first, then malformed files, chains over those pairs, and all others."""

    def rank(case: Case) -> int:
        touched = any(letters(leg) in member.pairs for leg in zip(case.steps, case.steps[1:], strict=False))
        if case.malformed:
            return 1
        if not touched:
            return 3
        return 0 if CHECKS[case.what].single else 2

    return sorted(cases, key=rank)


def reference_fails(seed: int) -> list[str]:
    """The cases that the bundled reference does not pass on a seed, with the reason; one skipped for want of a library is none."""
    results = run(named.made(bundled.entry("reference")), seed=seed)
    return [f"{result.case}: {result.outcome}: {result.reason}" for result in results
            if result.outcome not in (CORROBORATED, SKIPPED)]  # fmt: skip
