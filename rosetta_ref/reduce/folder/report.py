"""report.md: what is wrong, where, why and how to show it, for somebody who maintains the converter and nothing of this project."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.converter.entry import ACCEPTED
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.gates import SAFE
from rosetta_ref.gate.judge.tensors import META
from rosetta_ref.gate.judge.view import UNREADABLE, UnreadableError
from rosetta_ref.gate.kinds import About, kind_of
from rosetta_ref.reduce.folder.expected import Expected
from rosetta_ref.reduce.folder.prose import block, code, last_words, plain_words
from rosetta_ref.reduce.folder.where import where
from rosetta_ref.reduce.search.candidate import Oracle, looked
from rosetta_ref.reduce.search.failure import Fingerprint, fitting
from rosetta_ref.zoo import MEMBERS

if TYPE_CHECKING:
    from rosetta_ref.reduce.search.candidate import Found

#: Bytes of an input that has a build.py and an annotated.txt.
LARGE = 1 << 16


@dataclass(frozen=True)
class Told:
    """What a report is made of. `place` is the folder, as it is called from where shrink runs."""

    expected: Expected
    found: Found
    oracle: Oracle
    place: Path
    actual: str | None
    size: int
    flags: str = ""

    @property
    def findings(self) -> list[Finding]:
        """Those that are this failure, or all."""
        seen = self.found.seen.findings
        return fitting(self.expected.fingerprint, seen) or list(seen)

    def words(self, text: str) -> str:
        """Text with the names that files have in the folder."""
        seen = self.found.seen
        names = {str(seen.source): self.expected.input}
        if seen.target is not None and self.actual is not None:
            names[str(seen.target)] = self.actual
        return plain_words(text, names, self.oracle.work.path)

    @property
    def said(self) -> str:
        """The last words of a converter that leaves no output; nothing of one that does."""
        run = self.found.seen.run
        return "" if self.actual is not None else self.words(last_words(run.stderr) or last_words(run.stdout))

    def complaint(self, finding: Finding) -> str:
        """What a finding says, without what a report says elsewhere: the rule of a broken file, and how the run ended."""
        run, words = self.found.seen.run, finding.detail
        if finding.gate == SAFE:
            words = words.removeprefix(f"{self.expected.fingerprint.subject}: ").removeprefix("accepted, though ")
        elif finding.kind not in _ENDED:
            return self.words(str(finding))
        how = run.detail or run.outcome
        return "" if words == how else self.words(words.removesuffix(f" ({how})"))


def markdown(told: Told) -> str:
    """The report."""
    parts = [
        [f"# {title(told)}", ""], _what(told), _said(told), _where(told), _why(told), _shown(told), _versions(told),
    ]  # fmt: skip
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def title(told: Told) -> str:
    """One line: the formats, and what happens."""
    expected = told.expected
    said = kind_of(expected.fingerprint.kind).says
    about_it = kind_of(expected.fingerprint.kind).about is About.REFUSALS
    said += " on a broken file" if expected.fingerprint.gate == SAFE and not about_it else ""
    subject = expected.fingerprint.subject
    if subject and expected.fingerprint.gate != SAFE and expected.fingerprint.kind in _ENDED:
        subject = told.complaint(told.findings[0])
    kind = told.findings[0].source_type if told.findings and told.findings[0].tensor else None
    what = f"{kind}: " if kind else ""
    return f"{_way(expected)}: {what}{said}" + (f" ({code(subject)})" if subject else "")


def _way(expected: Expected) -> str:
    return f"{of(expected.source_format).title} to {of(expected.target_format).title}"


def _what(told: Told) -> list[str]:
    """The conversion and its input, and what is wrong."""
    expected, run = told.expected, told.found.seen.run
    asked = f", asked for {expected.asked}" if expected.asked else ""
    how = run.detail or (f"exit code {run.exit_code}" if run.exit_code is not None else "")
    ended = _ENDED.get(run.outcome, run.outcome) + (f" ({code(how)})" if how and run.outcome != ACCEPTED else "")
    lines = _listed(told)
    return [
        f"{code(str(expected.converter.get('name')))} converts {code(expected.input)} ({told.size:,} bytes) from {_way(expected)}"
        f"{asked}, {ended}, {_outcome(told)}{':' if lines else '.'}",
        "", *lines, *([""] if lines else []),
        f"The input is the smallest that was found: {_inventory(told)}. {told.found.origin}", "",
    ]  # fmt: skip


def _listed(told: Told) -> list[str]:
    """The findings; not those that the converter's own words are about, which follow."""
    words = [told.complaint(finding) for finding in told.findings]
    lines = [f"- {code(one)}" for one in words if one and one not in told.said]
    return [*lines[:4], f"- and {len(lines) - 4} more like these"] if len(lines) > 4 else lines


def _outcome(told: Told) -> str:
    """What there is after it."""
    accepted = told.found.seen.run.outcome == ACCEPTED
    if told.expected.fingerprint.gate == SAFE:
        return "and so takes a file that must be refused" if accepted else "where it has to refuse a file"
    if told.actual is None:
        return "and leaves no output that counts" if accepted else "and leaves no output"
    return f"and writes {code(told.actual)}, in which this is wrong"


