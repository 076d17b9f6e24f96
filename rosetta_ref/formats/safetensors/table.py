"""The element types of SafeTensors, and the limits of its header."""

from __future__ import annotations

from dataclasses import replace

from rosetta_ref.quant import TYPES, BlockType

#: The library refuses a longer header, so that a damaged length cannot ask for all of the memory.
MAX_HEADER = 100_000_000

#: The header is padded with spaces to a multiple of this, so that the data starts aligned.
HEADER_ALIGNMENT = 8

METADATA_KEY = "__metadata__"

#: Bits of one element, by the names of the format, in the library's order.
BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip

#: Types smaller than a byte: the smallest group of elements that fills whole bytes.
_GROUPS = {4: (2, "x:u8"), 6: (4, "x:3xu8")}


def _dtype(name: str, bits: int) -> BlockType:
    """The type of that name; one that the quant floor does not know is carried as bytes.

    Types smaller than a byte run over the flattened tensor, whose rows need not end on a byte.
    """
    elements, layout = _GROUPS.get(bits, (1, f"x:u{bits}"))
    known = TYPES.get(name) or BlockType(name, None, elements, layout)
    return replace(known, padded=known.elements > 1)


DTYPES: dict[str, BlockType] = {name: _dtype(name, bits) for name, bits in BITS.items()}


def holds(kind: BlockType) -> bool:
    """Whether the format has a dtype for that type."""
    return kind.name in DTYPES
