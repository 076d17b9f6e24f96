"""Block codecs: bytes to float32 and back, nothing else (no files, no models, no names).

Read `block` first (what a type is), `table` (which there are), then the families; for encoding `encoding`, `rounding` and `search`.
"""

from rosetta_ref.quant import aprender, fast, fewbits, fp4, grid, iq4, kquants, legacy, scalars
from rosetta_ref.quant.block import BlockType
from rosetta_ref.quant.table import ROWS

__all__ = ["BY_ID", "FAMILIES", "TYPES", "BlockType"]

#: The modules that hold the codecs.
FAMILIES = (scalars, legacy, kquants, iq4, grid, fp4, fewbits, aprender)
_CODECS = {name: pair for family in FAMILIES for name, pair in family.CODECS.items()}


def _type(name: str) -> BlockType:
    decode, encode = _CODECS.get(name, (None, None))
    if decode is not None and name in fast.NAMES:
        decode = fast.decoder(name, ROWS[name][1], plain=decode)
    if encode is not None and name in fast.ENCODED:
        encode = fast.encoder(name, plain=encode)
    return BlockType(name, *ROWS[name], decode, encode, padded=name == "AprQ4")


#: Every type by name, and those of ggml by its id.
TYPES: dict[str, BlockType] = {kind.name: kind for kind in map(_type, ROWS)}
BY_ID: dict[int, BlockType] = {kind.id: kind for kind in TYPES.values() if kind.id is not None}
