"""F-CONV-DET-001: the same conversion gives the same bytes again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.converter.walk import regular_files
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.metadata import compare_keys
from rosetta_ref.gate.judge.question import Question
from rosetta_ref.gate.judge.view import View, look
from rosetta_ref.gate.run.checks.idempotent import Idempotent


class Deterministic(Idempotent):
    """The same bytes; where a format's metadata has no order (JSON), the same parsed values and data."""

    order = 1
    unit = "bytes"
    gate = "F-CONV-DET-001"

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        second = question.other
        assert second is not None
        ours, theirs = (_files(path) for path in (question.target, second))
        with look(question.target) as view:  # rubbish may well be the same each time
            tensors = len(view.tensors)
        result.expected = sum(map(len, ours.values()))
        result.compared = sum(len(data) for name, data in ours.items() if name in theirs) if tensors else 0
        changed = [name for name in ours if theirs.get(name) != ours[name]]
        if changed and not of(question.case.steps[-1]).has_ordered_metadata:
            with look(question.target) as one, look(second) as other:
                fine = compare_keys(one, other).findings == [] and _same_data(one, other)
            changed = [name for name in changed if not (fine and name.endswith((".apr", ".safetensors")))]
        for name in changed:
            detail = f"{name} has other bytes the second time"
            result.findings.append(Finding("not-deterministic", question.case.gate, detail))


def _files(path: Path) -> dict[str, bytes]:
    """What an output holds: as much as was let pass when it was first looked at."""
    return {
        str(file.relative_to(path)) if file != path else path.name: file.read_bytes() for file in regular_files(path)
    }


def _same_data(one: View, other: View) -> bool:
    names = list(one.tensors)
    return names == list(other.tensors) and all(
        np.array_equal(one.tensors[name].tensor.data, other.tensors[name].tensor.data) for name in names
    )


CHECK = Deterministic()
