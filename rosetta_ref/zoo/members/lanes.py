"""Lanes: the right bits, given to the wrong elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import Decoder, Floats
from rosetta_ref.quant.kquants.affine import scales_and_minima
from rosetta_ref.quant.kquants.packing import six_bit_pairs
from rosetta_ref.zoo.codecs import PLAIN, decoding, decoding_by, encoding
from rosetta_ref.zoo.files import blocks, floats, in_apr, in_gguf, in_safetensors, tensor
from rosetta_ref.zoo.member import Member, writing_each


def neighbours(qs: Any) -> Any:
    """Codes of bytes with the low nibble of byte i as element 2i, the high one as 2i + 1."""
    return np.stack([qs & 15, qs >> 4], axis=-1).reshape(len(qs), -1)


def _five_bits_interleaved(blocks_: Any) -> Floats:
    fifth = blocks_["qh"][:, None] >> np.arange(32, dtype=np.uint32) & 1
    codes: Floats = (neighbours(blocks_["qs"]) | fifth.astype(np.uint8) << 4).astype(np.float32)
    return codes


def _q5_0_interleaved(blocks_: Any, out: Floats) -> None:
    out[:] = _five_bits_interleaved(blocks_) - 16
    out *= blocks_["d"].astype(np.float32)[:, None]


def _q5_1_interleaved(blocks_: Any, out: Floats) -> None:
    out[:] = _five_bits_interleaved(blocks_) * blocks_["d"].astype(np.float32)[:, None]
    out += blocks_["m"].astype(np.float32)[:, None]


def _q5_k_in_sequence(blocks_: Any, out: Floats) -> None:
    """Element i from nibble i and bit i, counted through the bytes; the scales are right."""
    fifth = np.unpackbits(blocks_["qh"], axis=1, bitorder="little")
    out[:] = neighbours(blocks_["qs"]) | fifth << 4
    scale, minimum = scales_and_minima(blocks_, six_bit_pairs)
    out *= np.repeat(scale, 32, axis=1)
    out -= np.repeat(minimum, 32, axis=1)


def _mxfp4_of_neighbours(blocks_: Any, out: Floats) -> None:
    """The right values, of which those of a byte are taken for neighbours."""
    right = PLAIN["MXFP4"][0](blocks_).reshape(-1, 32)
    out[:, 0::2], out[:, 1::2] = right[:, :16], right[:, 16:]


def _q2_k_sequential(blocks_: Any, out: Floats) -> None:
    """Scale j beside bytes 4j to 4j + 3, whose codes follow each other from the lowest bits up."""
    codes = (blocks_["qs"][:, :, None] >> np.arange(0, 8, 2, dtype=np.uint8) & 3).reshape(-1, 16, 16)
    scales = (blocks_["scales"] & 15).astype(np.float32) * blocks_["d"].astype(np.float32)[:, None]
    minima = (blocks_["scales"] >> 4).astype(np.float32) * blocks_["dmin"].astype(np.float32)[:, None]
    out[:] = (codes * scales[:, :, None] - minima[:, :, None]).reshape(-1, 256)


def _q4_0_of_neighbours(values: Any, importance: Any = None) -> Any:
    """The right codes, with those of elements j and j + 1 in a byte."""
    encode = PLAIN["Q4_0"][1]
    assert encode is not None
    made = encode(values, importance)
    qs = made["qs"]
    codes = np.concatenate([qs & 15, qs >> 4], axis=-1)
    made["qs"] = codes[..., 0::2] | codes[..., 1::2] << 4
    return made


def _q4_1_after_two_bytes(blocks_: Any, out: Floats) -> None:
    """Nibbles from behind the scale on: the minimum is their first two bytes, too."""
    raw = np.ascontiguousarray(blocks_).view(np.uint8).reshape(len(blocks_), -1)[:, 2:18]
    out[:] = np.concatenate([raw & 15, raw >> 4], axis=1)
    out *= blocks_["d"].astype(np.float32)[:, None]
    out += blocks_["m"].astype(np.float32)[:, None]


def _first_block_only(name: str) -> Decoder:
    plain = PLAIN[name][0]

    def decode(blocks: Any, out: Floats | None = None) -> Floats:
        made = plain(blocks, out)
        made.reshape(-1)[TYPES[name].elements :] = 0
        return made

    return decode


def _aprq4_in_halves(blocks_: Any, out: Floats) -> None:
    out[:] = np.concatenate([blocks_["qs"] & 15, blocks_["qs"] >> 4], axis=1).astype(np.float32) - 8
    out *= blocks_["d"].astype(np.float32)[:, None]


def _pairs_turned(one: Tensor) -> Tensor:
    if one.type.name != "BF16" or one.count % 2:
        return one
    return Tensor.of(one.name, one.type, one.shape, one.data.view("<u2").reshape(-1, 2)[:, ::-1].copy())


#: Every block type with a decoder; AprQ8 is one block a tensor.
_BLOCK_TYPES = [name for name, kind in TYPES.items() if kind.decode is not None and kind.elements > 1]

_RAMP = [float(n - 8) for n in range(16) for _ in range(2)]

MEMBERS = (
    Member(
        "q5_0-interleaved", "lanes", "aprender #1621; aprender 0.25.0",
        "element 2i and 2i + 1 from one byte, 5th bit indexed with 2i and 2i + 1",
        "one block, qs[0]=0xF0, qh=0x00010001, d=1", "all-zero, constant blocks",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding({"Q5_0": _q5_0_interleaved, "Q5_1": _q5_1_interleaved}),
        in_gguf(tensor("Q5_0", blocks("Q5_0", d=1, qh=0x00010001, qs=[0xF0] + 15 * [0]))),
        in_gguf(tensor("Q5_0", blocks("Q5_0", d=1, qh=0xFFFFFFFF, qs=0x77))),
        "https://github.com/paiml/aprender/pull/1621",
    ),
    Member(
        "q5_k-in-sequence", "lanes", "aprender #2127",
        "element i of Q5_K from nibble i and bit i of the bytes, instead of strides of 32",
        "one block with two distinct nibbles in a byte", "blocks of one code",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding({"Q5_K": _q5_k_in_sequence}),
        in_gguf(tensor("Q5_K", blocks("Q5_K", d=1, dmin=1, scales=1, qs=np.arange(128), qh=np.arange(32) * 7))),
        in_gguf(tensor("Q5_K", blocks("Q5_K", d=1, dmin=1, scales=1, qs=0x77, qh=0xFF))),
        "https://github.com/paiml/aprender/pull/2127",
    ),
    Member(
        "mxfp4-neighbours", "lanes", "imp #567",
        "the two nibbles of a byte of MXFP4 are taken for neighbours, as other MXFP4 files have them",
        "one block with two distinct nibbles in a byte", "blocks of one code",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding({"MXFP4": _mxfp4_of_neighbours}),
        in_gguf(tensor("MXFP4", blocks("MXFP4", e=128, qs=[0x21] + 15 * [0]))),
        in_gguf(tensor("MXFP4", blocks("MXFP4", e=128, qs=0x55))),
        "https://github.com/kekzl/imp/pull/567",
    ),
    Member(
        "q2_k-sequential-scales", "lanes", "aprender #1924",
        "scale byte j paired with bytes 4j.. of qs instead of the strided 2-bit planes",
        "one block, distinct scale bytes", "equal scale bytes and constant qs",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding({"Q2_K": _q2_k_sequential}),
        in_gguf(tensor("Q2_K", blocks("Q2_K", d=1, dmin=1, scales=np.arange(16) * 15 + 1, qs=np.arange(64) * 4))),
        in_gguf(tensor("Q2_K", blocks("Q2_K", d=1, dmin=1, scales=0x35, qs=0b10101010))),
        "https://github.com/paiml/aprender/issues/1924",
    ),
    Member(
        "q4_0-packs-neighbours", "lanes", "1bit-MONSTER #572",
        "the encoder packs (j, j + 1) per byte; ggml packs (j, j + 16)",
        "a 32-element ramp", "its own decoder",
        ("S-G", "G-G", "A-G", "G-A", "S-A"), ("gguf",),
        encoding({"Q4_0": _q4_0_of_neighbours}),
        in_safetensors(floats("F32", *_RAMP, rows=2)),
        in_safetensors(floats("F32", *32 * [3.0], rows=2)),
        "https://github.com/1bit-MONSTER/1bit-MONSTER/pull/572",
        asks="Q4_0",
    ),
    Member(
        "q4_1-skips-two-bytes", "lanes", "mlx #3664",
        "nibbles start after 2 header bytes for every 4-bit type; Q4_1 has 4",
        "one Q4_1 block", "types with a 2-byte header",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding({"Q4_1": _q4_1_after_two_bytes}),
        in_gguf(tensor("Q4_1", blocks("Q4_1", d=1, m=0.5, qs=np.arange(16) * 17))),
        in_gguf(tensor("Q4_0", blocks("Q4_0", d=1, qs=np.arange(16) * 17))),
        "https://github.com/ml-explore/mlx/issues/3664",
    ),
    Member(
        "first-block-only", "lanes", "1bit-MONSTER #450",
        "returns inside the block loop: what follows the first block is 0",
        "two blocks", "every single-block test",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding_by({name: _first_block_only(name) for name in _BLOCK_TYPES}),
        in_gguf(tensor("Q8_0", blocks("Q8_0", 2, d=1, qs=7))),
        in_gguf(tensor("Q8_0", blocks("Q8_0", d=1, qs=7))),
        "https://github.com/1bit-MONSTER/1bit-MONSTER/pull/450",
    ),
    Member(
        "aprq4-in-halves", "lanes", "ours",
        "AprQ4 is read with Q4_0's order of nibbles: the low ones first, not neighbours",
        "one AprQ4 block with distinct nibbles in a byte", "blocks of one code",
        ("A-S",), ("apr",),
        decoding({"AprQ4": _aprq4_in_halves}),
        in_apr(tensor("AprQ4", blocks("AprQ4", d=1, qs=[0xF0] + 15 * [0]))),
        in_apr(tensor("AprQ4", blocks("AprQ4", d=1, qs=0x77))),
    ),
    Member(
        "bf16-pairs-turned", "lanes", "ours",
        "the writer packs two BF16 into a 32-bit word, the first one into its upper half",
        "two distinct BF16 numbers", "equal neighbours",
        ("G-S", "A-S"), ("safetensors",),
        writing_each(_pairs_turned, "safetensors"),
        in_gguf(floats("BF16", 1, 2)),
        in_gguf(floats("BF16", 3, 3)),
    ),
)  # fmt: skip
