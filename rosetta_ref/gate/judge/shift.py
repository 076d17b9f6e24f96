"""Numbers that GGUF and Hugging Face hold otherwise: a norm that is written w in one multiplies by 1 + w, and GGUF has the sum.

The sum is computed in float32 and stored in F32, as llama.cpp's converter does; the way back is the difference, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge import values
from rosetta_ref.gate.judge.pairs import numbers
from rosetta_ref.gate.judge.verdict import Verdict
from rosetta_ref.quant import TYPES

#: The right sum, which is so rounded that the difference is not the number again.
SHIFTED = "shifted"


def shifted(tensor: Tensor, plus: int) -> Tensor:
    """The tensor with that much more, in F32; as it is where nothing is added, or nobody knows its numbers."""
    if not plus or (tensor.type.decode is None and not tensor.type.is_scalar):
        return tensor
    with np.errstate(all="ignore"):
        made = numbers(tensor).astype(np.float32) + np.float32(plus)
    return replace(Tensor.of(tensor.name, TYPES["F32"], tensor.shape, made), file=tensor.file)


def judge_shifted(before: Tensor, after: Tensor, pluses: Sequence[int], *, asked: bool = False) -> Verdict:
    """The verdict on a tensor to which one of these had to be added; of a wrong one with what was added instead, if that is it."""
    verdicts = [(values.judge(shifted(before, plus), after, asked=asked), plus) for plus in pluses]
    found, plus = next(((one, plus) for one, plus in verdicts if one.right), verdicts[0])
    if found.right and found.done != values.NARROWED and not _comes_back(before, plus):
        return replace(found, done=SHIFTED)
    if found.kind != "values":
        return found
    due = pluses[0]
    for added in sorted({0, 1, -1, 2, -2} - set(pluses), key=abs):
        if values.judge(shifted(before, added), after).right:
            what = f"{added:+} was added" if added else "nothing was added"
            return replace(found, detail=f"{found.detail}: {what}, and {due:+} has to be")
    return found


def _comes_back(tensor: Tensor, plus: int) -> bool:
    """Whether the way back gives the same numbers."""
    return values.judge(shifted(tensor, 0), shifted(shifted(tensor, plus), -plus)).right
