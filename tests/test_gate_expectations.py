"""Expected failures: every way in which a run can differ from them is unexpected, and nothing excuses by accident."""

from __future__ import annotations

import datetime
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.gate.findings import CORROBORATED, CRASHED, FALSIFIED, OUTCOMES, SKIPPED, TIMEOUT, Finding, Result
from rosetta_ref.gate.report.conditions import Condition, ConditionError
from rosetta_ref.gate.report.draft import draft
from rosetta_ref.gate.report.expectations import ExpectationError, load, parse
from rosetta_ref.gate.report.verdict import RunVerdict, judge
from tests.support.results import failed, passed, skipped

TODAY = datetime.date(2026, 11, 25)
A, B, C = "F-CONV-001/q4_k/a", "F-CONV-001/q5_0/b", "F-CONV-004/f16/c"
LISTS = ("failures", "passing", "unmatched", "stale", "expired", "unpinned", "unskipped", "errors")


def verdict(results: list[Result], text: str = "", **more: object) -> RunVerdict:
    return judge(results, parse(text), TODAY, **more)  # type: ignore[arg-type]


def wrong(verdict: RunVerdict) -> dict[str, int]:
    """What is not as expected, and how often."""
    return {name: len(getattr(verdict, name)) for name in LISTS if getattr(verdict, name)}


def entry(pattern: str, *lines: str) -> str:
    return "\n  ".join([f"- pattern: {pattern}", "reason: known", *lines]) + "\n"


# --- the verdict


def test_without_expectations_everything_has_to_pass() -> None:
    assert verdict([passed(A), passed(B)]).exit_code == 0
    assert len(verdict([passed(A), passed(B)]).as_expected) == 2
    assert wrong(verdict([passed(A), failed(B, "values")])) == {"failures": 1}
    assert verdict([passed(A), failed(B, "values")]).exit_code == 1


@pytest.mark.parametrize("outcome", [FALSIFIED, CRASHED, TIMEOUT, SKIPPED])
def test_an_expectation_excuses_its_own_outcome_and_no_other(outcome: str) -> None:
    results = [passed(A), Result(B, "F-CONV-001", outcome, expected=1)]
    for expected in (FALSIFIED, CRASHED, TIMEOUT, SKIPPED):
        found = verdict(results, entry(B, f"outcome: {expected}"))
        assert found.exit_code == (0 if expected == outcome else 1), (outcome, expected)
        assert (results[1] in found.as_expected) == (expected == outcome)


def test_only_the_kinds_that_are_listed_are_expected() -> None:
    text = entry(B, "kinds: [values]")
    assert verdict([passed(A), failed(B, "values")], text).exit_code == 0
    assert wrong(verdict([passed(A), failed(B, "values", "nan")], text)) == {"failures": 1}
    assert wrong(verdict([passed(A), failed(B, "nan")], text)) == {"failures": 1, "stale": 1}
    # A refusal has no finding: it is none of those kinds either.
    assert wrong(verdict([passed(A), failed(B)], text)) == {"failures": 1, "stale": 1}
    assert verdict([passed(A), failed(B)], entry(B, "kinds: unstated")).exit_code == 0


def test_several_entries_excuse_a_case_together() -> None:
    text = entry("F-CONV-001/*", "kinds: values", "strict: false") + entry("'*/b'", "kinds: nan")
    assert verdict([passed(A), failed(B, "values", "nan")], text).exit_code == 0
    assert wrong(verdict([passed(A), failed(B, "values", "nan", "lost")], text)) == {"failures": 1}


def test_an_expected_failure_that_passes_is_unexpected_unless_it_may() -> None:
    results = [passed(A), passed(B)]
    assert wrong(verdict(results, entry(B))) == {"passing": 1}
    assert verdict(results, entry(B)).exit_code == 1
    assert verdict(results, entry(B, "strict: false")).exit_code == 0
    # Strict is said of every case that a pattern matches.
    assert wrong(verdict([passed(A), failed(B, "values")], entry("F-CONV-001/*"))) == {"passing": 1}


