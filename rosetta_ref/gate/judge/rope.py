"""Rope scaling as each format says it: keys in GGUF, a table in config.json, and for llama3 a tensor of factors in GGUF.

Sources: `rope.scaling.*` of ggml/docs/gguf.md, `modeling_rope_utils` of transformers. APR has no place for any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.config import scaling_table
from rosetta_ref.gate.judge.container import of as container_of
from rosetta_ref.gate.judge.view import UnreadableError, View

#: Scalings that GGUF has keys for.
_STATED = ("linear", "yarn")
#: What loaders take where a key is absent.
_ASSUMED = {"beta_fast": 32.0, "beta_slow": 1.0, "attention_factor": None}


def scaling_of(view: View) -> dict[str, Any]:
    """Type and numbers of a scaling that has keys in both formats, in config.json's words; empty where there is none."""
    found = container_of(view.format).scaling(view)
    if found.get("rope_type") not in _STATED:
        return {}
    return {key: value for key, value in found.items() if value is not None and value != _ASSUMED.get(key)}


def factors_of(view: View) -> NDArray[np.float64] | None:
    """What each frequency is divided by, where the model says so: GGUF's tensor, or config.json's llama3; None for plain ones."""
    here = view.tensors.get(mapping.FACTORS)
    if here is not None:
        try:
            return here.tensor.values().astype(np.float64)
        except (RosettaError, ValueError) as error:
            raise UnreadableError(
                f"its factors cannot be read: {error}", file=view.path, tensor=mapping.FACTORS
            ) from error
    table = _table(view)
    if table.get("rope_type", table.get("type")) != "llama3":
        return None
    stated = {row.gguf: value for row, value in view.numbers.items()}
    numbers = {key: _number(view, key, table.get(key)) for key in _LLAMA3}
    head = stated.get("attention.key_length")
    if not head:
        width, heads = (_number(view, key, stated.get(key)) for key in ("embedding_length", "attention.head_count"))
        head = int(width // heads)
    head = int(_number(view, "attention.key_length", head, most=_MOST_HEAD))
    return llama3_factors(head, _number(view, "rope.freq_base", stated.get("rope.freq_base", 10000.0)), numbers)


#: What is computed with; and the widest head whose factors are.
_LLAMA3 = ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "factor")
_MOST_HEAD = 1 << 16


def _number(view: View, key: str, value: Any, most: float = 1e300) -> float:
    """A number above zero, as all of these are. Raises UnreadableError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
        raise UnreadableError(f"{key} is {value!r:.40}, and the factors of the frequencies hang on it", file=view.path)
    return float(value)


def llama3_factors(head: int, theta: float, scaling: Mapping[str, Any]) -> NDArray[np.float64]:
    """One for each pair of a head: `_compute_llama3_parameters`."""
    with np.errstate(all="ignore"):  # what is no number is seen when it is compared
        return _llama3_factors(head, theta, scaling)


def _llama3_factors(head: int, theta: float, scaling: Mapping[str, Any]) -> NDArray[np.float64]:
    turns = scaling["original_max_position_embeddings"] / (2 * np.pi) * theta ** -(np.arange(0, head, 2) / head)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    factors: NDArray[np.float64] = 1 / ((1 - smooth) / scaling["factor"] + smooth)
    return factors


def _table(view: View) -> Mapping[str, Any]:
    return scaling_table(view.config or {})
