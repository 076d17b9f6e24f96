"""Every case of a run with its id, before anything runs, so that one which is not answered is missed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.cases import (
    ABA,
    AGAIN,
    ANSWERS,
    BE,
    BYTES,
    CHAIN,
    CLAIM,
    COM,
    COUNT,
    DET,
    ENCODED,
    IDEM,
    NAMES,
    RT,
    SAME,
    TENSORS,
    WORDS,
    Case,
    letters,
    path,
)
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.mapping import FROM_CONFIGURATION
from rosetta_ref.gate.judge.tensors import CARD, META, NAME, QUANT, gate_of
from rosetta_ref.gate.pairs import FORMATS, PAIRS

#: Models that are also converted there and back, on two ways, and through the longest chains: of each row the first that there
#: is. What the others show (heads, biases, scaling, shards, ...) their pairs show; with all of them the gate would take 200 calls
#: more.
_THOROUGH = (
    ("llama-f32-tied", "qwen2-f32"), ("llama-f16-scores", "llama-bf16-biased", "qwen2-bf16-tied"), ("llama-mix", "qwen2-mix"),
    ("qwen2-q4_k_m", "llama-q4_k_m"), ("metadata",), ("aligned-model-64",), ("gemma3-bf16", "gemma3-f16", "gemma3-f32"),
)  # fmt: skip
#: Models that are converted twice, likewise.
_TWICE = (
    ("llama-f32-tied", "qwen2-f32", "llama-f16-scores", "llama-bf16-biased", "qwen2-bf16-tied"),
    ("llama-mix", "qwen2-mix", "llama-q4_k_m", "qwen2-q4_k_m"),
)  # fmt: skip
#: Chains that others go through as well, where they are more than the pairs one after the other: not every format has a face.
_SHORT = ("F-CONV-RT-001", "F-CONV-RT-002")
#: Models that are asked questions before and after; those in which numbers of real size are quantised are asked, too.
_ANSWERING = ("llama-f32-tied", "qwen2-f32")


def plan(entry: Entry, samples: Sequence[Sample]) -> list[Case]:
    """Every case of a converter on those samples, in the order in which they are best run. Malformed files come in `refusals`."""
    claimed = entry.pairs if entry.pairs is not None else PAIRS
    made: list[Case] = [
        Case(f"{gate_of(*path(pair))}/not-claimed", gate_of(*path(pair)), CLAIM, "", path(pair))
        for pair in PAIRS
        if pair not in claimed
    ]
    thorough, twice = (_firsts(rows, samples) for rows in (_THOROUGH, _TWICE))
    for sample in samples:
        for face in sample.formats:
            for target in FORMATS:
                if face != target and letters((face, target)) in claimed:
                    made += _of_pair(sample, (face, target))
        if sample.architecture is not None:
            made += _of_chains(sample, claimed, sample.name in thorough)
            made += _of_repetitions(sample, claimed) if sample.name in twice else ()
        if "gguf" in sample.formats:
            made += _of_quantiser(sample, entry)
    return made


def _of_pair(sample: Sample, steps: tuple[str, str]) -> Iterator[Case]:
    gate, short = gate_of(*steps), letters(steps)
    by_label: dict[str, list[str]] = {}
    for name, label in sample.labels.items():
        if of(steps[0]).has_companions and name in FROM_CONFIGURATION:
            continue  # that face has parameters in its place
        by_label.setdefault(label, []).append(name)
    for label, names in by_label.items():
        yield Case(f"{gate}/{sample.name}/{label}", gate, TENSORS, sample.name, steps, tensors=tuple(names))
    yield Case(f"{CARD}/{short}/{sample.name}", CARD, COUNT, sample.name, steps)
    yield Case(f"{NAME}/{short}/{sample.name}", NAME, NAMES, sample.name, steps)
    if sample.architecture is not None:
        yield Case(f"{META}/{short}/{sample.name}", META, WORDS, sample.name, steps)


def _firsts(rows: Sequence[Sequence[str]], samples: Sequence[Sample]) -> set[str]:
    """Of each row the first that is among the samples; and real models, all of them."""
    names = {sample.name for sample in samples}
    real = {sample.name for sample in samples if sample.path is not None}
    return real | {next(name for name in row if name in names) for row in rows if not names.isdisjoint(row)}


def _of_repetitions(sample: Sample, claimed: Sequence[str]) -> Iterator[Case]:
    for face in sample.formats:
        for target in FORMATS:
            if target != face and (short := letters((face, target))) in claimed:
                yield Case(f"{IDEM}/{short}/{sample.name}", IDEM, AGAIN, sample.name, (face, target))
                yield Case(f"{DET}/{short}/{sample.name}", DET, BYTES, sample.name, (face, target))


def _of_chains(sample: Sample, claimed: Sequence[str], thorough: bool) -> Iterator[Case]:
    """Chains on models. Legs behind the first take the converter's own output, so only the first has to be claimed."""

    def possible(steps: Sequence[str]) -> bool:
        return steps[0] in sample.formats and letters(steps[:2]) in claimed

    for gate, name in RT.items():
        if possible(steps := path(name)) and (thorough or (gate in _SHORT and len(sample.formats) < len(FORMATS))):
            yield Case(f"{gate}/{sample.name}", gate, CHAIN, sample.name, steps)
    for face in sample.formats:
        for target in FORMATS:
            steps = (face, target)
            if target == face or not possible(steps):
                continue
            short = letters(steps)
            if sample.name in _ANSWERING or "gaussian" in sample.name or sample.path is not None:
                yield Case(f"{BE}/{short}/{sample.name}", BE, ANSWERS, sample.name, steps)
            if not thorough:
                continue
            if possible(back := (face, target, face)):
                yield Case(f"{ABA}/{letters(back)}/{sample.name}", ABA, CHAIN, sample.name, back)
            for between in FORMATS:
                if between not in steps and possible(way := (face, between, target)):
                    yield Case(f"{COM}/{letters(way)}/{sample.name}", COM, SAME, sample.name, way, other=steps)


def _is_quantised(sample: Sample) -> bool:
    return any(not tensor.type.is_scalar for tensor in sample.model.tensors.values())


def _of_quantiser(sample: Sample, entry: Entry) -> Iterator[Case]:
    """Float models only: what is quantised already is another question. Where the data lies is asked of one type."""
    if sample.architecture is None or _is_quantised(sample):
        return
    rough = any("/rough" in label for label in sample.labels.values())
    aligned = any("/alignment-" in label for label in sample.labels.values())
    for kind in entry.quantises if rough else entry.quantises[:1] if aligned else ():
        yield Case(f"{QUANT}/{kind.lower()}/{sample.name}", QUANT, ENCODED, sample.name, ("gguf", "gguf"), type=kind)