def test_an_expectation_that_matches_no_case_is_unexpected_where_all_was_run() -> None:
    results = [passed(A), failed(B, "values")]
    text = f"- {{pattern: [{B}, '{C}'], reason: known}}"
    found = verdict(results, text)
    assert wrong(found) == {"unmatched": 1}
    assert found.unmatched[0][1] == C
    assert verdict(results, text, whole=False).exit_code == 0


def test_a_kind_that_no_case_shows_any_more_is_unexpected() -> None:
    text = entry(B, "kinds: [values, nan]")
    assert wrong(verdict([passed(A), failed(B, "values")], text)) == {"stale": 1}
    assert verdict([passed(A), failed(B, "values")], entry(B, "kinds: [values, nan]", "strict: false")).exit_code == 0
    # Where all of it was mended, that is told once.
    assert wrong(verdict([passed(A), passed(B)], text)) == {"passing": 1}


def test_an_expired_expectation_excuses_nothing() -> None:
    results = [passed(A), failed(B, "values")]
    assert verdict(results, entry(B, "expires: 2026-11-25")).exit_code == 0
    assert wrong(verdict(results, entry(B, "expires: 2026-11-24"))) == {"failures": 1, "expired": 1}
    assert wrong(verdict([passed(A), passed(B)], entry(B, "expires: 2026-11-24"))) == {"expired": 1}


def test_an_expectation_under_a_condition_that_does_not_hold_is_not_there() -> None:
    results = [passed(A), failed(B, "values")]
    text = entry(B, "when: version < 0.26 and platform == linux")
    assert verdict(results, text, facts={"version": "0.25.0", "platform": "linux"}).exit_code == 0
    assert wrong(verdict(results, text, facts={"version": "0.26.0", "platform": "linux"})) == {"failures": 1}
    assert verdict([passed(A), passed(B)], text, facts={"version": "0.26.0", "platform": "linux"}).exit_code == 0
    with pytest.raises(ConditionError, match="knows no 'version'"):
        verdict(results, text, facts={"platform": "linux"})


def test_skipped_cases_are_pinned_one_by_one() -> None:
    text = entry(B, "outcome: Skipped")
    assert verdict([passed(A), skipped(B)], text).exit_code == 0
    one_more = verdict([passed(A), skipped(B), skipped(C)], text)
    assert wrong(one_more) == {"unpinned": 1}
    assert one_more.unpinned[0].case == C
    assert wrong(verdict([passed(A), passed(B)], text)) == {"unskipped": 1}
    assert wrong(verdict([passed(A), failed(B, "values")], text)) == {"failures": 1, "unskipped": 1}
    assert verdict([passed(A), passed(B)], entry(B, "outcome: Skipped", "strict: false")).exit_code == 0
    # An expected failure is no licence to skip.
    assert wrong(verdict([passed(A), skipped(B)], entry(B))) == {"unpinned": 1}


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ([], "no case was run"),
        ([skipped(A)], "every case was skipped"),
        ([passed(A), passed(A)], "2 results for one case"),
        ([Result(A, "F-CONV-001", CORROBORATED, expected=0, compared=0)], "nothing was expected"),
        ([passed(B), Result(A, "F-CONV-001", FALSIFIED, expected=0)], "nothing was expected"),
        ([Result(A, "F-CONV-001", CORROBORATED, expected=8, compared=0)], "with 0 of 8 elements compared"),
        ([Result(A, "F-CONV-001", CORROBORATED, expected=8, compared=7)], "with 7 of 8 elements compared"),
        ([Result(A, "F-CONV-001", "Passed", expected=8, compared=8)], "the outcome 'Passed' is none"),
        ([passed(A, findings=[Finding("nan", "F-CONV-001", "one")])], "Corroborated, with a finding"),
    ],
)
def test_a_run_that_judged_nothing_or_contradicts_itself_is_an_error(results: list[Result], error: str) -> None:
    found = verdict(results)
    assert found.exit_code == 2
    assert any(error in line for line in found.errors), found.errors
    # An expectation does not make it better.
    assert judge(results, parse(entry("'*'", "strict: false")), TODAY).exit_code == 2


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=6), st.sets(st.sampled_from("abcdef")), st.data())
def test_every_case_has_one_place(outcomes: list[str], named: set[str], data: st.DataObject) -> None:
    """No result gets lost between the lists, and the exit code is 0 only where all of them are as expected."""
    results = [
        Result(f"g/{letter}", "g", o, expected=1, compared=1) for letter, o in zip("abcdef", outcomes, strict=False)
    ]
    text = "".join(
        entry(f"g/{letter}", f"outcome: {data.draw(st.sampled_from(OUTCOMES[1:]))}") for letter in sorted(named)
    )
    found = verdict(results, text)
    # An entry for Falsified and one for Skipped may both be broken by one case: count cases, not complaints.
    placed = [result.case for result in (*found.as_expected, *found.failures, *found.unpinned)]
    placed += {result.case for _, result in (*found.passing, *found.unskipped)} - set(placed)
    assert sorted(placed) == sorted(result.case for result in results)
    if not found.errors:
        assert (found.exit_code == 0) == (len(found.as_expected) == len(results) and not found.unmatched)


