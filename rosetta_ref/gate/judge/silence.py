"""What loaders take where a file says nothing, in GGUF's keys: of a GGUF file a table, of config.json the `taken` of each record.

Sources: the configuration classes of transformers 5.24 (configuration_llama.py, configuration_qwen2.py, ...), whose defaults hold
where config.json leaves a key out; `load_hparams` of llama.cpp (src/llama-model.cpp, src/models/*.cpp). Where config.json says
null, most defaults are not taken: heads of k and v are as many as of q, the size of a head is the width over the heads, and a
window or a cap is none. APR's readers take what llama.cpp does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.judge.config import WINDOWED, in_one_spelling
from rosetta_ref.gate.judge.mapping import MODELS, Number, number_rows
from rosetta_ref.gate.judge.model import NONE_AT_ZERO, WINDOW
from rosetta_ref.gate.judge.view import View

#: Numbers that are made of others: the heads of q; the width over them; the size of a head of k.
_HEADS, _WIDTH_OVER_HEADS, _HEAD = "attention.head_count", "embedding_length", "attention.key_length"
_OWN_SIZE = {"attention.key_length": _WIDTH_OVER_HEADS, "attention.value_length": _WIDTH_OVER_HEADS}
_BY_LLAMA_CPP: Mapping[str, Any] = {
    "rope.freq_base": 10000.0, "rope.freq_base_swa": 10000.0, "attention.head_count_kv": _HEADS, **_OWN_SIZE,
}  # fmt: skip
#: What null means in config.json.
_NULL = {"attention.head_count_kv": _HEADS, **_OWN_SIZE}


def taken(view: View) -> dict[Number, Any]:
    """The numbers that a loader computes with: those that the file states, and what is taken in the place of others.

    What is switched off is None; a number that no loader makes up is absent.
    """
    stated = dict(view.numbers)
    found: dict[Number, Any] = {}
    by_key = {row.gguf: value for row, value in stated.items()}
    off = _looks_at_everything(view)
    for row in number_rows(view.reading):
        value = stated.get(row)
        if value is None:
            value = None if off and row.gguf == WINDOW else _silent(view, row, by_key)
        if row.gguf in NONE_AT_ZERO:
            found[row] = value or None
        elif value is not None:
            found[row] = value
    return found


def _silent(view: View, row: Number, stated: Mapping[str, Any]) -> Any:
    """What is taken where that number is not stated; None where there is nothing."""
    if not of(view.format).has_companions:
        return _made(_BY_LLAMA_CPP.get(row.gguf), stated)
    if view.config is None:
        return None
    if row.hugging_face in in_one_spelling(view.config):
        return _made(_NULL.get(row.gguf), stated)
    return _made((MODELS[view.reading].taken if view.reading in MODELS else {}).get(row.gguf), stated)


def _looks_at_everything(view: View) -> bool:
    """Whether config.json names the layers, and none that looks at a window: what it takes for one is the same then."""
    named = (view.config or {}).get("layer_types")
    return isinstance(named, list) and WINDOWED not in named


def _made(rule: Any, stated: Mapping[str, Any]) -> Any:
    """A number itself, or what it is made of; a file may say anything of that."""
    heads, width = stated.get(_HEADS), stated.get("embedding_length")
    if rule == _HEADS:
        return heads
    if rule == _WIDTH_OVER_HEADS:
        return width // heads if isinstance(heads, int) and isinstance(width, int) and heads > 0 else None
    return rule