def _inventory(told: Told) -> str:
    try:
        with looked(told.found.seen.source) as view:
            tensors = [seen.tensor for seen in view.tensors.values()]
            words = len(view.archive.metadata)
    except UnreadableError as error:
        return f"a file that no reader should take ({code(told.words(error.problem))})"
    listed = ", ".join(f"{code(one.name)} {one.type.name} {list(one.shape)}" for one in tensors[:3])
    more = f" and {len(tensors) - 3} more tensors" if len(tensors) > 3 else ""
    keys = f", {words} metadata keys" if words else ", no metadata"
    return f"{listed}{more}{keys}"


def _said(told: Told) -> list[str]:
    """The last words of the converter, where they are all that there is."""
    return ["## What it says", "", *block(told.said), ""] if told.said else []


def _where(told: Told) -> list[str]:
    """The first difference, and a few elements beside each other."""
    target, finding = told.found.seen.target, next((one for one in told.findings if one.tensor is not None), None)
    if finding is None or target is None or told.actual is None:
        return []
    lines = where(finding, target, told.actual, told.expected.expected.get(finding.tensor or ""))
    if told.size <= LARGE:
        lines += ["`annotated.txt` has every byte of both files under its field's name.", ""]
    return ["## Where", "", *lines] if lines else []


# Why, and how


def _why(told: Told) -> list[str]:
    """The bugs that do exactly this, with links, or that nobody knows; and what is right."""
    fingerprint = told.expected.fingerprint
    lines = [line for name in fingerprint.cause for line in _cause(name)]
    has_output = told.actual is not None and fingerprint.kind not in UNREADABLE and fingerprint.gate != SAFE
    if not lines and has_output:
        lines = ["No bug that is known here gives exactly this output."]
    rule = _right(fingerprint)
    if lines:
        return ["## Why", "", *lines, "", *([f"What is right: {rule}.", ""] if rule else [])]
    return ["## What is right", "", f"{rule[0].upper()}{rule[1:]}.", ""] if rule else []


def _cause(name: str) -> list[str]:
    """A bug, or a structure of the data."""
    member = MEMBERS.get(name)
    if member is None:
        return [f"- {name.replace('-', ' ')}: every element of the output is explained by that."]
    origin = "a bug that this project thought of" if member.ours else f"the bug of {member.origin}"
    link = f" <{member.link}>" if member.link else ""
    lines = [f"- **{name}**: {member.does}. The output is, in all that is wrong, what {origin} gives.{link}"]
    lines += [f"  - It does not show on: {member.blind}."] if member.blind else []
    return [*lines, *(f"  - It may as well be {other}: {why}." for other, why in _same_as(name).items())]


def _same_as(name: str) -> dict[str, str]:
    """Members that are declared to give the very same on some input, and why."""
    others = {member.id: member.alike[name] for member in MEMBERS.values() if name in member.alike}
    return {**MEMBERS[name].alike, **others}


def _right(fingerprint: Fingerprint) -> str:
    if fingerprint.gate == SAFE:
        return "a malformed file is refused, with a message and an exit code that say so, and nothing is left of it"
    return kind_of(fingerprint.kind).right or _RULES.get(fingerprint.gate, "")


_ENDED = {"accepted": "says that all is well", "refused": "refuses it", "crashed": "crashes", "timeout": "does not end"}
_RULES = {
    META: "every number, token and special id that the target has a place for arrives with its value",
    "F-CONV-CARD-001": "no tensor is lost, none invented, none written twice",
    "F-CONV-NAME-001": "every tensor has the name that the target format gives it",
    "F-CONV-QUANT-001": "each block is off by no more than the reference quantiser's, and a margin",
} | {
    f"F-CONV-00{number}": "blocks are carried as they are or decoded bit for bit, floats carried, widened exactly or rounded to "
    "nearest even, and shapes keep their meaning"
    for number in range(1, 7)
}


def link_of(fingerprint: Fingerprint) -> str | None:
    """The page about the first of its causes that has one."""
    return next((MEMBERS[name].link for name in fingerprint.cause if name in MEMBERS and MEMBERS[name].link), None)


def _shown(told: Told) -> list[str]:
    flags = told.flags or f"--converter {shlex.quote(str(_spelled(told.expected)))}"
    place = told.place.resolve()
    inside = place.is_relative_to(Path.cwd())
    named = str(place.relative_to(Path.cwd()) if inside else place.name)
    run_it = (
        "Run it where shrink ran, or elsewhere with its paths changed"
        if inside
        else "Run it from the folder that holds this one, with paths of the converter that are right from there"
    )
    command = f"rosetta-ref replay {shlex.quote(f'./{named}' if named.startswith('-') else named)} {flags}"
    built = ["`python build.py` writes the input again, with nothing but `struct`.", ""] if told.size <= LARGE else []
    return [
        "## How to show it", "", *block(command, "sh"), "",
        f"{run_it}: it says FIXED (exit 0), FAILED (1), FAILED DIFFERENTLY (1) or ERROR (2).", "", *built,
        "As a permanent test: copy this folder into `tests/regression/failures/` of a project that has rosetta-ref among its test "
        "requirements.", "",
    ]  # fmt: skip


def _spelled(expected: Expected) -> str:
    converter = expected.converter
    return converter.get("command") or converter.get("function") or converter.get("name") or ""


def _versions(told: Told) -> list[str]:
    listed = ", ".join(f"{name} {version}" for name, version in told.expected.versions.items())
    calls = f"{told.found.calls} conversion{'s' if told.found.calls != 1 else ''}"
    return [f"Found with {listed}; {calls}. Fingerprint: {code(str(told.expected.fingerprint))}."]
