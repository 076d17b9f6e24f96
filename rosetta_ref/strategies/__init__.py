"""Hypothesis strategies for blocks, tensors, archives and models, public for other projects' tests.

For codecs: `blocks(type)` and `rows(type)` to decode, `weights(type)` to encode. For readers and writers: `tensors(...)`. Whole
archives are in `apr`, `gguf`, `safetensors` and `models`. Bytes without Hypothesis: `rosetta_ref.patterns`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rosetta_ref.patterns.blocks import PATTERNS

if TYPE_CHECKING:
    from rosetta_ref.strategies.quantised import blocks, rows, tensors
    from rosetta_ref.strategies.values import FINITE, KINDS, weights

__all__ = ["FINITE", "KINDS", "PATTERNS", "blocks", "rows", "tensors", "weights"]

#: Where a name comes from. On demand: the gate takes bytes of `rosetta_ref.patterns`, and has no need of Hypothesis.
_HOMES = {"blocks": "quantised", "rows": "quantised", "tensors": "quantised", "FINITE": "values", "KINDS": "values",
          "weights": "values"}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
