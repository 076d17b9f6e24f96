"""How a conversion that gives nothing to look at is told.

What an entry claims and refuses, or refuses of its own making, is Falsified; what was never claimed is Skipped, with what the
converter said; an output that is missing, empty, old or the input itself is Falsified.
"""

from __future__ import annotations

from rosetta_ref.gate.converter.entry import CRASHED as RUN_CRASHED
from rosetta_ref.gate.converter.entry import REFUSED, Entry
from rosetta_ref.gate.converter.entry import TIMEOUT as RUN_TIMEOUT
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
    run, entry = done.run, session.converter.entry
    said = _last_line(run.stderr) or _last_line(run.stdout)
    if run.outcome == REFUSED:
        claims = _claims(entry, case, session.samples[case.sample], done)
        result.outcome = FALSIFIED if claims else SKIPPED
        code = f" (exit {run.exit_code})" if run.exit_code is not None else ""
        result.reason = f"refused{code}: {said or run.detail}"
        if claims:
            what = "its own output" if done.own else "what its entry claims"
            result.findings.append(Finding("refused", case.gate, f"{what} is refused: {said or run.detail}"))
    elif run.outcome in (RUN_CRASHED, RUN_TIMEOUT):
        result.outcome = CRASHED if run.outcome == RUN_CRASHED else TIMEOUT
        if entry.pairs is not None and _leg(case, done) not in entry.pairs:
            result.outcome = SKIPPED  # a leg of a chain that nobody claims: it is tried, and may fail in any way
        result.reason = f"{run.detail or run.outcome}{f': {said}' if said else ''}"
    else:
        result.outcome, result.reason = FALSIFIED, str(done.flaw)
    if done.flaw is not None:
        result.outcome = FALSIFIED if result.outcome == SKIPPED else result.outcome
        result.findings.append(Finding(done.flaw.kind, case.gate, done.flaw.detail))
    return result


def not_claimed(entry: Entry, case: Case) -> str | None:
    """Why our file of a format is not given to a converter: its entry says that it reads only its own. None where it is given."""
    if case.steps and case.steps[0] in entry.reads_own_files_only:
        return f"the entry says that of {case.steps[0]} it reads only the files that it wrote"
    return None


def _claims(entry: Entry, case: Case, sample: Sample, done: Conversion) -> bool:
    """Whether the entry says that it takes this: pair of the leg, architecture and types, little-endian."""
    leg = _leg(case, done)
    if set(entry.loses) & _features(sample, case.steps[0]):
        return False
    if done.own:
        return entry.pairs is None or leg in entry.pairs
    types = {tensor.type.name for tensor in sample.model.tensors.values()}
    return (
        not sample.big_endian
        and entry.pairs is not None
        and leg in entry.pairs
        and _claims_model(entry, sample)
        and (entry.types is None or types <= {*entry.types, "F32"})
    )


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


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
