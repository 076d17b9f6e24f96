"""A run in one look: a table of gates, failures grouped by cause with the worst first, and last the line that reproduces one.

`markdown` is for a job summary and never longer than 40 lines; `tables` are for a terminal.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rosetta_ref.errors import SHOWN, safe_line
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import CORROBORATED, CRASHED, FALSIFIED, OUTCOMES, SKIPPED, TIMEOUT, Finding, Result
from rosetta_ref.gate.kinds import KINDS, UNSTATED, Severity
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.gate.report.files import counts
from rosetta_ref.gate.report.rosetta import ENDED, rosetta_score
from rosetta_ref.gate.report.score import Score, Scored
from rosetta_ref.gate.report.verdict import RunVerdict, said

#: A Markdown summary has fewer lines than this.
MOST_LINES = 40
#: Characters of one cell or line of it.
_LONGEST = 400
_MOST_GATES = 21
#: What a terminal gets of skips and expectations that are wrong; failures are grouped, and all there.
_MOST_SAID = 20
#: A link that Markdown shows as it is.
_ADDRESS = re.compile(r"https?://[\w./#?=&%+~:-]{1,500}", re.ASCII)
#: The gates of one pair each.
_PAIRS = frozenset(f"F-CONV-{number:03}" for number in range(1, len(PAIRS) + 1))

Reproduce = Callable[[Result, Entry], str]


@dataclass(frozen=True)
class Cause:
    """Failures that are wrong in the same way. `diagnosis` names the bug, where the zoo knows it."""

    kind: str
    diagnosis: str | None
    link: str | None
    results: tuple[Result, ...]
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """How bad it is: the severity of its kind, or of the outcome that it is named after."""
        return KINDS.get(ENDED.get(self.kind, self.kind), KINDS[UNSTATED]).severity

    @property
    def title(self) -> str:
        """The kind, and the name of the bug."""
        return f"{self.kind} ({self.diagnosis})" if self.diagnosis else self.kind

    @property
    def first(self) -> str:
        """The first failure in words."""
        return str(self.findings[0]) if self.findings else said(self.results[0])


def causes(results: Sequence[Result]) -> list[Cause]:
    """Failures by cause: the worst first, then those that most cases show. A case with several kinds is in several."""
    groups: dict[tuple[str, str | None], dict[str, tuple[Result, list[Finding]]]] = {}
    for result in results:
        if result.outcome in (CORROBORATED, SKIPPED):
            continue
        kinds = [result.outcome] if result.outcome != FALSIFIED else [f.kind for f in result.findings] or [UNSTATED]
        for kind in dict.fromkeys(kinds):
            fitting = [finding for finding in result.findings if finding.kind == kind]
            groups.setdefault((kind, result.diagnosis), {})[result.case] = (result, fitting)
    made = []
    for (kind, diagnosis), members in groups.items():
        cases = tuple(result for result, _ in members.values())
        found = tuple(finding for _, findings in members.values() for finding in findings)
        made.append(Cause(kind, diagnosis, cases[0].link, cases, found))
    return sorted(made, key=lambda cause: (cause.severity.rank, -len(cause.results), cause.title))


def reproduce(result: Result, entry: Entry) -> str:
    """The command that shows one failure again."""
    if result.reproduction is not None:
        return shlex.join(["rosetta-ref", "replay", str(result.reproduction)])
    converter = entry.command or entry.function or entry.name
    return shlex.join(
        ["rosetta-ref", "gate", "--converter", converter, "--case", result.case, "--seed", str(result.seed)]
    )


def markdown(
    results: Sequence[Result],
    verdict: RunVerdict,
    entry: Entry,
    score: Score | None = None,
    *,
    reproduce: Reproduce = reproduce,
) -> str:
    """The run in Markdown, in fewer than 40 lines."""
    head = [f"## {_cell(entry.name)}: {verdict.word}", "", _figures(results, verdict, score), ""]
    head += _gates(results)
    head += ["", *(f"- {_cell(line)}" for line in worst)] if (worst := _worst(results)) else []
    found = causes(verdict.failures)
    last = [] if not found else ["", f"Reproduce: {_code(reproduce(found[0].results[0], entry))}"]
    room = MOST_LINES - 1 - len(head) - len(last)
    lines = [_bullet(cause) for cause in found]
    lines += [f"- {_cell(line)}" for line in _beside_failures(verdict)]
    return "\n".join([*head, *_within(lines, room), *last]) + "\n"


def _worst(results: Sequence[Result]) -> Sequence[str]:
    """The worst causes, expected ones too, in a sentence each."""
    beside = rosetta_score(map(Scored.of, results))
    return beside.worst if beside is not None else ()


def _beside_failures(verdict: RunVerdict) -> list[str]:
    """What else is wrong: the failures stand among the causes."""
    return [line for line in verdict.lines() if not line.startswith("unexpected: ")]


def _figures(results: Sequence[Result], verdict: RunVerdict, score: Score | None) -> str:
    expected = sum(result.outcome not in (CORROBORATED, SKIPPED) for result in verdict.as_expected)
    skipped = sum(result.outcome == SKIPPED for result in results)
    figures = f"{_cases(len(results))}: {_unexpected(verdict)}, {expected} as expected, {skipped} skipped{_not_claimed(results)}"
    beside = rosetta_score(map(Scored.of, results))
    figures += "" if score is None else f"; MQS {score.raw} of 1000 ({score.grade})"
    return figures if beside is None else f"{figures}; rosetta score {beside}"


def _unexpected(verdict: RunVerdict) -> str:
    """What is not as expected, by how it differs; the failures are named even where there is none and nothing else is wrong."""
    counted = (
        (len(verdict.failures), "failed unexpectedly"), (len(verdict.passing), "passed unexpectedly"),
        (len(verdict.unpinned), "skipped without a pin"), (len(verdict.unskipped), "not skipped as expected"),
        (len(verdict.unmatched) + len(verdict.stale) + len(verdict.expired), "expectation{s} out of date"),
        (len(verdict.errors), "error{s} of the run"),
    )  # fmt: skip
    said = [f"{count} {what.format(s='' if count == 1 else 's')}" for count, what in counted if count]
    return ", ".join(said) or "0 failed unexpectedly"


def _not_claimed(results: Sequence[Result]) -> str:
    """How many pairs the gate asked nothing about, since nobody claims them."""
    by_gate: dict[str, bool] = {}
    for result in results:
        if result.gate in _PAIRS:
            by_gate[result.gate] = by_gate.get(result.gate, True) and result.unclaimed
    count = sum(by_gate.values())
    return f"; {count} pair{'' if count == 1 else 's'} not claimed" if count else ""


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _gates(results: Sequence[Result]) -> list[str]:
    rows = [(gate, *found.values()) for gate, found in counts(results).items()]
    if len(rows) > _MOST_GATES:
        rest = [sum(column) for column in zip(*(row[1:] for row in rows[_MOST_GATES - 1 :]), strict=True)]
        rows = [*rows[: _MOST_GATES - 1], ("other gates", *rest)]
    heading = ("gate", *map(str.lower, OUTCOMES))
    ruled = "|" + "---|" + "---:|" * len(OUTCOMES)
    return [_row(heading), ruled, *map(_row, rows)]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(str(cell)) for cell in cells) + " |"


def _bullet(cause: Cause) -> str:
    link = f" {cause.link if _ADDRESS.fullmatch(cause.link) else _cell(cause.link)}" if cause.link else ""
    return (
        f"- **{_cell(cause.title)}**{link}, {_cases(len(cause.results))}: {_code(cause.results[0].case)}: "
        f"{_cell(_short(cause.first, 200))}"
    )


def _within(lines: Sequence[str], room: int) -> list[str]:
    """As many of the lines as there is room for, after an empty one, and how many are missing."""
    if not lines or room < 2:
        return []
    if len(lines) < room:
        return ["", *lines]
    return ["", *lines[: room - 2], f"- and {len(lines) - room + 2} more, in result.json"]


def _cell(text: str) -> str:
    """Text that is nothing but text in a table of Markdown."""
    cleaned = " ".join(safe_line(" ".join(text.split()), _LONGEST).split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#~&" else letter for letter in cleaned)


def _code(text: str) -> str:
    """Code that may have backticks in it."""
    cleaned = " ".join(safe_line(" ".join(text.split()), SHOWN).split())
    longest = max(map(len, re.findall("`+", cleaned)), default=0)
    if longest > 1:  # what is between marks may hold fewer of them
        marks = "`" * (longest + 1)
        return f"{marks} {cleaned} {marks}"
    return f"`` {cleaned} ``" if "`" in cleaned else f"`{cleaned}`"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def tables(
    results: Sequence[Result],
    verdict: RunVerdict,
    entry: Entry,
    score: Score | None = None,
    *,
    reproduce: Reproduce = reproduce,
) -> Iterator[RenderableType]:
    """What to print on a terminal, one after the other; the verdict and the line to reproduce come last."""
    gates = Table("gate", title=Text(safe_line(entry.name, _LONGEST)), title_justify="left")
    for outcome in OUTCOMES:
        gates.add_column(outcome.lower(), justify="right")
    for gate, found in counts(results).items():
        bad = found[FALSIFIED] + found[CRASHED] + found[TIMEOUT]
        gates.add_row(
            Text(safe_line(gate), style="red" if bad else ""), *(str(count or "") for count in found.values())
        )
    yield gates
    found_causes = causes(verdict.failures)
    if found_causes:
        yield _causes(found_causes)
    lines = _beside_failures(verdict)
    for line in lines[:_MOST_SAID]:
        yield Text(safe_line(line, SHOWN), style="yellow")
    if len(lines) > _MOST_SAID:
        yield Text(f"and {len(lines) - _MOST_SAID} more, in result.json", style="yellow")
    for line in _worst(results):
        yield Text(safe_line(f"worst: {line}", SHOWN))
    yield Text(f"{verdict.word}: {_figures(results, verdict, score)}", style="red" if verdict.exit_code else "green")
    if found_causes:
        yield Text(f"reproduce: {safe_line(reproduce(found_causes[0].results[0], entry), SHOWN)}")


def _causes(found: Sequence[Cause]) -> Table:
    made = Table("severity", "what", "cases", "first", title="unexpected failures, by cause", title_justify="left")
    made.columns[2].justify = "right"
    for column in made.columns:
        column.overflow = "fold"
    for cause in found:
        what = Text(safe_line(cause.title))
        if cause.link:
            what.append(f"\n{safe_line(cause.link)}", style="dim")
        first = Text.assemble((safe_line(cause.results[0].case), "bold"), f"\n{safe_line(_short(cause.first, 300))}")
        made.add_row(cause.severity.value, what, str(len(cause.results)), first)
    return made
