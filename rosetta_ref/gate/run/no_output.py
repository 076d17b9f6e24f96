"""How a conversion that gives nothing to look at is told.

What an entry claims and refuses, or refuses of its own making, is Falsified; what was never claimed is Skipped, with what the
converter said; an output that is missing, empty, old or the input itself is Falsified.
"""

from __future__ import annotations

from itertools import pairwise

from rosetta_ref.gate.converter.entry import CRASHED as RUN_CRASHED
from rosetta_ref.gate.converter.entry import REFUSED, Entry
from rosetta_ref.gate.converter.entry import TIMEOUT as RUN_TIMEOUT
from rosetta_ref.gate.converter.said import reason_of
from rosetta_ref.gate.findings import CRASHED, FALSIFIED, SKIPPED, TIMEOUT, Finding, Result
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.session import Conversion, Session


def note_run(result: Result, done: Conversion) -> None:
    """What the run cost, and what it said."""
    run = done.run
    result.seconds, result.memory, result.exit_code = run.seconds, run.memory, run.exit_code
    result.disk = run.disk
    result.stdout, result.stderr = run.stdout[-2000:], run.stderr[-2000:]


def tell(result: Result, case: Case, session: Session, done: Conversion) -> Result:
    """No output to look at: the run refused, crashed, took too long, or wrote nothing that counts."""
    run = done.run
    said = reason_of(run)
    if run.outcome == REFUSED:
        claims = _claims(case, session, done)
        result.outcome, result.unclaimed = (FALSIFIED, False) if claims else (SKIPPED, True)
        code = f" (exit {run.exit_code})" if run.exit_code is not None else ""
        result.reason = f"refused{code}: {said}"
        if claims:
            what = "its own output" if done.own else "what its entry claims"
            result.findings.append(Finding("refused", case.gate, f"{what} is refused: {said}"))
    elif run.outcome in (RUN_CRASHED, RUN_TIMEOUT):
        result.outcome = CRASHED if run.outcome == RUN_CRASHED else TIMEOUT
        result.reason = ": ".join(dict.fromkeys(filter(None, (run.detail or run.outcome, said))))
    else:
        result.outcome, result.reason = FALSIFIED, str(done.flaw)
    if done.flaw is not None:
        result.outcome, result.unclaimed = FALSIFIED if result.outcome == SKIPPED else result.outcome, False
        result.findings.append(Finding(done.flaw.kind, case.gate, done.flaw.detail))
    return result


def not_claimed(entry: Entry, case: Case) -> str | None:
    """Why a case is not asked: a pair, or our files of a format, that the entry does not claim. None where it is asked."""
    if case.steps[0] in entry.reads_own_files_only:
        return f"the entry says that of {case.steps[0]} it reads only the files that it wrote"
    leg = unclaimed_leg(entry, case)
    return f"the entry does not claim {leg}" if leg is not None else None


def unclaimed_leg(entry: Entry, case: Case) -> str | None:
    """The first pair on the ways of a case that the entry does not claim: then nothing is asked. None without a list of pairs."""
    if entry.pairs is None or case.type is not None:
        return None
    legs = (letters(leg) for steps in (case.steps, case.other) for leg in pairwise(steps))
    return next((leg for leg in legs if leg not in entry.pairs), None)


def is_unclaimed(case: Case, session: Session, done: Conversion) -> bool:
    """Whether a conversion left no output because it was refused, and nobody says that it is taken."""
    return done.run.outcome == REFUSED and done.flaw is None and not _claims(case, session, done)


def _claims(case: Case, session: Session, done: Conversion) -> bool:
    """Whether the entry says that it takes this: pair of the leg, architecture and types, little-endian."""
    entry, sample, leg = session.converter.entry, session.samples[case.sample], _leg(case, done)
    if set(entry.loses) & _features(sample, case.steps[0]):
        return False
    if done.own:
        return leg in entry.pairs if entry.pairs is not None else _is_taken(case, session, done)
    types = {tensor.type.name for tensor in sample.model.tensors.values()}
    return (
        not sample.big_endian
        and entry.pairs is not None
        and leg in entry.pairs
        and _claims_model(entry, sample)
        and (entry.types is None or types <= {*entry.types, "F32"})
    )


def _is_taken(case: Case, session: Session, done: Conversion) -> bool:
    """Whether the leg takes the same model from the gate, of a converter that says nothing of pairs.

    Then it claims what it shows. What it declines from the gate, too, it never claimed.
    """
    leg = case.steps[done.leg - 1 : done.leg + 1]
    if leg[0] not in session.samples[case.sample].formats:
        return False
    return session.conversion(case.sample, leg).run.accepted


def _claims_model(entry: Entry, sample: Sample) -> bool:
    if sample.architecture is None:
        return entry.whole_models is False
    return entry.architectures is not None and sample.architecture in entry.architectures


def _features(sample: Sample, face: str) -> set[str]:
    """What an entry may say that it does not take: payloads, types in a format, models of several files."""
    found = {label.rsplit("/", 1)[-1] for label in sample.labels.values()}
    found |= {f"{face}/{tensor.type.name.lower()}" for tensor in sample.model.tensors.values()}
    return found | ({"sharded", f"{face}/sharded"} if sample.shards > 1 else set())


def _leg(case: Case, done: Conversion) -> str:
    """The pair of the last leg that was tried."""
    return letters(case.steps[done.leg - 1 : done.leg + 1])
