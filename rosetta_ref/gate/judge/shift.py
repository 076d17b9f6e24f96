"""Numbers that GGUF and Hugging Face hold otherwise: a norm that is written w in one multiplies by 1 + w, and GGUF has the sum.

The sum is computed in float32 and stored in F32, as llama.cpp's converter does; the way back is the difference, in float32.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge import values
from rosetta_ref.gate.judge.pairs import numbers
from rosetta_ref.gate.judge.verdict import Verdict
from rosetta_ref.quant import TYPES


def shifted(tensor: Tensor, plus: int) -> Tensor:
    """The tensor with that much more, in F32; as it is where nothing is added, or nobody knows its numbers."""
    if not plus or (tensor.type.decode is None and not tensor.type.is_scalar):
        return tensor
    with np.errstate(all="ignore"):
        made = numbers(tensor).astype(np.float32) + np.float32(plus)
    return replace(Tensor.of(tensor.name, TYPES["F32"], tensor.shape, made), file=tensor.file)


def told(before: Tensor, after: Tensor, plus: int, wrong: Verdict) -> Verdict:
    """A verdict on other numbers, with what was added in the place of `plus`, where that explains all of them."""
    if wrong.kind != "values":
        return wrong
    for added in (0, 2 * plus, -plus):
        if values.judge(shifted(before, added), after).right:
            what = "nothing was added" if not added else f"{added:+} was added"
            return replace(wrong, detail=f"{wrong.detail}: {what}, and {plus:+} has to be")
    return wrong
