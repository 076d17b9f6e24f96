"""What an entry does not promise, its `loses`: words that are read strictly, and what they excuse.

A kind of finding excuses the findings of that kind, in every gate; a gate excuses what is falsified in it. What is excused is
noted. If nothing else is wrong, a case that was compared in full is Corroborated, and any other one is Skipped. Crashes and
timeouts are never excused. A payload, a type in a format, or `sharded` is an input that the converter may refuse.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Any

from rosetta_ref.gate import names
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Finding, Result
from rosetta_ref.gate.gates import GATES
from rosetta_ref.gate.kinds import KINDS, meant, shown
from rosetta_ref.gate.pairs import FORMATS
from rosetta_ref.patterns.payloads import PAYLOADS
from rosetta_ref.quant import TYPES

#: Inputs that may be refused: what their tensors hold, one type in one format, models of several files.
INPUTS = (
    *PAYLOADS,
    "sharded",
    *(f"{kind}/{word}" for kind in FORMATS for word in ("sharded", *(name.lower() for name in TYPES))),
)
#: Payloads of which there is one for each number.
_ALIGNED = re.compile(r"alignment-[1-9][0-9]{0,8}")


def word(value: Any) -> str:
    """One word of `loses`, by today's name. Raises ValueError that says what may be meant."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a text is wanted, not {value!r}")
    text = names.kind(value.strip(), place="loses")
    if text in KINDS and not KINDS[text].excusable:
        raise ValueError(f"{text!r} is never excused: {KINDS[text].means[0].lower()}{KINDS[text].means[1:]}")
    if text in KINDS or text in GATES:
        return text
    if (lower := text.lower()) in INPUTS or _ALIGNED.fullmatch(lower):
        return lower
    known = (*(name for name, kind in KINDS.items() if kind.excusable), *GATES, *INPUTS)
    raise ValueError(
        f"unknown word {shown(text)}: neither a kind of finding, a gate, nor an input. {meant(text, known)}"
    )


def is_excused(finding: Finding, loses: Collection[str]) -> bool:
    """Whether an entry that loses these does not promise what the finding is about."""
    return finding.gate in loses or (finding.kind in loses and KINDS[finding.kind].excusable)


def excuse(result: Result, loses: Collection[str]) -> Result:
    """The result without what the entry does not promise."""
    unpromised = result.gate in loses
    gone = [finding for finding in result.findings if unpromised or is_excused(finding, loses)]
    if result.outcome != FALSIFIED or not (gone or unpromised):
        return result
    first = str(gone[0]) if gone else result.reason
    words = result.gate if unpromised else ", ".join(sorted({finding.kind for finding in gone}))
    for kind, count in Counter(finding.kind for finding in gone).items():
        result.notes[kind] = result.notes.get(kind, 0) + count
    result.findings = [finding for finding in result.findings if finding not in gone]
    if result.findings:
        result.reason = str(result.findings[0])
    elif not unpromised and 0 < result.expected <= result.compared:
        result.outcome = CORROBORATED
        result.reason = f"{result.compared:,} {result.unit} compared; the entry does not promise {words}"
    else:
        result.outcome, result.reason = SKIPPED, f"the entry does not promise {words}: {first}"
        result.unclaimed = True
    return result
