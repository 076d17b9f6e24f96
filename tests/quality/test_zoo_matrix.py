"""The gate kills the zoo: each member by the case that docs/zoo.md names, and every night each member on ten seeds.

A member that lives is a gate that is blind.
"""

from __future__ import annotations

import json
import lzma
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from rosetta_ref import cli
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, Finding, Result
from rosetta_ref.gate.kinds import KINDS
from rosetta_ref.gate.run.engine import samples_for
from rosetta_ref.gate.run.plan import plan
from rosetta_ref.zoo import MEMBERS, Member
from rosetta_ref.zoo.adapter import entry_of
from rosetta_ref.zoo.seams import replacing
from rosetta_ref.zoo.trial import kinds_document
from rosetta_ref.zoo.trial import tally as tally_module
from rosetta_ref.zoo.trial.canary import CANARY
from rosetta_ref.zoo.trial.document import document, kills_of
from rosetta_ref.zoo.trial.matrix import EQUIVALENT, Arena, Kill, Trial, assertion, in_order
from rosetta_ref.zoo.trial.tally import KILLED, Standing, Tally, tally

KINDS_PAGE = (Path(__file__).parents[2] / "docs" / "kinds.md").read_text("utf-8")
#: By kind: a member that shows it, and the case.
SHOWN = {
    found[1]: (found[2], found[3])
    for found in re.finditer(
        r"^### (\S+)\n(?:(?!### ).*\n)*?Shown by \[`(.+?)`\]\(zoo\.md\), in `(.+?)`\.$", KINDS_PAGE, re.MULTILINE
    )
}
PAGE = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text("utf-8")
#: By member: the case that kills it first, and the gates that see it.
NAMED = kills_of(PAGE)
RUNNING = [member for member in MEMBERS.values() if member.waiting_for is None and member.id not in EQUIVALENT]
SEEDS = range(10)


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    with Arena(0) as made:
        yield made


def test_the_page_is_current() -> None:
    assert NAMED.keys() == {member.id for member in RUNNING}
    assert document(NAMED) == PAGE


@pytest.mark.parametrize("member", RUNNING, ids=lambda member: member.id)
def test_the_case_that_is_named_kills_it(member: Member, arena: Arena) -> None:
    case, gates = NAMED[member.id]
    trial = arena.trial(member, only=[case])
    assert [kill.case for kill in trial.kills] == [case], f"{case} does not see {member.does}"
    assert trial.kills[0].gate in gates
    assert trial.cases == 1
    shown = {kind for kind, place in SHOWN.items() if place == (member.id, case)}
    assert shown <= trial.kinds.keys()


def test_the_page_of_kinds_is_current() -> None:
    trophies = sorted((Path(__file__).parents[2] / "docs" / "trophies").glob("*.evidence.json.xz"))
    names = [path.name.removesuffix(".evidence.json.xz") for path in trophies]
    evidence = [json.loads(lzma.decompress(path.read_bytes())) for path in trophies]
    real = kinds_document.found_in(dict(zip(names, evidence, strict=True)))
    assert kinds_document.document(SHOWN, real) == KINDS_PAGE
    assert (len(SHOWN) > 30, len(SHOWN.keys() | real.keys()) > 50) == (True, True)
    assert (KINDS_PAGE.count("Shown by"), KINDS_PAGE.count("\n### ")) == (len(SHOWN), len(KINDS))


@pytest.mark.parametrize("kind", [kind for kind, (member, case) in SHOWN.items() if NAMED[member][0] != case])
def test_the_case_that_is_named_shows_the_kind(kind: str, arena: Arena) -> None:
    """The others are shown by the case that kills the member first."""
    member, case = SHOWN[kind]
    trial = arena.trial(MEMBERS[member], only=[case])
    assert kind in trial.kinds, f"{case} does not show {kind}"


def test_the_canary_dies_at_once(arena: Arena) -> None:
    trial = arena.trial(CANARY)
    assert trial.killed
    assert trial.conversions <= 3


def test_what_does_nothing_wrong_is_killed_by_nobody(arena: Arena) -> None:
    """The cases that kill the others, on a member whose part is replaced by itself."""
    member = MEMBERS["q5_0-interleaved"]
    harmless = Member("harmless", "lanes", "ours", "-", "-", "-", member.pairs, member.formats, replacing())
    cases = {case for id_, (case, _) in NAMED.items() if MEMBERS[id_].asks is None}
    trial = arena.trial(harmless, every_gate=True, only=cases)
    assert not trial.kills
    assert trial.cases == len(cases) > 20


