"""Which way round shapes stand in a file that does not say.

APR shapes are row-major, and today's writers set a flag that says so. Files of early 2026 have no such flag and keep GGUF's
order (fastest dimension first); files of the engine realizar have no flag either, and are row-major. The container cannot
tell, but an embedding is [vocabulary, hidden] in one and [hidden, vocabulary] in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rosetta_ref.formats.apr.errors import UndecidableShapesError
from rosetta_ref.formats.apr.index import Entry
from rosetta_ref.formats.apr.metadata import lookup

Order = Literal["row-major", "ne"]

#: Tensors of shape [vocabulary, hidden], by the names of both worlds.
_WITNESSES = ("token_embd.weight", "model.embed_tokens.weight", "output.weight", "lm_head.weight")


def decide(entries: Sequence[Entry], metadata: Mapping[str, Any]) -> Order:
    """The order of the shapes in a file without the row-major flag. Raises UndecidableShapesError."""
    if all(entry.shape == entry.shape[::-1] for entry in entries):
        return "row-major"  # both readings are the same
    hidden, vocabulary = lookup(metadata, "hidden_size"), _vocabulary(metadata)
    by_name = {entry.name: entry for entry in entries}
    for witness in (by_name[name] for name in _WITNESSES if name in by_name):
        order = _testimony(witness.shape, hidden, vocabulary)
        if order is not None:
            return order
    raise UndecidableShapesError(
        "the row-major flag is missing, and no embedding of shape [vocab_size, hidden_size] or the reverse can be found",
        hint="Say which with shapes='row-major' or shapes='ne' (GGUF's order).",
    )


def _testimony(shape: tuple[int, ...], hidden: int | None, vocabulary: int | None) -> Order | None:
    if len(shape) != 2 or (hidden is None and vocabulary is None):
        return None
    rows = shape[0] == vocabulary if vocabulary is not None else shape[1] == hidden
    columns = shape[1] == hidden if hidden is not None else rows
    turned_rows = shape[1] == vocabulary if vocabulary is not None else shape[0] == hidden
    turned_columns = shape[0] == hidden if hidden is not None else turned_rows
    row_major, turned = rows and columns, turned_rows and turned_columns
    if row_major == turned:
        return None
    return "row-major" if row_major else "ne"


def _vocabulary(metadata: Mapping[str, Any]) -> int | None:
    found = lookup(metadata, "vocab_size") or metadata.get("tokenizer.vocab_size")
    tokens = metadata.get("tokenizer.vocabulary")
    return found if found is not None else len(tokens) if isinstance(tokens, list) else None
