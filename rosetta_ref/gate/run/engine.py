"""The engine: every case of a converter answered, a few samples at a time, and none forgotten."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from rosetta_ref.errors import unforeseen
from rosetta_ref.gate.converter.entry import Converter, Entry
from rosetta_ref.gate.converter.interrupt import at_once
from rosetta_ref.gate.converter.loses import excuse
from rosetta_ref.gate.findings import CRASHED, FALSIFIED, TIMEOUT, Result
from rosetta_ref.gate.inputs import default as default_samples
from rosetta_ref.gate.inputs import large
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.pairs import LETTERS, letters
from rosetta_ref.gate.run.answers import Answers
from rosetta_ref.gate.run.checks import CHECKS
from rosetta_ref.gate.run.extent import STOPS, Extent
from rosetta_ref.gate.run.judging.questions import UNJUDGED, HarnessError
from rosetta_ref.gate.run.plan import plan
from rosetta_ref.gate.run.refusals import Safety
from rosetta_ref.gate.run.session import Faces, Session
from rosetta_ref.gate.run.workspace import Workspace

__all__ = [
    "Engine",
    "Failure",
    "HarnessError",
    "OnFailure",
    "OnResult",
    "default_jobs",
    "failures",
    "group_of",
    "run",
    "samples_for",
]

#: Called with each result as it comes.
OnResult = Callable[[Result], None]
_WRONG = (FALSIFIED, CRASHED, TIMEOUT)


@dataclass(frozen=True)
class Failure:
    """A conversion that is wrong: its pair, its files, the type that a quantiser was asked for, and what says so.

    There is no output of a run that crashed, took too long or refused what it should take.
    """

    pair: str
    source: Path
    output: Path | None
    asked: str | None
    results: list[Result]


#: Called once, with every failure, while the files are still there and nothing is converted any more.
OnFailure = Callable[[Sequence[Failure]], None]


def large_samples_for(entry: Entry, seed: int) -> list[Sample]:
    """What the nightly profile gives a converter besides: files of many layers, rows and tensors."""
    return [
        *large.nightly(
            seed,
            architectures=entry.architectures,
            types=entry.types,
            whole_models=bool(entry.whole_models),
            tokenizers=entry.tokenizers,
        )
    ]


def samples_for(entry: Entry, seed: int) -> list[Sample]:
    """The samples that a converter is given: all, or what its entry takes."""
    made = default_samples.default(
        seed, architectures=entry.architectures, types=entry.types, whole_models=bool(entry.whole_models),
        tokenizers=entry.tokenizers, rope_scaling=entry.rope_scaling,
    )  # fmt: skip
    faces = tuple(dict.fromkeys(LETTERS[pair[0]] for pair in entry.asked_on))
    return made + (
        default_samples.for_quantisers(seed, faces, entry.architectures, entry.tokenizers) if entry.quantises else []
    )


@dataclass
class Engine:
    """One converter and one seed: the cases that are planned, before anything runs, and their answers."""

    session: Session
    safety: Safety
    cases: list[Case]

    @classmethod
    def of(
        cls, converter: Converter, work: Workspace, seed: int, samples: Sequence[Sample], only: Iterable[str] = (),
        faces: Faces | None = None,
    ) -> Engine:  # fmt: skip
        """Plan every case, or those that match one of the patterns `only`. No conversion is run. Engines may share `faces`."""
        session = Session(converter, {sample.name: sample for sample in samples}, work, faces)
        safety, patterns = Safety(session, seed), tuple(only)
        cases = [
            case
            for case in [*plan(converter.entry, samples), *safety.plan()]
            if not patterns or any(fnmatch(case.id, pattern) for pattern in patterns)
        ]
        return cls(session, safety, cases)

    def answer(self, case: Case, answers: Answers) -> Result:
        """The result of a planned case. `answers` keeps what cases of one conversion have in common, for one thread.

        Raises HarnessError, for which no converter is to blame.
        """
        try:
            result = self.safety.answer(case) if case.malformed else answers.answer(case)
            return excuse(result, self.session.converter.entry.loses)
        except HarnessError as error:
            raise HarnessError(f"{case.id} has no answer: {error.problem}") from error
        except Exception as error:
            raise HarnessError(f"{case.id} has no answer: {unforeseen(error)}") from error

    def answers(self, cases: Iterable[Case]) -> Iterator[Result]:
        """The results one by one, in the order of the cases: who has seen enough converts no more."""
        answers = Answers(self.session)
        return (self.answer(case, answers) for case in cases)


def group_of(case: Case) -> str:
    """Cases of one group share conversions: those of a sample, and each malformed file alone."""
    return case.rule or case.sample


def run(
    converter: Converter,
    *,
    seed: int = 0,
    samples: Sequence[Sample] | None = None,
    only: Iterable[str] = (),
    jobs: int | None = None,
    keep: Path | None = None,
    on_result: OnResult = lambda result: None,
    on_failure: OnFailure = lambda failures: None,
    extent: Extent | None = None,
) -> list[Result]:
    """Answer every case, or those that match one of the patterns `only`, as far as `extent` goes; in the order of the plan.

    `jobs` conversions run at once where the converter is a command (a function has this process for itself); `keep` is a folder in
    which the files are left.
    """
    given = samples if samples is not None else samples_for(converter.entry, seed)
    extent = extent if extent is not None else Extent()
    with Workspace(keep) as work:
        engine = Engine.of(converter, work, seed, given, only)
        engine.cases = extent.chosen(engine.cases, group_of)
        results = _answered(engine, jobs if jobs is not None else default_jobs(converter.entry), on_result, extent)
        try:
            on_failure(failures(engine, results))
        except STOPS as error:
            extent.stop(error)
        return results


def default_jobs(entry: Entry) -> int:
    """As many as there are cores for commands, one for a function."""
    return (os.cpu_count() or 1) if entry.command is not None else 1


def _answered(engine: Engine, jobs: int, on_result: OnResult, extent: Extent) -> list[Result]:
    results: dict[str, Result] = {}

    def one(group: list[Case]) -> None:
        answers = Answers(engine.session)
        for case in group:
            if extent.is_over:
                return
            result = engine.answer(case, answers)
            if extent.take(result):
                results[case.id] = result
                on_result(result)

    try:
        with at_once(max(jobs, 1)) as pool:
            for _ in pool.map(one, extent.groups(engine.cases, group_of)):
                pass
    except STOPS as error:
        extent.stop(error)
    return [results[case.id] for case in engine.cases if case.id in results]


def failures(engine: Engine, results: Iterable[Result]) -> list[Failure]:
    """The conversions that those results say are wrong: single ones, and of chains the first leg that is."""
    cases = {case.id: case for case in engine.cases}
    found: dict[tuple[Path, str, str | None], Failure] = {}
    for result in results:
        case = cases[result.case]
        for one in _wrong(engine, case, result) if result.outcome in _WRONG else ():
            found.setdefault((one.source, one.pair, one.asked), one).results.append(result)
    return list(found.values())


def _wrong(engine: Engine, case: Case, result: Result) -> Iterator[Failure]:
    if any(UNJUDGED.match(finding.detail) for finding in result.findings):
        return  # whoever looks at that output again may fall, or never end, and has no process of its own
    if case.malformed:
        if (source := engine.safety.written.get(case.id)) is not None:
            yield Failure(letters((result.source_format, result.target_format)), source, None, None, [])
        return
    done = engine.session.conversion(case.sample, case.steps, type=case.type) if case.steps else None
    if done is not None and done.target is None:
        yield Failure(letters(case.steps[done.leg - 1 : done.leg + 1]), done.source, None, case.type, [])
    elif steps := CHECKS[case.what].wrong_steps(case, result.findings):
        done = engine.session.conversion(case.sample, steps, type=case.type)
        yield Failure(letters(steps[-2:]), done.source, done.target, case.type, [])
