"""APR's own two types.

AprQ4 looks like Q4_0 with its nibbles in another order: element 2i in the low nibble of byte i, 2i + 1 in the high one, over the
flattened tensor, the last block padded. AprQ8 has one float32 scale for a whole tensor. Source of the rules: the crate
apr-format 0.72.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.block import Blocks, Decoder, Encoder, Floats, layout_dtype
from rosetta_ref.quant.kernel import decoder


def _decode_aprq4(blocks: Any, out: Floats) -> None:
    codes = np.empty((blocks.size, 16, 2), np.uint8)
    np.bitwise_and(blocks["qs"], 15, out=codes[:, :, 0])
    np.right_shift(blocks["qs"], 4, out=codes[:, :, 1])
    signed = codes.view(np.int8).reshape(-1, 32) - np.int8(8)
    np.multiply(signed, np.asarray(blocks["d"], np.float32)[:, None], out=out)


def _rounded_away(scaled: Floats) -> Floats:
    whole = np.trunc(scaled)
    return np.where(np.abs(scaled - whole) >= 0.5, whole + np.copysign(np.float32(1), scaled), whole)


def _scale(values: Floats, top: int) -> Floats:
    largest = np.fmax.reduce(np.abs(values), axis=-1, initial=np.float32(0))
    return np.where(largest > 0, largest / np.float32(top), np.float32(1)).astype(np.float32)


def _codes(values: Floats, scale: Floats, low: int, high: int) -> Any:
    clipped = np.clip(_rounded_away(values / scale[..., None]), low, high)
    return np.nan_to_num(clipped, nan=0.0).astype(np.int8)


def encode_aprq4(values: Any, importance: Any = None) -> Blocks:
    """Encode the flattened values; nibbles past the end are 0."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    count = -(-flat.size // 32)
    padded = np.zeros(count * 32, np.float32)
    padded[: flat.size] = flat
    rows = padded.reshape(count, 32)
    with np.errstate(all="ignore"):
        scale = _scale(rows, 7)
        codes = (_codes(rows, scale, -8, 7) + np.int8(8)).astype(np.uint8).reshape(-1)
    codes[flat.size :] = 0
    blocks = np.zeros(count, layout_dtype("d:f16 | qs:16xu8"))
    blocks["d"] = scale
    blocks["qs"] = (codes[0::2] | codes[1::2] << 4).reshape(count, 16)
    return blocks


def decode_aprq8(blocks: Any, out: Floats | None = None) -> Floats:
    """Decode the one block of a tensor, or blocks of equal size."""
    result = np.empty((blocks.size, blocks["qs"].shape[-1]), np.float32) if out is None else out
    rows = result.reshape(blocks.size, -1)
    with np.errstate(invalid="ignore", over="ignore"):
        np.multiply(blocks["qs"].reshape(blocks.size, -1), np.asarray(blocks["d"], np.float32).reshape(-1, 1), out=rows)
    return result.reshape(-1)


def encode_aprq8(values: Any, importance: Any = None) -> Blocks:
    """Encode the flattened values as one block."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    block = np.zeros(1, layout_dtype("d:f32 | qs:*xi8", flat.size))
    with np.errstate(all="ignore"):
        scale = _scale(flat[None], 127)
        block["d"] = scale
        block["qs"] = _codes(flat[None], scale, -127, 127)
    return block


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder]] = {
    "AprQ4": (decoder(32, _decode_aprq4), encode_aprq4),
    "AprQ8": (decode_aprq8, encode_aprq8),
}
