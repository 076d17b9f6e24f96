"""The same answers after the conversion: two models asked the same questions, and the weight to blame where they differ.

Read `verify` below (the order of the stages), then `copies`, `prompts`, `tokenisation`, `claims` (must it be equal, or
near?), `requirements` (what must be the same even then), `answers` and `measures` (logits and text), `limits` (how near),
`engines` (the same file on two engines), `blame` (which weight), `report`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import sniff
from rosetta_ref.formats.registry import of
from rosetta_ref.inference.engine import Engine, NumpyEngine, require_tokens
from rosetta_ref.inference.engines import load
from rosetta_ref.inference.meter import AnswerLimitError
from rosetta_ref.inference.text import MissingLibraryError
from rosetta_ref.verify import prompts as asked
from rosetta_ref.verify.answers import (
    ACROSS_FACTORS,
    ACROSS_ORDERS,
    BrokenSourceError,
    NothingComparedError,
    compare_answers,
    compare_logits,
)
from rosetta_ref.verify.blame import blame, numbers_that_differ
from rosetta_ref.verify.claims import Claim, claim_of
from rosetta_ref.verify.copies import NothingConvertedError, refuse_copies
from rosetta_ref.verify.engines import compare_engines
from rosetta_ref.verify.limits import UnknownLimitError, limits_for
from rosetta_ref.verify.measures import Measured
from rosetta_ref.verify.prompts import NoPromptError, Prompt
from rosetta_ref.verify.report import Report
from rosetta_ref.verify.requirements import one_has_factors, require_frequencies, require_the_rest
from rosetta_ref.verify.tokenisation import compare_tokenisation

__all__ = ["RUN_ERRORS", "Report", "VerificationError", "Verify", "verifier", "verify"]


class VerificationError(RosettaError):
    """A converted model gives the answers of its source."""


class UnreadableSourceError(RosettaError):
    """A source that does not load is no measure."""


class UnreadableTargetError(RosettaError):
    """A converted model is there, and can be read."""


class NothingToAskError(RosettaError):
    """An engine that is asked for must be able to read at least one of the two files."""


#: Characters of the built-in prompts, and tokens of a text, that are no more than usual.
_ASKED = 4000
#: Errors of the run: nothing was judged.
RUN_ERRORS = (
    *(NothingConvertedError, NoPromptError, NothingToAskError, NothingComparedError, BrokenSourceError),
    *(MissingLibraryError, UnknownLimitError, UnreadableSourceError),
)


@dataclass(frozen=True)
class Verify:
    """What a verification may be told.

    prompts: texts to ask instead of the built-in ones (the first of which is always asked); text: a file of which the logits
    count, too; count: tokens of an answer; engines: of numpy, llama.cpp, transformers, mlx-lm; lossless: whether the conversion
    must lose nothing, None for what its types claim; limits: of a lossy one, by figure; blame: look for the weight behind a
    difference.
    """

    prompts: Sequence[str] = ()
    text: Path | None = None
    count: int = 32
    engines: Sequence[str] = ("numpy",)
    lossless: bool | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    blame: bool = True


def verify(src: str | Path, dst: str | Path, **options: Any) -> Report:
    """Ask both models the same questions; the options are the fields of `Verify`.

    The numpy engine always judges, since it reads every format; the others judge the files that they read. Raises RUN_ERRORS, which
    are errors of the run, and what loading raises.
    """
    began, chosen = time.perf_counter(), Verify(**options)
    source, target = Path(src), Path(dst)
    report = Report(source, target)
    limits_for(None, chosen.limits)
    if chosen.count < 1:
        raise NoPromptError(f"an answer of {chosen.count} tokens is none")
    refuse_copies(source, target)
    with _opened(source, UnreadableSourceError, RosettaError, OSError) as ours:
        questions = _questions(ours, chosen)
        try:
            with _opened(target, UnreadableTargetError, OSError) as theirs:
                ours.model.meter.times = theirs.model.meter.times = _times(questions, chosen)
                _judge(report, ours, theirs, questions, chosen)
        except RUN_ERRORS:
            raise
        except (
            RosettaError
        ) as error:  # the source is known to load: where nothing else is said, the converted model does not
            if _is_about(error, source) and not _is_about(error, target):
                raise UnreadableSourceError(str(error), file=source) from error
            report.fail("load", "numpy", str(error.at(file=target)))
    report.seconds = time.perf_counter() - began
    return report


def _is_about(error: RosettaError, path: Path) -> bool:
    file = None if error.file is None else Path(error.file)
    return file is not None and (file == path or path in file.parents)


def _questions(ours: NumpyEngine, chosen: Verify) -> list[Prompt]:
    try:
        questions = list(asked.chosen(ours, chosen.prompts, chosen.text))
        _ = ours.stops  # all of the tokenizer is looked at before the converted model is
        sequences = [question.ids(ours) for question in questions]
        if all(sequences):
            require_tokens(sequences, ours.model)
            return questions
    except RUN_ERRORS:
        raise
    except RosettaError as error:
        raise UnreadableSourceError(str(error), file=ours.path) from error
    raise NoPromptError("a prompt has no tokens", file=ours.path)


def _times(questions: Sequence[Prompt], chosen: Verify) -> float:
    """How much more the user asks than the built-in prompts do, which is what the limits of answers are made for."""
    asked_for = sum(len(question.text) + len(question.tokens) for question in questions)
    return max(1.0, asked_for / _ASKED, chosen.count / Verify.count)


def _opened(path: Path, refusal: type[RosettaError], *refused: type[Exception]) -> NumpyEngine:
    try:
        if not path.is_dir():
            foreign.open_file(path).close()  # a pipe would be waited for
        return NumpyEngine(path)
    except refused as error:
        raise refusal(str(error), file=path) from error


def _judge(report: Report, ours: NumpyEngine, theirs: NumpyEngine, questions: Sequence[Prompt], chosen: Verify) -> None:
    claim = _claim(report, ours, theirs, chosen)
    sequences = _usable(compare_tokenisation(report, ours, theirs, questions), theirs.vocabulary)
    measured = _compare(report, ours, theirs, questions, sequences, claim, chosen)
    for name in chosen.engines:
        if name != "numpy":
            _on_another_engine(report, name, ours, theirs, questions, sequences, claim, chosen)
    if report.failures and chosen.blame:
        _blame(report, ours, theirs, sequences, measured)


def verifier(**options: Any) -> Callable[[Path, Path], str]:
    """For `convert(..., verify=verifier())`: it raises VerificationError where `verify` has failures, and what that raises."""

    def require_same(src: Path, dst: Path) -> str:
        try:
            report = verify(src, dst, **options)
        except NothingConvertedError:  # the converter asks, and knows why: a file that is of the wanted types already
            return "verified: the target is the source, byte for byte"
        if not report.same:
            found = [str(failure) for failure in report.failures[:3]]
            found += report.blame.lines(3) if report.blame is not None else []
            raise VerificationError("; ".join(found), file=dst)
        counts = report.counts
        return (
            f"verified, {report.claim}: {counts['prompts']} prompts, {counts['logits']:,} logits at {counts['positions']} "
            f"positions, {counts['tokens answered']} tokens of {counts['answers']} answers"
        )

    return require_same


def _claim(report: Report, ours: NumpyEngine, theirs: NumpyEngine, chosen: Verify) -> Claim:
    """What must hold; `lossless` and limits overrule what the types claim."""
    claim = claim_of(ours.model, theirs.model)
    lossy = chosen.lossless is False or (chosen.lossless is None and not claim.lossless) or bool(chosen.limits)
    claim = Claim(
        (claim.type or "any type") if lossy and not chosen.lossless else None, claim.same_types, claim.same_order
    )
    report.claim = "lossless" if claim.lossless else f"lossy ({claim.type})"
    if not claim.lossless:
        report.limits["lossy"] = limits_for(claim.type, chosen.limits)
        require_the_rest(report, ours.model, theirs.model)
    for name, (here, there) in numbers_that_differ(ours.model.parameters, theirs.model.parameters).items():
        if not (name == "scaling" and one_has_factors(ours, theirs)):
            report.fail("numbers", "numpy", f"{name}: {here} became {there}")
    if one_has_factors(ours, theirs):
        require_frequencies(report, ours.model, theirs.model)
    return claim


def _usable(sequences: list[list[int]], vocabulary: int) -> list[list[int]]:
    """Tokens that both models have; where rows are lost, the rest is still compared."""
    return [[token for token in sequence if token < vocabulary] or [0] for sequence in sequences]


def _compare(
    report: Report, ours: NumpyEngine, theirs: NumpyEngine, questions: Sequence[Prompt], sequences: Sequence[list[int]],
    claim: Claim, chosen: Verify,
) -> Measured:  # fmt: skip
    """On the numpy engine: bit for bit where the sums run in the same order, else in float64."""
    tolerance = 0.0
    if claim.lossless and not claim.same_order:
        ours.dtype = theirs.dtype = np.float64
        tolerance = ACROSS_FACTORS if one_has_factors(ours, theirs) else ACROSS_ORDERS
    return _compare_both(
        report, ours, theirs, questions, sequences, claim, tolerance, chosen.count, exact=claim.lossless
    )


def _compare_both(
    report: Report, ours: Engine, theirs: Engine, questions: Sequence[Prompt], sequences: Sequence[list[int]],
    claim: Claim, tolerance: float, count: int, *, exact: bool,
) -> Measured:  # fmt: skip
    """Answers and logits. The source is asked first for both: its weights can go before the converted model is loaded."""
    asked = _answered(questions, sequences)
    answers = ours.generate([tokens for _, tokens in asked], count) if asked else []
    measured = compare_logits(report, ours, theirs, sequences, claim, tolerance)
    compare_answers(report, ours, theirs, asked, answers, count, exact=exact)
    return measured


def _answered(questions: Sequence[Prompt], sequences: Sequence[list[int]]) -> list[tuple[str, list[int]]]:
    return [(q.name, tokens) for q, tokens in zip(questions, sequences, strict=True) if q.answered]


def _on_another_engine(
    report: Report, name: str, ours: NumpyEngine, theirs: NumpyEngine, questions: Sequence[Prompt],
    sequences: Sequence[list[int]], claim: Claim, chosen: Verify,
) -> None:  # fmt: skip
    """Each file that the engine reads against numpy; both against each other where it computes them in the same way."""
    sides = [(side, one) for side, one in (("source", ours), ("converted", theirs)) if _reads(name, one.path)]
    if not sides:
        raise NothingToAskError(f"{name} reads neither file", file=theirs.path)
    for side, one in sides:
        one.dtype = np.float32
        try:
            if name == "llama.cpp":
                from rosetta_ref.inference.trial import require_alive

                require_alive(one.path, [question.text for question in questions])
            with load(one.path, name) as other:
                _compare_tokenisation_of_engines(report, side, one, other, questions, sequences)
            compare_engines(report, side, one, name, sequences)
        except RUN_ERRORS:
            raise
        except RosettaError as error:
            if side == "source":
                raise UnreadableSourceError(str(error), file=one.path) from error
            report.fail("load", name, str(error))
            return
    if len(sides) == 2 and claim.lossless and claim.same_types:
        with load(ours.path, name) as a, load(theirs.path, name) as b:
            compare_tokenisation(report, a, b, questions)
            _compare_both(report, a, b, questions, sequences, claim, 0.0, chosen.count, exact=True)


def _reads(engine: str, path: Path) -> bool:
    kind = sniff(path)
    return kind == "gguf" if engine == "llama.cpp" else of(kind).has_companions and path.is_dir()


def _compare_tokenisation_of_engines(
    report: Report, side: str, mine: Engine, other: Engine, questions: Sequence[Prompt], sequences: Sequence[list[int]]
) -> None:
    """Each engine tokenizes by itself: the prompts must come out the same."""
    for question, tokens in zip(questions, sequences, strict=True):
        if not question.tokens and other.has_text and (found := question.ids(other)) != tokens:
            report.fail(
                "tokens", f"{side}, {other.name}", f"prompt {question.name!r}: {tokens[:6]} on {mine.name}, {found[:6]}"
            )


def _blame(
    report: Report, ours: NumpyEngine, theirs: NumpyEngine, sequences: Sequence[list[int]], measured: Measured
) -> None:
    """Look for the weight behind the position where the logits are furthest apart."""
    kinds = {failure.kind for failure in report.failures}
    if kinds <= {"vocabulary", "tokens", "stops", "silent", "engines", "load"}:
        return
    sequence, position = measured.worst
    tokens = sequences[sequence][: position + 1]
    try:
        for model in (ours.model, theirs.model):
            model.meter.spent = model.meter.allowed / 2  # for this, half as much again
            model.meter.require_steps(model.parameters, model.vocabulary, len(tokens))
        report.blame = blame(ours.model, theirs.model, tokens)
    except AnswerLimitError as error:
        report.note(f"no weight was looked for: {error}")
