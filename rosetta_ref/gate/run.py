"""The engine: every case of a converter answered, a few samples at a time, and none forgotten."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

from rosetta_ref.gate import samples as default_samples
from rosetta_ref.gate.answers import Answers
from rosetta_ref.gate.cases import REFUSAL, Case, plan
from rosetta_ref.gate.converter import Converter, Entry
from rosetta_ref.gate.result import Result
from rosetta_ref.gate.safety import Safety
from rosetta_ref.gate.sample import Sample
from rosetta_ref.gate.session import Session
from rosetta_ref.gate.workspace import Workspace

#: Called with each result as it comes.
Told = Callable[[Result], None]


def samples_for(entry: Entry, seed: int) -> list[Sample]:
    """The samples that a converter is given: all, or what its entry takes."""
    made = default_samples.default(
        seed, architectures=entry.architectures, types=entry.types, whole_models=bool(entry.whole_models)
    )
    return made + (default_samples.for_quantisers(seed) if entry.quantises else [])


def run(
    converter: Converter,
    *,
    seed: int = 0,
    samples: Sequence[Sample] | None = None,
    only: Iterable[str] = (),
    jobs: int | None = None,
    keep: Path | None = None,
    told: Told = lambda result: None,
) -> list[Result]:
    """Answer every case, or those that match one of the patterns `only`; in the order of the plan.

    `jobs` conversions run at once where the converter is a command (a function has this process for itself); `keep` is a folder in
    which the files are left.
    """
    given = samples if samples is not None else samples_for(converter.entry, seed)
    patterns = tuple(only)
    with Workspace(keep) as work:
        session = Session(converter, {sample.name: sample for sample in given}, work)
        safety = Safety(session, seed)
        cases = [
            case
            for case in [*plan(converter.entry, given), *safety.plan()]
            if not patterns or any(fnmatch(case.id, pattern) for pattern in patterns)
        ]
        return _answered(session, safety, cases, jobs if jobs is not None else default_jobs(converter.entry), told)


def default_jobs(entry: Entry) -> int:
    """As many as there are cores for commands, one for a function."""
    return (os.cpu_count() or 1) if entry.command is not None else 1


def _answered(session: Session, safety: Safety, cases: Sequence[Case], jobs: int, told: Told) -> list[Result]:
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.rule or case.sample, []).append(case)

    def one(group: list[Case]) -> dict[str, Result]:
        made = {}
        for result in answered(session, safety, group):
            made[result.case] = result
            told(result)
        return made

    results: dict[str, Result] = {}
    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        for made in pool.map(one, groups.values()):
            results |= made
    return [results[case.id] for case in cases]


def answered(session: Session, safety: Safety, cases: Iterable[Case]) -> Iterator[Result]:
    """The results one by one, in the order of the cases: who has seen enough converts no more."""
    answers = Answers(session)
    for case in cases:
        yield safety.answer(case) if case.what == REFUSAL else answers.answer(case)