def test_each_thing_that_is_wrong_has_a_line() -> None:
    text = entry(B) + entry("x", "expires: 2020-01-01") + entry("y") + entry(A, "outcome: Skipped")
    lines = list(verdict([passed(A), passed(B), failed(C, "values"), skipped("F-CONV-002/d")], text).lines())
    assert [line.split(":")[0] for line in lines] == [
        "unexpected",
        "skipped, and not pinned",
        "expected to fail, but passes",
        "expected to be skipped, but was not",
        "expected, but no case is called y",
        "expected until 2020-01-01",
    ]
    assert lines[0] == f"unexpected: {C}: Falsified: tensor 'a.weight': values: values of 8 elements"


# --- the file


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b", "not a list"),
        ("- x", "entry 1 is not a mapping"),
        ("- {pattern: a}", "has no reason"),
        ("- {reason: a}", "has no pattern"),
        ("- {pattern: a, reason: ''}", "a text is needed"),
        ("- {pattern: a, reason: ' '}", "a text is needed"),
        ("- {pattern: [], reason: b}", "at least one"),
        ("- {pattern: a, reason: 'TODO: why'}", "the reason is still"),
        ("- {pattern: a, reason: todo}", "the reason is still"),
        ("- {pattern: a, reason: b, outcome: Corroborated}", "not one of Falsified, Skipped"),
        ("- {pattern: a, reason: b, outcome: Wrong}", "not one of Falsified, Skipped"),
        ("- {pattern: a, reason: b, kinds: []}", "at least one"),
        ("- {pattern: a, reason: b, outcome: Crashed, kinds: nan}", "only what is Falsified has kinds"),
        ("- {pattern: a, reason: b, strict: 'no'}", "true or false"),
        ("- {pattern: a, reason: b, expires: soon}", "expires"),
        ("- {pattern: a, reason: b, expires: 2026-01-01T00:00:00}", "expires"),
        ("- {pattern: a, reason: b, when: 'import os'}", "not a clause"),
        ("- {pattern: a, reason: b, xfail: true}", "'xfail' is unknown"),
        ("- {pattern: a, reason: b}\n- {pattern: a}", "entry 2 has no reason"),
        ("- [", "not YAML"),
        ("- !!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "expected.yaml"
    path.write_text(text)
    with pytest.raises(ExpectationError, match=problem) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_the_example_in_the_documentation_is_a_file() -> None:
    from rosetta_ref.gate.report import expectations

    lines = (expectations.__doc__ or "").splitlines()
    (found,) = parse("\n".join(line for line in lines if line.startswith("    ")))
    assert found.patterns == ("F-CONV-001/q5_0/*",)
    assert found.kinds == {"values", "nan"}
    assert found.expires == datetime.date(2027, 1, 31)
    assert found.strict
    assert found.when.holds({"version": "0.25", "platform": "linux"})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("version == 1.0", True),  # 1.0 and 1.0.0 are one version
        ("version < 1.0.1", True),
        ("version < 0.9", False),
        ("version >= 1.0rc1", True),
        ("version <= 1.0rc1", False),
        ("version > 0.10", True),
        ("platform == win32", False),
        ("platform == 'linux' and version != 2", True),
        ("platform == win32 and version == 1.0 or version >= 1", True),
        ("platform == win32 or version > 1", False),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    assert Condition.parse(text).holds({"version": "1.0.0", "platform": "linux"}) is holds


@pytest.mark.parametrize(
    "text", ["", "version", "version <", "version < 1 and", "version < 1 < 2", "platform < linux", "a == 1"]
)
def test_conditions_that_say_nothing(text: str) -> None:
    with pytest.raises(ConditionError):
        Condition.parse(text).holds({"version": "1.0.0", "platform": "linux"})


# --- the draft


RUN = [passed(A), failed(B, "values", "nan"), failed(C, outcome=CRASHED, reason="SIGSEGV"), skipped("F-CONV-002/[2]*")]


def accepted(text: str) -> str:
    """A draft whose reasons somebody wrote."""
    return text.replace("TODO: ", "because ")


def test_a_draft_expects_its_run_once_the_reasons_are_written() -> None:
    text = draft(RUN)
    with pytest.raises(ExpectationError, match="the reason is still"):
        parse(text)
    assert verdict(RUN, accepted(text)).exit_code == 0
    # And nothing else: no pattern of it matches a case by being a pattern.
    assert wrong(verdict([*RUN, skipped("F-CONV-002/2x")], accepted(text))) == {"unpinned": 1}


def test_failures_of_one_cause_are_one_entry() -> None:
    more = [failed(f"F-CONV-001/{n}", "values", diagnosis="q5_0-interleaved", link="https://x/1") for n in range(3)]
    (found,) = parse(draft(more), drafting=True)
    assert found.patterns == ("F-CONV-001/*",)
    (of_a_part,) = parse(draft(more, whole=False), drafting=True)
    assert of_a_part.patterns == tuple(result.case for result in more)
    assert (found.reason, found.issue) == ("TODO: q5_0-interleaved", "https://x/1")


def test_a_draft_adds_to_a_file_and_changes_nothing_in_it() -> None:
    existing = "# about this converter\n" + entry(B, "kinds: values") + "  # and why\n"
    text = draft(RUN, existing)
    assert text.startswith(existing)
    first, *added = parse(text, drafting=True)
    assert first.kinds == {"values"}
    # Only the kind that nobody expected is new for B.
    assert [(e.patterns[0], e.outcome, e.kinds) for e in added if e.patterns == (B,)] == [(B, FALSIFIED, {"nan"})]
    assert verdict(RUN, accepted(text)).exit_code == 0
    assert draft(RUN, text) == text


def test_a_draft_counts_on_no_entry_whose_condition_does_not_hold() -> None:
    existing = entry(B, "when: version < 2")
    results = [passed(A), failed(B, "values")]
    assert draft(results, existing, facts={"version": "1"}) == existing
    assert len(parse(draft(results, existing, facts={"version": "2"}), drafting=True)) == 2


def test_a_draft_of_a_run_that_is_as_expected_is_the_file_as_it_is() -> None:
    existing = "# nothing\n"
    assert draft([passed(A)], existing) == existing
    assert draft([passed(A)]) == ""


@pytest.mark.parametrize(
    "existing",
    ["", "# only a comment\n", "[]\n", "---\n[]\n", "  - {pattern: x, reason: y}\n", "- {pattern: x, reason: y}"],
)
def test_a_draft_is_added_to_any_layout(existing: str) -> None:
    found = parse(draft(RUN, existing), drafting=True)
    assert len(found) == len(parse(existing)) + 3


def test_a_list_in_brackets_is_not_rewritten() -> None:
    with pytest.raises(ExpectationError, match="one entry per"):
        draft(RUN, "[{pattern: x, reason: y}]\n")


_kinds = st.sets(st.sampled_from(["values", "nan", "lost", "answers-top1"]), max_size=3)
_results = st.dictionaries(
    st.text(st.sampled_from("ab[*?]/!é: #-"), min_size=1, max_size=5),
    st.tuples(st.sampled_from(OUTCOMES), _kinds),
    min_size=1,
    max_size=5,
)  # fmt: skip


def _run(drawn: dict[str, tuple[str, set[str]]]) -> list[Result]:
    made = []
    for case, (outcome, kinds) in drawn.items():
        findings = [Finding(kind, "g", "x") for kind in sorted(kinds)] if outcome == FALSIFIED else []
        made.append(Result(f"g/{case}", "g", outcome, expected=1, compared=1, findings=findings))
    return made


def test_a_pattern_of_a_draft_matches_no_other_case_of_the_run() -> None:
    """Of one gate, one kind is on q4_0 but for one right case, another on all of q5_0: each is an entry of its own."""
    wrong_of, right = {"q4_0": "values", "q5_0": "nan"}, "F-CONV-001/c/q4_0/y"
    run = []
    for model, kind, shape in itertools.product("abc", ("q4_0", "q5_0", "q8_0"), "xy"):
        name = f"F-CONV-001/{model}/{kind}/{shape}"
        run.append(failed(name, wrong_of[kind]) if kind in wrong_of and name != right else passed(name))
    text = draft(run)
    entries = {next(iter(entry.kinds or ())): entry for entry in parse(text, drafting=True)}
    assert entries["nan"].patterns == ("F-CONV-001/*/q5_0/*",)
    assert entries["values"].patterns == ("F-CONV-001/*/q4_0/x", "F-CONV-001/a/q4_0/y", "F-CONV-001/b/q4_0/y")
    assert verdict(run, accepted(text)).exit_code == 0


def test_the_words_of_a_converter_are_a_draft_of_the_reason() -> None:
    """They differ in paths, names and numbers alone: one cause. Another message is another cause."""
    says = "error: /tmp/{n}.gguf: type {n} of '{n}' is not supported\nbye\n"
    run = [passed(A), *(failed(f"F-CONV-003/{n}", "refused", stderr=says.format(n=n)) for n in range(9))]
    run.append(failed("F-CONV-003/z", "refused", stderr="error: no tokenizer\n"))
    raised = "Traceback (most recent call last):\n  File \"c.py\", line 1, in f\nKeyError: 'k{n}'\n"
    run += [failed(f"F-CONV-SAFE-001/g/{n}", "refused-by-traceback", stderr=raised.format(n=n)) for n in range(4)]
    found = {entry.patterns: entry.reason for entry in parse(draft(run), drafting=True)}
    assert found[("F-CONV-003/z",)] == "TODO: it says: error: no tokenizer"
    assert found[("F-CONV-SAFE-001/g/*",)] == "TODO: it says: KeyError: 'k0'"
    assert "TODO: it says: error: /tmp/0.gguf: type 0 of '0' is not supported" in found.values()
    assert len(found) == 3


@pytest.mark.parametrize("whole", [True, False])
@given(_results, _results)
def test_a_draft_never_loosens(
    whole: bool, then: dict[str, tuple[str, set[str]]], now: dict[str, tuple[str, set[str]]]
) -> None:
    """Entries are only added, they expect the run that they were drafted from, and no case that is not one of theirs.

    Of a whole run they may match cases that were not in it, but none that was right in it.
    """
    first = draft(_run(then), whole=whole)
    second = draft(_run(now), first, whole=whole)
    before, after = parse(first, drafting=True), parse(second, drafting=True)
    assert after[: len(before)] == before
    text = accepted(second)
    found = judge(_run(now), parse(text), TODAY, whole=False)
    assert not found.failures
    assert not found.unpinned
    cases = {f"g/{case}" for case in (*then, *now)}
    right = {f"g/{case}" for case, (outcome, _) in now.items() if outcome == CORROBORATED}
    assert not any(entry.matches(case) for entry in after[len(before) :] for case in right)
    for extra in () if whole else ("g/other", "g/aa", "g/a", "g/["):
        if extra not in cases:
            assert not any(entry.matches(extra) for entry in after)
