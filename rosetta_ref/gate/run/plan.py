"""Every case of a run with its id, before anything runs, so that one which is not answered is missed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.run.checks import CHECKS
from rosetta_ref.gate.run.checks.check import Subject

#: Models that are also converted there and back, on two ways, and through the longest chains: of each row the first that there
#: is. What the others show (heads, biases, scaling, shards, ...) their pairs show; with all of them the gate would take 200 calls
#: more. Of tokenizers with scores and of narrow floats one is enough: gemma3 has both, and norms that differ between formats.
_THOROUGH = (
    ("llama-f32-tied", "qwen2-f32"),
    ("gemma3-bf16", "gemma3-f16", "gemma3-f32", "llama-f16-scores", "llama-bf16-biased", "qwen2-bf16-tied"),
    ("llama-mix", "qwen2-mix"), ("qwen2-q4_k_m", "llama-q4_k_m"), ("metadata",), ("aligned-model-64",),
)  # fmt: skip
#: Models that are converted twice, likewise.
_TWICE = (
    ("llama-f32-tied", "qwen2-f32", "llama-f16-scores", "llama-bf16-biased", "qwen2-bf16-tied"),
    ("llama-mix", "qwen2-mix", "llama-q4_k_m", "qwen2-q4_k_m"),
)  # fmt: skip


def plan(entry: Entry, samples: Sequence[Sample]) -> list[Case]:
    """Every case of a converter on those samples, in the order in which they are best run. Malformed files come in `refusals`."""
    made = [case for check in CHECKS.values() for case in check.plan_once(entry)]
    thorough, twice = (_firsts(rows, samples) for rows in (_THOROUGH, _TWICE))
    for sample in samples:
        made += _of(Subject(entry, sample, sample.name in thorough, sample.name in twice))
    return made


def _of(subject: Subject) -> Iterator[Case]:
    """The cases of one sample: group by group, in each of them pair by pair, and of a pair check by check."""
    for group, checks in groupby(CHECKS.values(), key=lambda check: check.group):
        asked = list(checks)
        for pair in subject.pairs(group):
            way = subject.way_to(pair)
            for check in asked:
                for case in check.plan(subject, pair):
                    yield case if way is None else replace(case, steps=way)


def _firsts(rows: Sequence[Sequence[str]], samples: Sequence[Sample]) -> set[str]:
    """Of each row the first that is among the samples; and real models, all of them."""
    names = {sample.name for sample in samples}
    real = {sample.name for sample in samples if sample.path is not None}
    return real | {next(name for name in row if name in names) for row in rows if not names.isdisjoint(row)}
