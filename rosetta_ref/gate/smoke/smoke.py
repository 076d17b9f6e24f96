"""A first talk with a converter: what it takes, of what it claims and of everything else that there is to try.

The first question is which pairs work at all, with the plainest model that there is; then, over one working pair for each
source format: architectures, tensors that are no model, SafeTensors as a file or a directory, types. Nothing here judges values.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rosetta_ref.archive import Archive
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.converter.entry import TIMEOUT, Converter, Entry
from rosetta_ref.gate.converter.words import FULL, TOKENIZERS, instead
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.inputs.default import scaled_models
from rosetta_ref.gate.inputs.models import Spec, build, families, formats_of, tensor_of
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.gate.pairs import LETTERS, PAIRS
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.gate.smoke.attempt import Attempt, attempt
from rosetta_ref.quant import TYPES

#: The plainest model first; who takes none of these takes nothing that would be called plain.
_PLAIN = ("F32", "F16", "BF16", "Q8_0", "Q4_K")
#: Tokenizers that are tried where a model with its own is not taken.
_OTHER_WORDS = ("spm", "full-smollm2")
_FORMS = ("directory", "file")
#: Types that are no weights of a model, or that only APR has.
_NO_WEIGHTS = ("Q8_1", "Q8_K")


@dataclass
class Findings:
    """What was found out; every answer is the attempt that gave it."""

    entry: Entry
    pairs: dict[str, Attempt] = field(default_factory=dict)
    architectures: dict[str, Attempt] = field(default_factory=dict)
    #: Vocabularies of samples, small and full; kinds of rope scaling.
    tokenizers: dict[str, Attempt] = field(default_factory=dict)
    rope_scaling: dict[str, Attempt] = field(default_factory=dict)
    #: By pair: tensors that are no model.
    arbitrary: dict[str, Attempt] = field(default_factory=dict)
    #: "source as file", "target as directory", ...
    forms: dict[str, Attempt] = field(default_factory=dict)
    #: By pair, then by type.
    types: dict[str, dict[str, Attempt]] = field(default_factory=dict)
    #: Types that were asked of a quantiser.
    quantises: dict[str, Attempt] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def works(self) -> bool:
        """Whether it converts anything."""
        return any(each.works for each in self.pairs.values())

    @property
    def whole_models(self) -> bool | None:
        """Whether a format of sources is taken in whole models only; None where nothing worked that could tell."""
        return not all(each.works for each in self.arbitrary.values()) if self.arbitrary else None

    @property
    def seconds(self) -> float:
        """The median of one call that worked; 0 where none did."""
        return statistics.median([each.run.seconds for each in self.attempts if each.works] or [0.0])

    @property
    def memory(self) -> int:
        """Resident bytes at most."""
        return max((each.run.memory for each in self.attempts), default=0)

    def contradictions(self) -> list[str]:
        """What the entry claims, and what was found otherwise."""
        entry = self.entry
        found = {pair: each for pair, each in self.pairs.items() if pair in (entry.pairs or ())}
        found |= {name: each for name, each in self.architectures.items() if name in (entry.architectures or ())}
        for words, named in ((self.tokenizers, entry.tokenizers), (self.rope_scaling, entry.rope_scaling)):
            found |= {name: each for name, each in words.items() if name in (named or ())}
        for pair, types in self.types.items():
            lost = {each.upper() for each in entry.loses}
            found |= {
                f"{name} ({pair})": each
                for name, each in types.items()
                if name in (entry.types or ()) and f"{LETTERS[pair[0]]}/{name}".upper() not in lost
            }
        found |= {f"to {name}": each for name, each in self.quantises.items()}
        said = [f"{', '.join(names)}: claimed, but {reason}" for names, reason in failures(found)]
        said += [
            f"{name}: claimed, but the gate has no model of it; it has {', '.join(families())}"
            for name in entry.architectures or ()
            if name not in families()
        ]
        said += [
            f"{pair}: {each.output}, of {each.tensors} tensors" for pair, each in self.pairs.items() if each.miscounts
        ]
        if entry.whole_models is False and self.whole_models:  # who takes more than is claimed contradicts nothing
            said.append("whole_models is false, but it seems to be true")
        return said


def failures(attempts: Mapping[str, Attempt]) -> list[tuple[list[str], str]]:
    """What does not work, by reason; reasons that differ in numbers alone are one, and the first stands for all."""
    found: dict[str, tuple[list[str], str]] = {}
    for name, each in attempts.items():
        if not each.works:
            found.setdefault(re.sub(r"\d+", "0", each.reason), ([], each.reason))[0].append(name)
    return list(found.values())


def smoke(converter: Converter, *, seed: int = 0, said: Callable[[Attempt], None] = lambda each: None) -> Findings:
    """Try what there is to try; `said` is told of every attempt. Never raises because of the converter."""
    findings = Findings(converter.entry)
    with Workspace() as work:
        _Smoke(converter, work, findings, seed, said).everything()
    return findings


class _Smoke:
    def __init__(
        self, converter: Converter, work: Workspace, findings: Findings, seed: int, said: Callable[[Attempt], None]
    ) -> None:
        self._converter, self._entry = converter, converter.entry
        self._work, self._findings, self._seed, self._said = work, findings, seed, said
        claimed = (name for name in self._entry.architectures or () if name in families())
        self._family = next(claimed, families()[0])  # what is claimed and not known cannot be asked with
        self._first_type = self._entry.quantises[0] if self._entry.quantises else None
        self._plain: dict[str, str] = {}  # pair: the type of the model that it takes
        self._words: str | None = None  # a small tokenizer that it takes, where it does not take the model's own
        if self._entry.tokenizers:
            small = instead(MODELS[self._family].tokenizer, self._entry.tokenizers)
            self._words = small or next((name for name in FULL if name in self._entry.tokenizers), None)
        self._inputs = 0

    def everything(self) -> None:
        """All questions, in the order in which answers are needed."""
        for pair in self._entry.pairs or (*PAIRS, *(pair for pair in self._entry.asked_on if pair not in PAIRS)):
            self._findings.pairs[pair] = self._pair(pair)
        for pair, first in self._findings.pairs.items():  # what comes of a later pair may be what an earlier one reads
            if not first.works and not first.own and (own := self._of_its_own(pair)) is not None and own.works:
                self._findings.pairs[pair] = own
        working = [pair for pair, each in self._findings.pairs.items() if each.works and not each.own]
        by_source: dict[str, str] = {}
        for pair in working:
            by_source.setdefault(pair[0], pair)
        firsts = list(by_source.values())
        for pair in firsts:
            self._arbitrary(pair)
        for pair in firsts[:1]:
            for family in families():
                self._findings.architectures[family] = self._try(pair, self._model(family, self._plain[pair]))
            self._tokenizers(pair)
        self._forms(working)
        for pair in firsts:
            self._findings.types[pair] = dict(self._types(pair))
        for pair in [pair for pair in working if pair in self._entry.asked_on][:1]:
            for name in self._held(pair):
                asked = self._try(pair, self._model(self._family, self._plain[pair]), kind=name)
                self._findings.quantises[name] = asked

    def _held(self, pair: str) -> list[str]:
        """The types that are asked for on a pair: those that its target has a place for."""
        return [name for name in self._entry.quantises if of(LETTERS[pair[-1]]).holds(TYPES[name])]

    def _pair(self, pair: str) -> Attempt:
        """With the plainest model; then with others, the other way to hold SafeTensors, and the converter's own output."""
        named = self._entry.types or _PLAIN
        first: Attempt | None = None
        for name in [name for name in _PLAIN if name in named] or named[:1]:
            sample = self._model(self._family, name)
            if LETTERS[pair[0]] not in sample.formats:
                continue
            for form in self._forms_of(pair):
                tried = self._try(pair, sample, form=form)
                if tried.works:
                    self._plain[pair] = name
                    return tried
                first = first or tried
                if tried.run.outcome == TIMEOUT:  # asking again would take as long
                    return tried
        if (other := self._with_other_words(pair)) is not None:
            return other
        tried_own = self._of_its_own(pair)
        if tried_own is not None and (tried_own.works or first is None):
            return tried_own
        assert first is not None, f"no plain model has a {LETTERS[pair[0]]} face"
        return first

    def _of_its_own(self, pair: str) -> Attempt | None:
        """The converter's own output as the input, where there is any."""
        outputs = [each.output for each in self._findings.attempts if each.works and each.pair[-1] == pair[0]]
        if not outputs or outputs[0] is None:
            return None
        for form in self._forms_of(pair):
            tried = self._attempt(pair, outputs[0].path, "its own output", form, own=True)
            if tried.works:
                break
        return tried

    def _with_other_words(self, pair: str) -> Attempt | None:
        """The plainest model with another tokenizer, where a converter may know none like the first."""
        names = [name for name in self._entry.types or _PLAIN if name in _PLAIN][:1]
        for words in _OTHER_WORDS if names and not self._entry.tokenizers and not self._plain else ():
            self._words = words
            sample = self._model(self._family, names[0])
            if LETTERS[pair[0]] in sample.formats:
                tried = self._try(pair, sample, form=self._entry.safetensors_as)
                if tried.works:
                    self._plain[pair] = names[0]
                    return tried
        self._words = self._words if self._plain or self._entry.tokenizers else None
        return None

    def _tokenizers(self, pair: str) -> None:
        """Each tokenizer in the plainest model, and each kind of rope scaling."""
        kind = self._plain[pair]
        for name in TOKENIZERS:
            family = next((each for each in families() if name == "gemma" == MODELS[each].tokenizer), self._family)
            sample = self._model(family, kind if TYPES[kind].is_scalar or name not in FULL else "F16", name)
            self._findings.tokenizers[name] = self._try(pair, sample)
        for scaling, sample in scaled_models(self._seed, self._words or ""):
            if {LETTERS[pair[0]], LETTERS[pair[-1]]} <= set(sample.formats):
                self._findings.rope_scaling[scaling] = self._try(pair, sample)

    def _forms_of(self, pair: str) -> tuple[str, ...]:
        """The way that the entry names first."""
        mine = self._entry.safetensors_as
        return (mine, *(form for form in _FORMS if form != mine)) if "S" in pair else (mine,)

    def _arbitrary(self, pair: str) -> None:
        self._findings.arbitrary[pair] = self._try(pair, self._tensors(self._plain[pair]))

    def _forms(self, working: list[str]) -> None:
        for side, place in (("source", 0), ("target", -1)):
            for pair in [pair for pair in working if pair[place] == "S"][:1]:
                sample = self._model(self._family, self._plain[pair])
                for form in _FORMS:
                    self._findings.forms[f"{side} as {form}"] = self._try(pair, sample, form=form)

    def _types(self, pair: str) -> Iterator[tuple[str, Attempt]]:
        """Each type that the source format has, in whatever the converter takes: plain tensors, or a model."""
        whole = not self._findings.arbitrary[pair].works
        for name in TYPES:
            kind = TYPES[name]
            if name in _NO_WEIGHTS or (whole and kind.is_scalar and name not in _PLAIN) or kind.decode is None:
                continue
            try:
                sample = self._model(self._family, name) if whole else self._tensors(name)
            except ValueError:  # no payload: it has no numbers that differ
                continue
            if LETTERS[pair[0]] in sample.formats:
                yield name, self._try(pair, sample)

    def _try(self, pair: str, sample: Sample, *, form: str | None = None, kind: str | None = None) -> Attempt:
        form = form or (self._findings.pairs[pair].safetensors_as if pair in self._findings.pairs else _FORMS[0])
        self._inputs += 1
        source = write.write(sample, LETTERS[pair[0]], self._work.path / f"input-{self._inputs}", form)
        return self._attempt(pair, source, sample.name, form, kind=kind, tensors=len(sample.model.tensors))

    def _attempt(
        self,
        pair: str,
        source: Path,
        sample: str,
        form: str,
        *,
        kind: str | None = None,
        own: bool = False,
        tensors: int | None = None,
    ) -> Attempt:
        asked = kind or (self._first_type if pair[0] == pair[-1] else None)
        tried = attempt(self._converter, self._work, pair, source, sample=sample, safetensors_as=form, type=asked)
        tried = replace(tried, own=own, tensors=tensors)
        self._findings.attempts.append(tried)
        self._said(tried)
        return tried

    def _model(self, family: str, name: str, tokenizer: str | None = None) -> Sample:
        """A model whose matrices are all of that type; 64 wide, or 256 for blocks."""
        sizes: dict[str, Any] = {"heads": 8, "kv_heads": 2, "head": 8, "inner": 96}
        if not TYPES[name].is_scalar:
            sizes |= {"head": 32, "inner": 512}
        words = tokenizer or (self._words if MODELS[family].tokenizer != "gemma" else None) or ""
        if words in FULL:
            sizes |= {"heads": 4, "kv_heads": 1, "head": 8}
        payload = "gaussian" if words in FULL else "index-coded"  # no narrow type has so many different numbers
        spec = Spec(family, **sizes, layers=1, tied=True, tokenizer=words)
        return build(f"{family} {name}" + (f", {words}" if words else ""), spec, [(name, payload)], self._seed)

    def _tensors(self, name: str) -> Sample:
        """A few tensors that are no model."""
        kind = TYPES[name]
        block = kind.elements or 32
        shapes = [(3, 2 * block), (2, block)]
        made = {
            f"part.{number}.weight": tensor_of(f"part.{number}.weight", kind, shape, "index-coded", self._seed + number)
            for number, shape in enumerate(shapes)
        }
        model = Archive("gguf", {}, made)
        return Sample(f"tensors {name}", model, dict.fromkeys(made, name.lower()), None, formats_of(model), self._seed)
