"""Facts of a tokenizer held against each other: what is lost, and what became something else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.judge.directory import OneOf
from rosetta_ref.gate.judge.tensors import META
from rosetta_ref.gate.judge.tokenizer import CONTROL, FLAGS, UNUSED, Facts

#: Types of a token that a converter makes up, so that there are as many as the embedding has rows.
_PADDING = (UNUSED, CONTROL)


@dataclass
class Asked:
    """Facts that there were to compare, and that were; what is wrong with them."""

    expected: int = 0
    compared: int = 0
    findings: list[Finding] = field(default_factory=list)

    def wrong(self, kind: str, detail: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(kind, META, detail))


def judge_facts(asked: Asked, ours: Facts, theirs: Facts) -> None:
    """Each fact of a source, in what a converter made of it."""
    for name, value in ours.items():
        size = 1 if isinstance(value, OneOf) else len(value) if isinstance(value, (list, dict)) else 1
        asked.expected += size
        here = theirs.get(name)
        if here is None:
            asked.wrong("tokenizer-lost" if name == "tokens" else "words-lost", f"{name}: it is not there")
        elif name == FLAGS:
            asked.compared += size
            _compare_kinds(asked, value, here)
        elif isinstance(value, OneOf) or isinstance(here, OneOf):
            asked.compared += 1
            right, found = (one if isinstance(one, OneOf) else [one] for one in (value, here))
            if not all(one in right for one in found):
                asked.wrong("words-wrong", f"{name}: {_several(right)} became {_several(found)}")
        elif isinstance(value, list) and isinstance(here, list):
            asked.compared += min(size, len(here))
            _compare_lists(asked, name, value, here)
        else:
            asked.compared += size
            if here != value:
                asked.wrong("words-wrong", f"{name}: {short(value)} became {short(here)}")


def _compare_kinds(asked: Asked, ours: dict[int, tuple[int, ...]], theirs: dict[int, tuple[int, ...]]) -> None:
    """The type of each token, where a format leaves a choice any of them; llama.h says what the numbers mean."""
    wrong = [place for place, kinds in ours.items() if place in theirs and not {*kinds} & {*theirs[place]}]
    extra = [place for place, kinds in theirs.items() if place >= len(ours) and not {*kinds} & {*_PADDING}]
    if wrong:
        place = wrong[0]
        detail = f"{_several(ours[place])} became {_several(theirs[place])}"
        asked.wrong("words-wrong", f"{FLAGS}: {len(wrong)} of {len(ours)} differ, first {place}: {detail}")
    if extra:
        place = extra[0]
        detail = f"{len(extra)} that fill up the embedding are no unused ones, first {place}: {_several(theirs[place])}"
        asked.wrong("words-wrong", f"{FLAGS}: {detail}")


def _several(values: Any) -> str:
    return " or ".join(short(one) for one in values)


def _compare_lists(asked: Asked, name: str, ours: list[Any], theirs: list[Any]) -> None:
    wrong = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a is not None and a != b]
    if wrong:
        first = wrong[0]
        detail = f"{name}: {len(wrong)} of {len(ours)} differ, first {first}: {ours[first]!r} became {theirs[first]!r}"
        asked.wrong("words-wrong", detail)
    elif len(theirs) < len(ours) or (len(theirs) > len(ours) and name != "tokens"):
        asked.wrong("words-lost", f"{name}: {len(ours)} became {len(theirs)}")


def short(value: Any) -> str:
    """A value in a few words."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
