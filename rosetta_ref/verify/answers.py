"""Logits and answers on both sides, and the ways in which an answer is none.

One model is in memory at a time: the logits of the source wait in a file until those of the converted model come, a portion of the
prompts after the other.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.errors import SHOWN, RosettaError
from rosetta_ref.inference.engine import Engine, NumpyEngine, portions
from rosetta_ref.verify.claims import Claim
from rosetta_ref.verify.limits import beyond
from rosetta_ref.verify.measures import Measured
from rosetta_ref.verify.report import Report

Array = NDArray[Any]

#: Logits of float64 between files whose sums run in different orders.
ACROSS_ORDERS = 1e-9
#: The same where one file has Llama 3's rope scaling as parameters and the other as factors in float32, which round each angle.
ACROSS_FACTORS = 1e-4


#: Prompts whose last logits are kept to see whether they differ at all, and how much of their spread counts as a difference.
_LISTENED, _DEAF = 16, 1e-4


#: Bytes of the source's logits that wait at a time: a text may be long.
SPOOL = 1 << 30

#: Tokens of an answer that are not all blanks.
_ENOUGH = 8


class BrokenSourceError(RosettaError):
    """A source can be a measure only if it answers: finite logits that depend on the prompt."""


class NothingComparedError(RosettaError):
    """A verdict counts what it compared, and nothing compared is an error."""


def compare_logits(
    report: Report, source: Engine, target: Engine, sequences: Sequence[Sequence[int]], claim: Claim, tolerance: float
) -> Measured:
    """Note what differs beyond `tolerance` (0: any bit) in a lossless conversion, or beyond the limits of a lossy one."""
    measured = Measured(tolerance)
    report.expected["conversion"] += sum(map(len, sequences))
    last: tuple[list[Array], list[Array]] = ([], [])
    unused = 0
    pairs = zip(sequences, _one_after_the_other(source, target, sequences), strict=True)
    for number, (tokens, (ours, theirs)) in enumerate(pairs):
        width = min(ours.shape[1], theirs.shape[1])
        for rows, seen in ((ours, last[0]), (theirs, last[1])):
            if number < _LISTENED:
                seen.append(rows[-1].copy())  # a view would keep all of them
        fault = fault_of(ours)
        if fault:
            raise BrokenSourceError(f"prompt {number + 1}: {fault} ({source.name})", file=source.path)
        fault = fault_of(theirs)
        if fault:
            report.fail("nan" if "NaN" in fault else "flat", target.name, f"prompt {number + 1}: {fault}")
            theirs = np.nan_to_num(theirs, nan=0.0, posinf=0.0, neginf=0.0)
        with source.model.meter.running() if isinstance(source, NumpyEngine) else contextlib.nullcontext():
            unused += int(np.count_nonzero(theirs.argmax(axis=1) >= width))
            measured.add(number, tokens, ours[:, :width], theirs[:, :width])
    if unused:
        report.fail("top1", target.name, f"the best token is one that the source does not have at {unused} positions")
    _deaf(report, source, target, sequences, last)
    if not measured.logits:
        raise NothingComparedError("no logit was compared", file=target.path)
    report.compared["conversion"] += measured.positions
    report.counts["positions"] += measured.positions
    report.counts["logits"] += measured.logits
    report.figures[source.name] = measured.figures
    if claim.lossless:
        _judge_lossless(report, source.name, measured, tolerance)
    else:
        limits = report.limits["lossy"]
        for name in beyond(measured.figures, limits):
            report.fail("limit", source.name, f"{name} is {measured.figures[name]:.4g}, the limit {limits[name]:.4g}")
    return measured


def _one_after_the_other(
    source: Engine, target: Engine, sequences: Sequence[Sequence[int]]
) -> Iterator[tuple[Array, Array]]:
    """The logits of both. Those of the source are computed first, as many as may wait, and its weights let go of."""
    for number, some in enumerate(portions(sequences, SPOOL // (8 * source.vocabulary))):
        if number:
            target.rest()
        with tempfile.TemporaryFile(prefix="rosetta-logits-") as spool:
            for logits in source.logits(some):
                np.save(spool, logits)
            source.rest()
            spool.seek(0)
            for logits in target.logits(some):
                yield np.load(spool), logits


def _judge_lossless(report: Report, engine: str, measured: Measured, tolerance: float) -> None:
    if measured.largest > tolerance or (not tolerance and measured.unequal):
        how = "bit for bit" if not tolerance else f"within {tolerance:g}"
        report.fail(
            "logits",
            engine,
            f"{measured.unequal:,} of {measured.logits:,} differ, by up to {measured.largest:.3g}; they must be equal {how}",
        )
    wrong = measured.positions - measured.agreeing - measured.too_close
    if wrong:
        report.fail("top1", engine, f"the best token differs at {wrong} of {measured.positions} positions")


def fault_of(logits: Array) -> str | None:
    """Why these logits are no answer."""
    if not np.isfinite(logits).all():
        return f"{np.count_nonzero(~np.isfinite(logits)):,} of {logits.size:,} logits are NaN or infinite"
    if np.ptp(logits, axis=1).min() == 0:
        return "every token has the same logit"
    return None


def _deaf(
    report: Report,
    source: Engine,
    target: Engine,
    sequences: Sequence[Sequence[int]],
    last: tuple[list[Array], list[Array]],
) -> None:
    """A model whose logits are the same behind different prompts does not read them."""
    if len({tuple(tokens) for tokens in sequences[:_LISTENED]}) < 2:
        return
    if _same(last[0]):
        raise BrokenSourceError(f"the logits are the same whatever the prompt ({source.name})", file=source.path)
    if _same(last[1]):
        report.fail("deaf", target.name, "the logits are the same whatever the prompt")


def _same(rows: list[Array]) -> bool:
    """Whether all rows are one, but for rounding; NaN is another matter."""
    together = np.stack(rows)
    return bool(np.isfinite(together).all() and np.ptp(together, axis=0).max() <= _DEAF * np.ptp(together))


def compare_answers(
    report: Report,
    source: Engine,
    target: Engine,
    prompts: Sequence[tuple[str, list[int]]],
    ours: Sequence[list[int]],
    count: int,
    *,
    exact: bool,
) -> None:
    """Greedy answers, those of the source in `ours`; they must be equal where `exact`.

    An answer of nothing is a failure on either side.
    """
    if not prompts:
        return
    asked = [tokens for _, tokens in prompts]
    drafts = {"drafts": ours} if isinstance(target, NumpyEngine) else {}
    theirs = target.generate(asked, count, **drafts)
    for (name, _), a, b in zip(prompts, ours, theirs, strict=True):
        for side, engine, answer in (("the source", source, a), ("the converted model", target, b)):
            # One or two tokens of an answer may well be a space.
            whole = len(answer) < count or count >= _ENOUGH
            if not answer or (whole and engine.has_text and not engine.text(answer).strip()):
                what = "blanks only" if answer else "nothing"
                report.fail("silent", engine.name, f"{side} answers prompt {name!r} with {what}")
        report.counts["answers"] += 1
        report.counts["tokens answered"] += len(a)
        if exact and a != b:
            place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            report.fail(
                "text",
                source.name,
                f"prompt {name!r}: answers part at token {place}: {_said(source, a)} became {_said(target, b)}",
            )
        elif exact and source.has_text and target.has_text and source.text(a) != target.text(b):
            report.fail(
                "text", source.name, f"prompt {name!r}: the same tokens read {_said(source, a)} and {_said(target, b)}"
            )
    if source.has_text:
        report.answer[source.name] = source.text(ours[0])[:SHOWN]


def _said(engine: Engine, tokens: Sequence[int]) -> str:
    return repr(engine.text(tokens))[:80] if engine.has_text else str(list(tokens[:8]))
