"""Hypothesis strategies for blocks, tensors, archives and models, public for other projects' tests.

For codecs: `blocks(type)` and `rows(type)` to decode, `weights(type)` to encode. For readers and writers: `tensors(...)`. Whole
archives are in `apr`, `gguf`, `safetensors` and `models`. Bytes without Hypothesis: `patterns.block_bytes`.
"""

from rosetta_ref.strategies.patterns import PATTERNS
from rosetta_ref.strategies.quantised import blocks, rows, tensors
from rosetta_ref.strategies.values import FINITE, KINDS, weights

__all__ = ["FINITE", "KINDS", "PATTERNS", "blocks", "rows", "tensors", "weights"]
