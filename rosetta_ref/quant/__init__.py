"""Block codecs: bytes to float32 and back, nothing else (no files, no models, no names).

Read `block` first (what a type is), then the families.
"""

from rosetta_ref.quant.block import BlockType

__all__ = ["BlockType"]
