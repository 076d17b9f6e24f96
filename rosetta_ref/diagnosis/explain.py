"""All that is wrong with an output, and why: members that give it exactly, then structure alone, then both together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from rosetta_ref.diagnosis import structural
from rosetta_ref.diagnosis.cause import NOT_KNOWN, Cause, Diagnosis, cause_of
from rosetta_ref.diagnosis.evidence import constant, rounded
from rosetta_ref.diagnosis.files import UndiagnosedError, size_of
from rosetta_ref.diagnosis.replay import Job, Replay, part_of, replays
from rosetta_ref.diagnosis.unreadable import unreadable
from rosetta_ref.errors import RosettaError, unforeseen
from rosetta_ref.gate.findings import FALSIFIED, Finding, Result
from rosetta_ref.gate.judge.chains import OF_NUMBERS
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.tensors import judge
from rosetta_ref.gate.judge.view import UnreadableError, View, look
from rosetta_ref.zoo import MEMBERS, Member

#: Bytes of a source that members convert as it is; of a larger one they convert one tensor at a time.
WHOLE = 4 << 20
#: An output of more bytes, or of so many times those of its source, is explained by nothing.
_LARGEST, _TIMES = 64 << 20, 64
Fact = tuple[str, str]
_FOREIGN = "foreign-name"
#: Facts that take all others with them.
_WHOLE = ("config-missing", "architecture")


@dataclass
class _Failure:
    """What is wrong, and what has been explained of it so far."""

    source: View
    target: View
    kinds: dict[str, frozenset[str]]
    facts: frozenset[Fact]
    asked: str | None
    #: Whether the whole zoo is tried: then nobody has seen other evidence for a bug, and a constant tensor is none.
    searching: bool = True
    tensors: dict[str, tuple[Cause, ...]] = field(default_factory=dict)
    words: dict[Fact, tuple[Cause, ...]] = field(default_factory=dict)

    @property
    def open(self) -> list[str]:
        """Tensors without an explanation."""
        return [name for name in self.kinds if name not in self.tensors]

    def both_have(self, name: str) -> bool:
        """Whether there are data on both sides."""
        return name in self.source.tensors and name in self.target.tensors

    def is_rounded(self, name: str) -> bool:
        """Whether rounding or encoding is all that was done to a tensor."""
        return self.both_have(name) and self.kinds[name] <= OF_NUMBERS and rounded(self.source, self.target, name)

    def proves(self, names: Sequence[str], member: Member, *, exactly: bool) -> bool:
        """Whether that these tensors came out as a member's says that it has its bug; constant ones may go with others.

        Several that were not constant before are a pattern, where the member breaks `exactly` what is broken.
        """
        if not self.searching or any(cause.id == member.id for found in self.tensors.values() for cause in found):
            return True
        flat = [name for name in names if self.both_have(name) and constant(self.target.tensors[name].tensor)]
        collapsed = [name for name in flat if not constant(self.source.tensors[name].tensor)]
        return len(flat) < len(names) or (exactly and len(collapsed) > 1)


def diagnose(
    source: Path, output: Path, *, asked: str | None = None, members: Iterable[Member] | None = None, whole: int = WHOLE,
    findings: Sequence[Finding] | None = None,
) -> list[Diagnosis]:  # fmt: skip
    """Why an output of a converter is wrong; nothing where it is right. Tensors with the same causes stand together.

    What exact rounding or an honest encoding explains has no diagnosis, though the judge may have found something. `asked` is the
    type that a quantiser was asked for; `members` are those of the zoo that are tried, where something else speaks for them
    (None: all); a source of up to `whole` bytes is converted as it is, a larger one tensor by tensor. `findings` are those that
    are to be explained, where the judge has spoken; all, where it has not.

    Raises UndiagnosedError for what is too large, and where something odd in the files breaks the search.
    """
    if size_of(output) > max(_LARGEST, _TIMES * size_of(source)):
        raise UndiagnosedError("the output is much larger than its source", file=output)
    try:
        return _diagnosed(source, output, asked, members, whole, findings)
    except (RosettaError, OSError) as error:
        raise UndiagnosedError(str(error), file=output) from error
    except Exception as error:
        raise UndiagnosedError(unforeseen(error), file=output) from error


def _diagnosed(
    source: Path, output: Path, asked: str | None, members: Iterable[Member] | None, whole: int,
    findings: Sequence[Finding] | None,
) -> list[Diagnosis]:  # fmt: skip
    zoo = list(MEMBERS.values() if members is None else members)
    with tempfile.TemporaryDirectory(prefix="rosetta-diagnosis-") as folder:
        try:
            before = look(source)
        except UnreadableError:
            return unreadable(source, output, zoo, Path(folder))
        with before:
            try:
                after = look(output)
            except UnreadableError:
                return unreadable(source, output, zoo, Path(folder))
            with after:
                if findings is None:
                    findings = [*judge(before, after, asked=asked).findings, *judge_metadata(before, after).findings]
                facts = frozenset((f.kind, f.detail) for f in findings if f.tensor is None)
                failure = _Failure(before, after, _kinds(findings), facts, asked, members is None)
                failure.kinds = {name: kinds for name, kinds in failure.kinds.items() if not failure.is_rounded(name)}
                if failure.kinds or failure.facts:
                    _explain(failure, source, zoo, Path(folder), whole)
                return _grouped(failure)


def attach(
    source: Path, output: Path, results: Iterable[Result], *, asked: str | None = None,
    members: Iterable[Member] | None = None,
) -> list[Diagnosis]:  # fmt: skip
    """Name the bug in the results of one conversion: their diagnosis and link. Results are those of `Falsified` cases."""
    failed = [result for result in results if result.outcome == FALSIFIED]
    found = diagnose(source, output, asked=asked, members=members) if failed else []
    for result in failed:
        tensors = {finding.tensor for finding in result.findings if finding.tensor is not None}
        facts = {finding.detail for finding in result.findings if finding.tensor is None}
        about = [one for one in found if tensors.intersection(one.tensors) or facts.intersection(one.facts)]
        named = [one for one in about if one.ids != (NOT_KNOWN.id,)]
        if named:
            result.diagnosis = "; ".join(dict.fromkeys(" + ".join(one.ids) for one in named))
            result.link = next((cause.link for one in named for cause in one.causes if cause.link), None)
    return found


# Which members are asked about which part


def _explain(failure: _Failure, source: Path, zoo: Sequence[Member], folder: Path, whole: int) -> None:
    if size_of(source) <= whole:
        _by_members(failure, source, list(failure.kinds), failure.facts, zoo, folder, partial=False)
    else:
        _in_parts(failure, zoo, folder)
    for name in failure.open:
        shape = structural.shape_of(failure.source, failure.target, name) if failure.both_have(name) else None
        failure.tensors[name] = (NOT_KNOWN,) if shape is None else (_known(shape), NOT_KNOWN)
    failure.words |= {fact: (NOT_KNOWN,) for fact in failure.facts if fact not in failure.words}


def _kinds(findings: Iterable[Finding]) -> dict[str, frozenset[str]]:
    made: dict[str, frozenset[str]] = {}
    for finding in findings:
        if finding.tensor is not None:
            made[finding.tensor] = made.get(finding.tensor, frozenset()) | {finding.kind}
    return made


def _in_parts(failure: _Failure, zoo: Sequence[Member], folder: Path) -> None:
    """One tensor at a time: of those alike the smallest is shown to every member, and the rest to those that explain it."""
    alike: dict[tuple[object, ...], list[str]] = {}
    numbers = count()
    for name, kinds in failure.kinds.items():
        types = [
            view.tensors[name].tensor.type.name for view in (failure.source, failure.target) if name in view.tensors
        ]
        alike.setdefault((name.rpartition(".")[0].rpartition(".")[2], kinds, *types), []).append(name)
    for names in alike.values():
        names.sort(key=lambda name: failure.source.tensors[name].tensor.count if name in failure.source.tensors else 0)
        chosen = zoo
        for place, name in enumerate(names):
            here = folder / f"{next(numbers):06}"  # a name from a file is no name of a folder
            part = part_of(failure.source, name, here / "part")
            _by_members(failure, part, [name], frozenset(), chosen, here, partial=True)
            if place == 0:
                ids = {named for cause in failure.tensors.get(name, ()) for named in (cause.id, *cause.alike)}
                chosen = [member for member in zoo if member.id in ids]
    if failure.facts:
        part = part_of(failure.source, "", folder / "words" / "part", words=True)
        _by_members(failure, part, [], failure.facts, zoo, folder / "words", partial=True)


def _by_members(
    failure: _Failure, source: Path, names: list[str], facts: frozenset[Fact], zoo: Sequence[Member], folder: Path,
    *, partial: bool,
) -> None:  # fmt: skip
    runs = folder / "runs"
    runs.mkdir(parents=True)
    job = replace(_job(failure, source, names, partial=partial), words=bool(facts))
    with replays(zoo, job, failure.source, runs) as made:
        readable = [replay for replay in made if replay.view is not None]
        _exactly(failure, readable, names, facts)
        for name in names:
            if name not in failure.tensors and failure.both_have(name) and failure.kinds[name] != {_FOREIGN}:
                causes = _by_structure(failure, name)
                if len(causes) != 1:  # of several, one may be the bug of a member
                    causes = min(_by_both(failure, readable, name), causes, key=lambda found: len(found) or 9)
                if causes:
                    failure.tensors[name] = causes


def _job(failure: _Failure, source: Path, names: list[str], *, partial: bool) -> Job:
    pairs = [
        (failure.source.tensors[name].tensor.type, failure.target.tensors[name].tensor.type)
        for name in names
        if failure.both_have(name)
    ]
    types = {other.name for kind, other in pairs if kind is not other and kind.is_scalar}
    types |= {failure.asked} if failure.asked is not None else set()
    decoded = any(not kind.is_scalar and other.is_scalar for kind, other in pairs)
    return Job(source, failure.source.format, failure.target.format, frozenset(types), decoded, partial)


# Members alone


def _exactly(failure: _Failure, made: list[Replay], names: list[str], facts: frozenset[Fact]) -> None:
    """Give each failure to a member that writes the same: to the one that explains most and would break least besides."""
    explained = {id(replay): _explained(failure, replay, names, facts) for replay in made}
    left: set[object] = {*names, *facts}
    while True:
        ranked = sorted(made, key=lambda replay: _rank(replay, explained[id(replay)] & left, names, facts))
        best = next((replay for replay in ranked if explained[id(replay)] & left), None)
        if best is None:
            return
        mine = explained[id(best)] & left
        mended = [name for name in names if name in mine]
        exactly = {*names} == {*mended} == best.changed
        if not mine & facts and not failure.proves(mended, best.member, exactly=exactly):
            explained[id(best)] = set()
            continue
        others = {replay.member.id for replay in made if mine <= explained[id(replay)]} - {best.member.id}
        cause = cause_of(best.member, tuple(sorted(others)))
        failure.tensors |= {name: (cause,) for name in names if name in mine}
        failure.words |= {fact: (cause,) for fact in facts if fact in mine}
        left -= mine


def _explained(failure: _Failure, replay: Replay, names: list[str], facts: frozenset[Fact]) -> set[object]:
    found: set[object] = {
        name
        for name in names
        if name in replay.changed
        and replay.same(failure.target, name, failure.source)
        and _same_name(failure, replay, name)
    }
    said = replay.facts <= facts and (_all_is_lost(replay.facts) or not _all_is_lost(facts))
    return found | (replay.facts if said else set())


def _all_is_lost(facts: Iterable[Fact]) -> bool:
    """Whether what says anything of a model is missing as a whole: then no part of it was forgotten by itself."""
    return any(kind in _WHOLE for kind, _ in facts)


def _same_name(failure: _Failure, replay: Replay, name: str) -> bool:
    """Whether a tensor under a foreign name has that name there, too; the same numbers alone explain no name."""
    here = replay.view.tensors.get(name) if replay.view is not None else None
    there = failure.target.tensors.get(name)
    if _FOREIGN not in failure.kinds[name] or here is None or there is None:
        return True
    return here.tensor.name == there.tensor.name


def _rank(replay: Replay, explained: set[object], names: list[str], facts: frozenset[Fact]) -> tuple[int, bool]:
    besides = len(replay.changed - {*names}) + len(replay.facts - facts)
    return besides - len(explained), replay.member.ours


# Structure, and both


def _by_structure(failure: _Failure, name: str) -> tuple[Cause, ...]:
    causes = structural.search(failure.source, failure.target, name)
    return tuple(_known(cause) for cause in causes or ())


def _by_both(failure: _Failure, made: list[Replay], name: str) -> tuple[Cause, ...]:
    """What was done to a member's output; the fewest causes that explain the tensor."""
    best: tuple[Cause, ...] = ()
    if constant(failure.target.tensors[name].tensor):
        return best
    for replay in made:
        if replay.view is None or name not in replay.changed or name not in replay.view.tensors:
            continue
        causes = structural.search(replay.view, failure.target, name, besides=True)
        if causes and (not best or len(causes) + 1 < len(best)):
            best = (*(_known(cause) for cause in causes), cause_of(replay.member))
        if len(best) == 2:
            break
    return best


def _known(cause: Cause) -> Cause:
    """With the link of the member that does the same, where there is one."""
    member = MEMBERS.get(cause.id)
    return cause if member is None else Cause(cause.id, f"{cause.text}; {member.origin}", member.link)


def _grouped(failure: _Failure) -> list[Diagnosis]:
    groups: dict[tuple[Cause, ...], tuple[list[str], list[str]]] = {}
    for name, causes in failure.tensors.items():
        groups.setdefault(causes, ([], []))[0].append(name)
    words: Mapping[Fact, tuple[Cause, ...]] = failure.words
    for (_, detail), causes in words.items():
        groups.setdefault(causes, ([], []))[1].append(detail)
    return [Diagnosis(tuple(names), causes, tuple(sorted(facts))) for causes, (names, facts) in groups.items()]
