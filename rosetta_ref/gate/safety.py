"""F-CONV-SAFE-001: malformed input is refused cleanly, with a message, a refusing exit code, nothing left and the input untouched.

A refusal counts only where the unbroken twin is accepted. The twin is a file of ours, or, where the converter declines that, one
that it wrote itself. What may be accepted is wrong only where something else comes out than the twin gives.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from rosetta_ref.gate import malformed
from rosetta_ref.gate.cases import REFUSAL, SAFE, Case
from rosetta_ref.gate.converter import CRASHED as RUN_CRASHED
from rosetta_ref.gate.converter import FORMATS, LETTERS, PAIRS, REFUSED
from rosetta_ref.gate.converter import TIMEOUT as RUN_TIMEOUT
from rosetta_ref.gate.judge import judge
from rosetta_ref.gate.malformed import MUST_REFUSE, Malformed
from rosetta_ref.gate.result import CORROBORATED, CRASHED, FALSIFIED, SKIPPED, TIMEOUT, Finding, Result
from rosetta_ref.gate.session import Conversion, Session
from rosetta_ref.gate.view import UnreadableError, look

#: The sample whose faces are the twins, the first that there is; and how many cuts of each format are tried.
TWINS = ("llama-f32-tied", "qwen2-f32", "floats")
CUTS = 3
_LETTER = {name: letter for letter, name in LETTERS.items()}


@dataclass
class Safety:
    """The malformed files of a session, by rule."""

    session: Session
    seed: int = 0
    _files: dict[str, Malformed] = field(default_factory=dict)
    _own: dict[str, dict[str, Malformed]] = field(default_factory=dict)

    def plan(self) -> list[Case]:
        """A case for each rule of each format that the converter claims to read."""
        made = []
        for kind, steps in self._pairs():
            sample = self._twin(kind)
            if sample is None:
                continue
            found = malformed.from_file(self.session.face(sample, kind), self.seed)
            for file in _chosen(found, self.seed):
                self._files[file.rule] = file
                made.append(Case(f"{SAFE}/{file.rule}", SAFE, REFUSAL, sample, steps, rule=file.rule))
        return made

    def _pairs(self) -> Iterator[tuple[str, tuple[str, str]]]:
        claimed = self.session.converter.entry.pairs or PAIRS
        for kind in FORMATS:
            target = next(
                (other for other in FORMATS if other != kind and f"{_LETTER[kind]}-{_LETTER[other]}" in claimed), None
            )
            if target is not None:
                yield kind, (kind, target)

    def _twin(self, kind: str) -> str | None:
        return next((name for name in TWINS if name in self.session.samples
                     and kind in self.session.samples[name].formats), None)  # fmt: skip

    def answer(self, case: Case) -> Result:
        """The result of a malformed file."""
        result = Result(case.id, case.gate, CORROBORATED, unit="refusals", expected=1, sample=case.sample)
        result.source_format, result.target_format, result.seed = case.steps[0], case.steps[1], self.seed
        file, twin = self._files[case.rule], self.session.conversion(case.sample, case.steps)
        if not twin.usable:
            own = self._own_file(case)
            if own is None:
                result.outcome, result.reason = (
                    SKIPPED,
                    f"the unbroken twin is not accepted: {twin.run.detail or twin.run.outcome}",
                )
                return result
            file, twin = own
        folder = self.session.work.path / "malformed" / case.rule.replace("/", "-").replace("@", "-")
        done = self.session.convert_file(file.write(folder), case.steps[1])
        self._judge(result, file, twin, done)
        return result

    def _own_file(self, case: Case) -> tuple[Malformed, Conversion] | None:
        """The same rule broken in a file that the converter wrote itself and takes back."""
        for other in FORMATS:
            first = (other, case.steps[0])
            if other == case.steps[0] or other not in self.session.samples[case.sample].formats:
                continue
            back = self.session.conversion(case.sample, (*first, case.steps[1]))
            if not back.usable or back.leg != 2:
                continue
            key = str(back.source)
            if key not in self._own:
                self._own[key] = {file.rule: file for file in malformed.from_file(back.source, self.seed)}
            if case.rule in self._own[key]:
                return self._own[key][case.rule], back
        return None

    def _judge(self, result: Result, file: Malformed, twin: Conversion, done: Conversion) -> None:
        run = done.run
        result.seconds, result.memory, result.exit_code = run.seconds, run.memory, run.exit_code
        result.stdout, result.stderr = run.stdout[-2000:], run.stderr[-2000:]
        where = f"{file.rule} ({file.verdict}; {file.source})"
        if run.outcome in (RUN_CRASHED, RUN_TIMEOUT):
            result.outcome = CRASHED if run.outcome == RUN_CRASHED else TIMEOUT
            result.reason = f"{where}: {run.detail or run.outcome}"
            return
        result.compared = 1
        if done.flaw is not None and run.outcome == REFUSED:
            result.findings.append(Finding(done.flaw.kind, SAFE, f"{where}: {done.flaw.detail}"))
        if run.outcome == REFUSED:
            if not (run.stderr.strip() or run.stdout.strip() or run.detail):
                result.findings.append(Finding("no-message", SAFE, f"{where}: refused without a word"))
        elif file.verdict == MUST_REFUSE:
            result.findings.append(Finding("accepted", SAFE, f"{where}: accepted, exit {run.exit_code}"))
        elif (wrong := _other_than(twin, done)) is not None:
            result.findings.append(Finding("accepted-wrongly", SAFE, f"{where}: accepted, and {wrong}"))
        result.outcome = FALSIFIED if result.findings else CORROBORATED
        result.reason = str(result.findings[0]) if result.findings else f"{where}: {run.outcome}"


def _chosen(files: list[Malformed], seed: int) -> list[Malformed]:
    """Every rule, and a few cuts."""
    cuts = [file for file in files if "/cut/" in file.rule]
    rules = [file for file in files if "/cut/" not in file.rule]
    return rules + random.Random(seed).sample(cuts, min(CUTS, len(cuts)))


def _other_than(twin: Conversion, done: Conversion) -> str | None:
    """How what came of the broken file differs from what came of its twin."""
    if done.target is None:
        return str(done.flaw)
    assert twin.target is not None
    try:
        with look(twin.target) as right, look(done.target) as found:
            judged = judge(right, found)
    except UnreadableError as error:
        return str(error)
    return str(judged.findings[0]) if judged.findings else None