def test_a_crash_and_a_refusal_are_no_kills() -> None:
    def kinds(outcome: str, *found: str) -> str | None:
        result = Result("case", "gate", outcome, findings=[Finding(kind, "gate", "-") for kind in found])
        wrong = assertion(result)
        return wrong and wrong.kind

    assert kinds("Crashed", "values") is None
    assert kinds(FALSIFIED, "refused") is None
    assert kinds(FALSIFIED, "missing") is None
    assert kinds(FALSIFIED, "refused", "values") == "values"
    assert kinds(CORROBORATED) is None


def test_an_order_leaves_no_case_out(arena: Arena) -> None:
    member = MEMBERS["stale-shard-wins"]
    entry = entry_of(member)
    cases = plan(entry, samples_for(entry, 0))
    assert Counter(case.id for case in in_order(cases, member)) == Counter(case.id for case in cases)


def test_what_a_tally_says() -> None:
    """Killed on one seed of two is survived; a run with a living canary, or without a trial, is void."""
    member, kill = MEMBERS["q5_0-interleaved"], Kill("F-CONV-003", "case", "values", "-", 4, 0.5)
    dead = Trial(member.id, 0, [kill])
    assert Standing(member, (dead, dead)).status == "killed"
    lives = Standing(member, (dead, Trial(member.id, 1)))
    assert (lives.status, len(lives.firsts), lives.seconds) == ("survived", 1, 0.5)
    assert Standing(MEMBERS["expert-stacked-into-wrong-layer"]).status == "waiting"
    assert Tally((0,), [Standing(member, (dead,))]).exit_code == 0
    assert Tally((0, 1), [lives]).exit_code == 1
    assert Tally((0,), [Standing(member, (dead,))], ["the canary lives"]).exit_code == 2
    assert Tally((0,), [Standing(MEMBERS["expert-stacked-into-wrong-layer"])]).exit_code == 2


def told_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, **places: Any
) -> tuple[int, str]:
    """`rosetta-ref zoo` in this process, on one seed; the reference is judged elsewhere."""
    for name, new in {"reference_fails": lambda seed: [], **places}.items():
        monkeypatch.setattr(tally_module, name, new)
    code = cli.main(["zoo", "--seeds", "1", "--jobs", "1", *words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("rope-theta-forgotten", "expert-stacked-into-wrong-layer")
    code, text = told_by(monkeypatch, capsys, *names, "--json")
    killed, waiting = json.loads(text)["members"]
    assert code == 0
    assert (killed["status"], killed["gates"], killed["kind"]) == ("killed", {"F-CONV-META-001": 1}, "number-wrong")
    assert (killed["killed_on"], waiting["status"], waiting["reason"]) == (1, "waiting", "experts")
    code, text = told_by(monkeypatch, capsys, *names)
    assert code == 0
    assert "1 of 2 members killed on each of 1 seeds (1 waiting)" in text
    assert told_by(monkeypatch, capsys, "no-such-member")[0] == 2
    assert told_by(monkeypatch, capsys, "expert-stacked-into-wrong-layer")[0] == 2


def test_a_run_is_void_where_the_reference_fails_or_the_canary_lives(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = {"reference_fails": lambda seed: ["F-CONV-001/a: Falsified"]}
    code, text = told_by(monkeypatch, capsys, "shape-not-reversed", **failing)
    assert (code, "void: seed 0: the reference fails: F-CONV-001/a" in text) == (2, True)
    monkeypatch.setattr(Arena, "trial", lambda self, member, **_: Trial(member.id, self.seed))
    code, text = told_by(monkeypatch, capsys, "shape-not-reversed")
    assert (code, "the canary lives" in text, "survived" in text) == (2, True, True)


@pytest.mark.slow
def test_every_member_dies_on_ten_seeds() -> None:
    made = tally(list(MEMBERS.values()), SEEDS, jobs=os.cpu_count() or 1)
    for one in made.standings:
        print(f"{one.member.id}: {one.status}, {len(one.firsts)} of {len(one.trials)}, {one.conversions} conversions, "
              f"{one.seconds} s: {', '.join(one.gates)}")  # fmt: skip
    print(f"{made.count(KILLED)} killed on each of {len(made.seeds)} seeds")
    assert not made.void
    assert [one.member.id for one in made.standings if one.status == "survived"] == []
    assert all(len(one.trials) == len(SEEDS) for one in made.standings if one.status == KILLED)
    assert made.count(KILLED) == len(RUNNING)
    assert median(one.seconds for one in made.standings if one.seconds is not None) < 10


@pytest.mark.slow
def test_every_gate_that_the_page_names_sees_the_member() -> None:
    made = tally(RUNNING, [0], every_gate=True)
    assert not made.void
    assert {one.member.id: sorted(one.gates) for one in made.standings} == {
        member: sorted(gates) for member, (_, gates) in NAMED.items()
    }
