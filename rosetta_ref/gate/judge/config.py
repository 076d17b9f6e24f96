"""What config.json says of a model, in one spelling: transformers 5 puts rope into a table, or into one for each kind of layer.

Read here are the keys of transformers 4 (`rope_theta`, `rope_local_base_freq`, `rope_scaling`), which say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The kinds of layers that have a rope of their own, and what transformers 4 calls the base of the second.
FULL, WINDOWED = "full_attention", "sliding_attention"
LOCAL_BASE = "rope_local_base_freq"


def in_one_spelling(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the numbers of rope beside the others; those of the layers that look at everything come first."""
    table = _table(config.get("rope_parameters"))
    whole, windowed = _table(table.get(FULL)), _table(table.get(WINDOWED))
    found = {**config, **(whole if whole or windowed else table)}
    if "rope_theta" in windowed:
        found[LOCAL_BASE] = windowed["rope_theta"]
    return found


def scaling_table(config: Mapping[str, Any]) -> dict[str, Any]:
    """What scales rope, of the layers that look at everything; empty where nothing does."""
    table = _table(config.get("rope_scaling") or config.get("rope_parameters"))
    return _table(table[FULL]) if FULL in table else table


def modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration in the keys of transformers 4 as transformers 5 writes it."""
    made = dict(config)
    table = {"rope_theta": made.pop("rope_theta"), **made.pop("rope_scaling", {"rope_type": "default"})}
    if LOCAL_BASE in made:
        table = {FULL: table, WINDOWED: {"rope_theta": made.pop(LOCAL_BASE), "rope_type": "default"}}
    return made | {"rope_parameters": table}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
