"""What happens to a tensor of each type on its way into each format: the table, and nothing else.

* carried: the bytes are copied.
* repacked: the same numbers in the same blocks with the nibbles in another order; no bit is lost and the way back exists.
* decoded: the numbers as floats; in a Hugging Face directory the original blocks are kept beside them.
* refused: the target has no place for the type, and no other type holds it: an error that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rosetta_ref.archive import Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES, BlockType

#: The types that every format holds as they are.
_EVERYWHERE = ("F32", "F16", "BF16", "F64", "I8", "I32", "I64")
#: The block types that APR has a code for.
_APR_BLOCKS = ("Q4_K", "Q6_K")


class Action(StrEnum):
    """What happens to a tensor."""

    CARRIED = "carried"
    REPACKED = "repacked"
    DECODED = "decoded"
    ENCODED = "encoded"
    RESTORED = "restored"
    REFUSED = "refused"


class RefusedTypeError(RosettaError):
    """A tensor is only written in a type that the target format can hold."""


@dataclass(frozen=True)
class Rule:
    """An action and the type that the tensor has afterwards."""

    action: Action
    type: str


def rule_for(kind: BlockType, target: str, row: int, *, apr_native: bool = False, float_type: str = "F32") -> Rule:
    """The rule for a tensor of that type with rows of `row` elements, into "gguf", "apr" or "safetensors".

    `float_type` is what decoded tensors become in SafeTensors.
    """
    name = kind.name
    if name in _EVERYWHERE:
        return Rule(Action.CARRIED, name)
    if target == "safetensors":
        if (kind.id is None and not name.startswith("Apr")) or name == "I16":
            return Rule(Action.CARRIED, name)
        return Rule(Action.DECODED, float_type) if kind.decode else Rule(Action.REFUSED, name)
    if target == "gguf":
        return _into_gguf(kind, row)
    return _into_apr(kind, row, apr_native)


def _into_gguf(kind: BlockType, row: int) -> Rule:
    if kind.id is not None:
        return Rule(Action.CARRIED, kind.name)
    if kind.name == "AprQ4" and row % 32 == 0:
        return Rule(Action.REPACKED, "Q4_0")
    if kind.name in ("AprQ4", "AprQ8"):
        return Rule(Action.DECODED, "F32")
    return Rule(Action.REFUSED, kind.name)


def _into_apr(kind: BlockType, row: int, native: bool) -> Rule:
    if kind.name in (*_APR_BLOCKS, "U8", "AprQ4", "AprQ8"):
        return Rule(Action.CARRIED, kind.name)
    if kind.name == "Q4_0":
        return Rule(Action.REPACKED, "AprQ4")
    if kind.id is None:
        return Rule(Action.REFUSED, kind.name)
    if native:
        return Rule(Action.DECODED, "F32") if kind.decode else Rule(Action.REFUSED, kind.name)
    return Rule(Action.CARRIED, kind.name)


def has_apr_code(kind: BlockType) -> bool:
    """Whether `apr` itself can compute with a tensor of that type."""
    return kind.name in _EVERYWHERE or kind.name in (*_APR_BLOCKS, "U8", "AprQ4", "AprQ8")


def require(rule: Rule, tensor: Tensor, target: str) -> None:
    """Raise RefusedTypeError where the rule refuses."""
    if rule.action is Action.REFUSED:
        why = (
            "has no decoder here yet"
            if target != "gguf" and tensor.type.id is not None
            else f"has no place in {target}"
        )
        raise RefusedTypeError(
            f"type {tensor.type.name} {why}", file=tensor.file, tensor=tensor.name, offset=tensor.offset
        )


def table() -> str:
    """The table as Markdown, for the documentation."""
    lines = ["| type | to GGUF | to APR | to APR, `--apr-native` | to SafeTensors |", "|---|---|---|---|---|"]
    for kind in TYPES.values():
        cells = [
            rule_for(kind, "gguf", 256),
            rule_for(kind, "apr", 256),
            rule_for(kind, "apr", 256, apr_native=True),
            rule_for(kind, "safetensors", 256, float_type="the float type"),
        ]
        shown = [c.action if c.type == kind.name else f"{c.action} as {c.type}" for c in cells]
        lines.append(f"| {kind.name} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"
