"""What came of the members on all seeds: who was killed, by which gates, after how long; or why the run is void."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.member import Member
from rosetta_ref.zoo.trial.canary import CANARY
from rosetta_ref.zoo.trial.matrix import EQUIVALENT, Arena, Kill, Trial, reference_fails

KILLED, SURVIVED, EQUAL, WAITING = "killed", "survived", "equivalent", "waiting"
#: Called with each trial as it comes.
OnResult = Callable[[Trial], None]


@dataclass(frozen=True)
class Standing:
    """A member after all of its trials, one for each seed."""

    member: Member
    trials: tuple[Trial, ...] = ()

    @property
    def status(self) -> str:
        """Killed on each seed, or survived on one; equivalent where no input can tell, waiting where it cannot run yet."""
        if self.member.waiting_for is not None:
            return WAITING
        if self.member.id in EQUIVALENT:
            return EQUAL
        return KILLED if self.trials and all(trial.killed for trial in self.trials) else SURVIVED

    @property
    def firsts(self) -> list[Kill]:
        """The first kill of each seed that has one."""
        return [trial.kills[0] for trial in self.trials if trial.killed]

    @property
    def gates(self) -> Counter[str]:
        """By gate, the seeds on which it killed. Where trials end with the first kill, others might have, too."""
        return Counter(kill.gate for trial in self.trials for kill in trial.kills)

    @property
    def conversions(self) -> float | None:
        """Conversions up to the first kill, the median of the seeds."""
        return median(kill.conversions for kill in self.firsts) if self.firsts else None

    @property
    def seconds(self) -> float | None:
        """Seconds up to the first kill, the median of the seeds."""
        return median(kill.seconds for kill in self.firsts) if self.firsts else None

    def json(self) -> dict[str, Any]:
        """For --json."""
        first = self.firsts[0] if self.firsts else None
        return {
            "id": self.member.id, "class": self.member.klass, "status": self.status,
            "seeds": len(self.trials), "killed_on": len(self.firsts), "gates": dict(self.gates),
            "conversions": self.conversions, "seconds": None if self.seconds is None else round(self.seconds, 3),
            "case": first and first.case, "kind": first and first.kind, "detail": first and first.detail,
            "reason": EQUIVALENT.get(self.member.id) or self.member.waiting_for,
        }  # fmt: skip


@dataclass
class Tally:
    """All members. `void` says why nothing can be told from the run: the reference failed, or the canary lives."""

    seeds: tuple[int, ...]
    standings: list[Standing] = field(default_factory=list)
    void: list[str] = field(default_factory=list)

    def count(self, status: str) -> int:
        """Members of a status."""
        return sum(standing.status == status for standing in self.standings)

    @property
    def exit_code(self) -> int:
        """0 where all that can die do, 1 where one survives on any seed, 2 for a run that is void."""
        if self.void or not any(standing.trials for standing in self.standings):
            return 2
        return 1 if self.count(SURVIVED) else 0

    def json(self) -> dict[str, Any]:
        """For --json."""
        return {"seeds": list(self.seeds), "void": self.void, "members": [one.json() for one in self.standings]}


@dataclass(frozen=True)
class _Seed:
    """What came of one seed."""

    seed: int
    trials: list[Trial]
    void: list[str]


def tally(
    members: Sequence[Member], seeds: Iterable[int], *, every_gate: bool = False, jobs: int = 1,
    on_result: OnResult = lambda trial: None,
) -> Tally:  # fmt: skip
    """Run members on seeds, `jobs` seeds at once; where that is more than one, each in a process of its own.

    `every_gate` goes on behind the first kill, so that each gate that sees a member is known.
    """
    made = Tally(tuple(seeds))
    ids = tuple(member.id for member in members if member.waiting_for is None)
    if not ids:
        return Tally(made.seeds, [Standing(member) for member in members], ["no member to run"])
    trials: dict[str, list[Trial]] = {}
    for one in _of_seeds(made.seeds, ids, every_gate, jobs):
        made.void += [f"seed {one.seed}: {line}" for line in one.void]
        for trial in one.trials:
            trials.setdefault(trial.member, []).append(trial)
            on_result(trial)
    made.standings = [Standing(member, tuple(trials.get(member.id, ()))) for member in members]
    return made


def _of_seeds(seeds: Sequence[int], ids: Sequence[str], every_gate: bool, jobs: int) -> Iterator[_Seed]:
    if jobs == 1:
        yield from (_of_seed(seed, ids, every_gate) for seed in seeds)
        return
    # Not forked: a member replaces parts of a process, which other threads may be using.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_of_seed, seeds, [ids] * len(seeds), [every_gate] * len(seeds))


def _of_seed(seed: int, ids: Sequence[str], every_gate: bool) -> _Seed:
    void = [f"the reference fails: {line}" for line in reference_fails(seed)]
    with Arena(seed) as arena:
        if not arena.trial(CANARY).killed:
            void.append("the canary lives")
        return _Seed(seed, [arena.trial(MEMBERS[each], every_gate=every_gate) for each in ids], void)
