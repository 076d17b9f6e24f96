"""F-CONV-SAFE-001: malformed input is refused cleanly, with a message, a refusing exit code, nothing left and the input untouched.

A refusal counts only where the unbroken twin is accepted. The twin is a file of ours, or, where the converter declines that, one
that it wrote itself. What may be accepted is wrong only where something else comes out than the twin gives.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.gate import malformed
from rosetta_ref.gate.converter.entry import CRASHED as RUN_CRASHED
from rosetta_ref.gate.converter.entry import REFUSED
from rosetta_ref.gate.converter.entry import TIMEOUT as RUN_TIMEOUT
from rosetta_ref.gate.converter.said import reason_of, traceback_of
from rosetta_ref.gate.findings import CORROBORATED, CRASHED, FALSIFIED, SKIPPED, TIMEOUT, Finding, Result
from rosetta_ref.gate.gates import SAFE
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.malformed import MUST_REFUSE, Malformed
from rosetta_ref.gate.pairs import FORMATS, LETTERS, PAIRS
from rosetta_ref.gate.run import no_output
from rosetta_ref.gate.run.checks.refusals import CHECK
from rosetta_ref.gate.run.judging.processes import Asking
from rosetta_ref.gate.run.judging.questions import settled
from rosetta_ref.gate.run.session import Conversion, Session

#: The sample whose directory, in several files with an index, is broken as a whole.
DIRECTORY = "sharded"
#: The samples whose faces may be the twins, the first that is accepted; and how many cuts of each format are tried.
TWINS = ("llama-f32-tied", "llama-f32-wide", "llama-f16-scores", "qwen2-f32", "floats")
CUTS = 3
_LETTER = {name: letter for letter, name in LETTERS.items()}


@dataclass
class Safety:
    """The malformed files of a session, by rule."""

    session: Session
    seed: int = 0
    #: The malformed files of the cases that were answered, by case.
    written: dict[str, Path] = field(default_factory=dict)
    _files: dict[str, Malformed] = field(default_factory=dict)
    _own: dict[str, dict[str, Malformed]] = field(default_factory=dict)
    #: By format, why the converter's own output is no twin.
    _no_twin: dict[str, str] = field(default_factory=dict)
    judge: Asking = field(default_factory=Asking)

    def plan(self) -> list[Case]:
        """A case for each rule of each format that the converter claims to read."""
        made = []
        for kind, steps in self._pairs():
            sample = next(iter(self._twins(kind)), None)
            if sample is None:
                continue
            found = malformed.from_file(self.session.face(sample, kind), self.seed)
            for file in _chosen(found, self.seed):
                self._files[file.rule] = file
                made.append(Case(f"{SAFE}/{file.rule}", SAFE, CHECK.name, sample, steps, rule=file.rule))
        return made + self._plan_directories()

    def _plan_directories(self) -> list[Case]:
        """Those of a directory, for a converter that is given directories."""
        entry, sample = self.session.converter.entry, self.session.samples.get(DIRECTORY)
        if entry.safetensors_as != "directory" or sample is None:
            return []
        made = []
        for target in self._targets("safetensors")[:1]:
            for file in malformed.of_directory(self.session.face(DIRECTORY, "safetensors")):
                self._files[file.rule] = file
                steps = ("safetensors", target)
                made.append(Case(f"{SAFE}/{file.rule}", SAFE, CHECK.name, DIRECTORY, steps, rule=file.rule))
        return made

    def _pairs(self) -> Iterator[tuple[str, tuple[str, str]]]:
        for kind in FORMATS:
            for target in self._targets(kind)[:1]:
                yield kind, (kind, target)

    def _targets(self, kind: str) -> list[str]:
        claimed = self.session.converter.entry.pairs or PAIRS
        return [other for other in FORMATS if other != kind and f"{_LETTER[kind]}-{_LETTER[other]}" in claimed]

    def _twins(self, kind: str) -> list[str]:
        """Samples that may be twins, of whole models and one file; the first that is there is what the cases are named after."""
        samples = self.session.samples
        return [name for name in TWINS if name in samples and kind in samples[name].formats]

    def answer(self, case: Case) -> Result:
        """The result of a malformed file."""
        result = Result(case.id, case.gate, CORROBORATED, unit=CHECK.unit, expected=1, sample=case.sample)
        result.source_format, result.target_format, result.seed = case.steps[0], case.steps[1], self.seed
        found = self._broken(case)
        if found is None:
            why, result.unclaimed = self._why_none(case)
            result.outcome, result.reason = SKIPPED, f"no unbroken twin is accepted: {why}"
            return result
        file, twin, result.target_format = found
        folder = self.session.work.path / "malformed" / case.rule.replace("/", "-").replace("@", "-")
        self.written[case.id] = source = file.write(folder)
        done = self.session.convert_file(source, result.target_format)
        return self._judge(result, case, file, twin, done)

    def _broken(self, case: Case) -> tuple[Malformed, Conversion, str] | None:
        """The broken file, its twin that is accepted, and the format that both become."""
        kind = case.steps[0]
        if case.sample == DIRECTORY:
            twins = ((self.session.conversion(DIRECTORY, (kind, target)), target) for target in self._targets(kind))
            found = next(((twin, target) for twin, target in twins if twin.usable), None)
            return None if found is None else (self._files[case.rule], *found)
        ours = () if kind in self.session.converter.entry.reads_own_files_only else self._twins(kind)
        for sample in ours:
            for target in self._targets(kind):
                twin = self.session.conversion(sample, (kind, target))
                if twin.usable:
                    files = self._files if sample == case.sample else self._malformed(twin, kind)
                    if (broken := _of_rule(files, case.rule)) is not None:
                        return broken, twin, target
        for sample in self._twins(kind):
            for target in self._targets(kind):
                own = self._own_file(case.rule, sample, kind, target)
                if own is not None:
                    return *own, target
        return None

    def _own_file(self, rule: str, sample: str, kind: str, target: str) -> tuple[Malformed, Conversion] | None:
        """The same rule broken in a file that the converter wrote itself and takes back."""
        claimed, own = self.session.converter.entry.pairs or PAIRS, self.session.converter.entry.reads_own_files_only
        for other in self.session.samples[sample].formats:
            if other == kind or other in own or f"{_LETTER[other]}-{_LETTER[kind]}" not in claimed:
                continue
            back = self.session.conversion(sample, (other, kind, target))
            if back.usable and back.leg == 2:
                found = _of_rule(self._malformed(back, kind), rule)
                if found is not None:
                    return found, back
        return None

    def _why_none(self, case: Case) -> tuple[str, bool]:
        """What the converter said of our file, and what is the matter with its own; whether nobody claims that it takes ours."""
        own = f"what it wrote itself is none: {why}" if (why := self._no_twin.get(case.steps[0])) else ""
        if case.steps[0] in self.session.converter.entry.reads_own_files_only:
            return own or "no file that it wrote is taken back, or has what this rule breaks", False
        twin = self.session.conversion(case.sample, case.steps)
        said = reason_of(twin.run) or twin.run.outcome
        return "; ".join(filter(None, (said, own))), not own and no_output.is_unclaimed(case, self.session, twin)

    def _malformed(self, twin: Conversion, kind: str) -> dict[str, Malformed]:
        key = str(twin.source)
        if key not in self._own:
            try:
                # Every place of a cut: the one that was drawn in our file is another one here.
                found = malformed.from_file(twin.source, self.seed, foreigner=twin.own, everywhere=True)
            except Exception as error:  # noqa: BLE001 (the converter wrote it: what cannot be taken apart is no twin)
                self._no_twin[kind] = error.problem if isinstance(error, RosettaError) else type(error).__name__
                found = []
            self._own[key] = {file.rule: file for file in found}
        return self._own[key]

    def _judge(self, result: Result, case: Case, file: Malformed, twin: Conversion, done: Conversion) -> Result:
        run = done.run
        result.seconds, result.memory, result.exit_code = run.seconds, run.memory, run.exit_code
        result.disk = run.disk
        result.stdout, result.stderr = run.stdout[-2000:], run.stderr[-2000:]
        where = f"{file.rule} ({file.verdict}; {file.source})"
        raised = traceback_of(run, self.session.converter.entry.refuse_exit)
        if run.outcome in (RUN_CRASHED, RUN_TIMEOUT) and raised is None:
            result.outcome = CRASHED if run.outcome == RUN_CRASHED else TIMEOUT
            result.reason = f"{where}: {run.detail or run.outcome}"
            return result
        result.compared = 1
        if done.flaw is not None and not run.accepted:
            result.findings.append(Finding(done.flaw.kind, SAFE, f"{where}: {done.flaw.detail}"))
        if raised is not None:
            result.findings.append(Finding("refused-by-traceback", SAFE, f"{where}: {raised}"))
        elif run.outcome == REFUSED:
            if not (run.stderr.strip() or run.stdout.strip() or run.detail):
                result.findings.append(Finding("no-message", SAFE, f"{where}: refused without a word"))
        elif file.verdict == MUST_REFUSE:
            result.findings.append(Finding("accepted", SAFE, f"{where}: accepted, exit {run.exit_code}"))
        else:
            result.reason = where
            return self._compared(result, case, twin, done)
        result.outcome = FALSIFIED if result.findings else CORROBORATED
        result.reason = str(result.findings[0]) if result.findings else f"{where}: {run.outcome}: {reason_of(run)}"
        return result

    def _compared(self, result: Result, case: Case, twin: Conversion, done: Conversion) -> Result:
        """Of what was accepted, and may be: what came of it against what comes of its twin."""
        where, flaw = result.reason, done.flaw or done.changed()
        if flaw is not None:
            result.findings.append(Finding("accepted-wrongly", SAFE, f"{where}: accepted, and {flaw}"))
            return settled(result)
        assert twin.target is not None
        assert done.target is not None
        entry, ours = self.session.converter.entry, (self.session.face(case.sample, case.steps[0]),)
        asked = Question(case, twin.target, done.target, ours=ours, lossless=entry.lossless, loses=entry.loses)
        result = self.judge(asked, result)
        result.reason = f"{where}: accepted" if result.outcome == CORROBORATED else result.reason
        return result


def _of_rule(files: Mapping[str, Malformed], rule: str) -> Malformed | None:
    """The file that breaks a rule; of a cut, whose name ends with its place in another file, the one most like it."""
    if rule in files or "/cut/" not in rule:
        return files.get(rule)
    what = rule.rpartition("@")[0]
    group = what.removeprefix("before-").partition("-")[2] or what
    cuts = {name: file for name, file in files.items() if "/cut/" in name}
    # Before or inside, where a neighbour took the place; and any, where such a field is not in that file.
    tiers = (f"{what}@", f"-{group}@", "@")
    found = next((alike for tier in tiers if (alike := [file for name, file in cuts.items() if tier in name])), [])
    return random.Random(rule).choice(found) if found else None


def _chosen(files: list[Malformed], seed: int) -> list[Malformed]:
    """Every rule, and a few cuts: one of them takes the end of the data, as a download that stopped does."""
    cuts = [file for file in files if "/cut/" in file.rule]
    rules = [file for file in files if "/cut/" not in file.rule]
    ends = [file for file in cuts if "/cut/last-byte-of-data@" in file.rule][:1]
    others = [file for file in cuts if file not in ends]
    return rules + ends + random.Random(seed).sample(others, min(CUTS - len(ends), len(others)))
