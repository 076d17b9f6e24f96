"""What a check is: which cases ask it, which files answer them, how much they have to compare, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import ClassVar

from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.tensors import Judged
from rosetta_ref.gate.pairs import FORMATS, LETTERS, PAIRS, letters

Steps = tuple[str, ...]


class Group(IntEnum):
    """When a check is asked. A sample goes through its groups one after the other, and in each of them pair by pair."""

    CONVERTER = 0  # once, before any sample
    PAIR = 1
    CHAIN = 2
    WAYS = 3
    TWICE = 4
    QUANTISER = 5
    MALFORMED = 6  # behind all samples


@dataclass(frozen=True)
class Subject:
    """What a check is planned for: a sample, and the converter that is given it.

    `thorough` samples are also converted there and back, on two ways and through the longest chains; `twice` says which are
    converted twice.
    """

    entry: Entry
    sample: Sample
    thorough: bool = False
    twice: bool = False

    def is_asked(self, steps: Sequence[str]) -> bool:
        """Whether a path begins at a face of the sample, with a pair that the entry claims to take from others.

        The legs behind the first take the converter's own output, so nobody has to claim them.
        """
        taken = self._is_claimed(steps[:2]) and letters(steps[:2])[0] not in self.entry.own_only
        return taken and steps[0] in self.sample.formats

    def _is_claimed(self, pair: Sequence[str]) -> bool:
        return pair[0] != pair[1] and letters(pair) in (self.entry.pairs if self.entry.pairs is not None else PAIRS)

    def way_to(self, pair: tuple[str, str]) -> Steps | None:
        """The path that ends with a pair of which the converter reads its own files only; None where there is none."""
        if not self._is_claimed(pair) or letters(pair)[0] not in self.entry.own_only:
            return None
        return next(((face, *pair) for face in self.sample.formats if self.is_asked((face, pair[0]))), None)

    def pairs(self, group: Group) -> list[tuple[str, str]]:
        """The pairs of formats that a group asks the sample about: of a quantiser those on which it is asked for a type."""
        if group == Group.QUANTISER:
            asked = [(LETTERS[pair[0]], LETTERS[pair[-1]]) for pair in self.entry.asked_on]
            return [pair for pair in asked if pair[0] in self.sample.formats]
        asked = [(face, to) for face in self.sample.formats for to in FORMATS if self.is_asked((face, to))]
        if group in (Group.PAIR, Group.TWICE):
            asked += [(own, to) for own in FORMATS for to in FORMATS if self.way_to((own, to)) is not None]
        return asked


@dataclass(frozen=True)
class Second:
    """The conversion that a case needs besides its own: a path of formats, or the same one again (`turn` 1)."""

    steps: Steps
    turn: int = 0


class Check:
    """One kind of question. A subclass says what it asks; its module ends with `CHECK = TheClass()`."""

    group: ClassVar[Group]
    #: Its place within its group.
    order: ClassVar[int] = 0
    #: What it counts: elements, tensors, names, keys, bytes, positions, refusals, pairs.
    unit: ClassVar[str] = "elements"
    #: Whether the files of one conversion answer it.
    single: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name of its module."""
        return type(self).__module__.rpartition(".")[2]

    # In the run

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterable[Case]:
        """The cases of a pair of formats, for one sample."""
        return ()

    def plan_once(self, entry: Entry) -> Iterable[Case]:
        """The cases that are about a converter and no sample."""
        return ()

    def not_asked(self, case: Case) -> str | None:
        """Why a case is skipped before anything is converted; None for all that are answered."""
        return None

    def expected(self, case: Case, sample: Sample) -> int:
        """How much there is to compare, whatever the output holds: so a case that never runs says how much is missing."""
        if self.unit != "elements":
            return max(len(sample.model.tensors), 1)
        names = case.tensors or tuple(sample.model.tensors)
        return sum(max(sample.model.tensors[name].count, 1) for name in names)

    def second(self, case: Case) -> Second | None:
        """The conversion that a case needs besides its own, if it needs one."""
        return None

    def no_second(self, result: Result, case: Case, how: str) -> None:
        """Note what it means that the second conversion left no output; `how` it ended."""

    def chains(self, case: Case) -> Sequence[Steps]:
        """The paths whose legs are judged one by one."""
        return ()

    def wrong_steps(self, case: Case, findings: Sequence[Finding]) -> Steps:
        """The path to the output that those findings are about; nothing where no output is wrong by itself."""
        return case.steps if self.single else ()

    # In the process that judges

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        """Complete a result: what is expected and compared, and what is wrong. Raises UnreadableError."""
        raise NotImplementedError(self.name)


def judged_of(question: Question, judgements: Judgements) -> Judged:
    """The tensors of the conversion that a question is about."""
    return judgements.tensors(question.source, question.target, asked=question.case.type)


def take_all(result: Result, gate: str, judged: Judged) -> None:
    """Note all tensors of two files: every finding falsifies that gate."""
    # An output of no tensors expects nothing; what the sample has is still missing.
    result.expected = sum(judged.expected.values()) or result.expected
    result.compared = sum(judged.elements.values())
    result.nbytes = judged.nbytes
    result.notes = dict(judged.done)
    take(result, gate, judged.findings)


def take(result: Result, gate: str, findings: Iterable[Finding]) -> None:
    """Note findings, of whatever gate, as findings of that gate."""
    result.findings += [replace(finding, gate=gate) for finding in findings]
