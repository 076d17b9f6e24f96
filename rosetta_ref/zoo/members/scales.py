"""Scales: the right codes times the wrong number."""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.architectures import huggingface
from rosetta_ref.architectures.checked import Keys
from rosetta_ref.archive import Tensor
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import Floats
from rosetta_ref.quant.kquants import packing
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.codecs import decoding, decoding_by, with_scales
from rosetta_ref.zoo.files import blocks, in_apr, in_gguf, model_in, tensor
from rosetta_ref.zoo.member import Member
from rosetta_ref.zoo.seams import replacing

Pairs = tuple[Floats, Floats]


def _column(field: Any) -> Floats:
    return np.asarray(field, np.float32).reshape(-1, 1)


def _q3_k_of_nibbles(blocks_: Any, out: Floats) -> None:
    """Sixteen nibbles of the first eight bytes, minus 8; the two upper bits of each scale stay unread."""
    nibbles = np.concatenate([blocks_["scales"][:, :8] & 15, blocks_["scales"][:, :8] >> 4], axis=1)
    scale = _column(blocks_["d"]) * (nibbles.astype(np.float32) - 8)
    codes = packing.two_bit_planes(blocks_["qs"]) | packing.bit_planes(blocks_["hmask"]) << np.uint64(2)
    signed = codes.view(np.uint8).reshape(-1, 256).astype(np.float32) - 4
    out[:] = signed * np.repeat(scale, 16, axis=1)


def _stream(packed: Any) -> Pairs:
    """Scale, minimum, scale, minimum and so on, of six bits each from the lowest on."""
    bits = np.unpackbits(np.ascontiguousarray(packed), axis=1, bitorder="little").reshape(-1, 16, 6)
    numbers = (bits << np.arange(6)).sum(axis=2).astype(np.float32)
    return numbers[:, 0::2], numbers[:, 1::2]


def _low_bits(packed: Any) -> Pairs:
    """Sub-blocks 4 to 7 without the two upper bits of their numbers, which stand elsewhere."""
    four = packed[:, 8:12]
    scales = np.concatenate([packed[:, 0:4] & 63, four & 15], axis=1)
    minima = np.concatenate([packed[:, 4:8] & 63, four >> 4], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _k_kernels(unpacked: Any) -> dict[str, Any]:
    def kernel(blocks_: Any, out: Floats) -> None:
        codes = packing.nibble_groups(blocks_["qs"])
        if "qh" in blocks_.dtype.names:
            codes |= packing.bit_planes(blocks_["qh"]) << np.uint64(4)
        scales, minima = unpacked(blocks_["scales"])
        out[:] = codes.view(np.uint8).reshape(-1, 256)
        out *= np.repeat(_column(blocks_["d"]) * scales, 32, axis=1)
        out -= np.repeat(_column(blocks_["dmin"]) * minima, 32, axis=1)

    return {"Q4_K": kernel, "Q5_K": kernel}


#: The types whose scales are f16, with the fields that their readable decoders ask for.
_HALF_SCALED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")


def _upper_half(bits: Any) -> Floats:
    made: Floats = (bits.astype(np.uint32) << 16).view(np.float32)
    return made


def _normal_only(bits: Any) -> Floats:
    halves = np.where(bits & 0x7C00, bits, bits & 0x8000).astype("<u2").view("<f2")
    made: Floats = halves.astype(np.float32)
    return made


def _divided(blocks: Any, out: Floats | None = None) -> Floats:
    made: Floats = np.empty(blocks["qs"].shape, np.float32) if out is None else out.reshape(blocks["qs"].shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(blocks["qs"], _column(blocks["d"]), out=made)
    return made.reshape(-1)


_to_huggingface = huggingface.tensor_to_huggingface


def _queries_scaled(tensor_: Tensor, metadata: Any, architecture: Any = None) -> Tensor:
    """The factor of attention, 1 over the root of the head size, multiplied into the weights of q."""
    made = _to_huggingface(tensor_, metadata, architecture)
    if not made.name.endswith("q_proj.weight") or tensor_.type.decode is None:
        return made
    size = Keys(metadata, metadata["general.architecture"].plain()).head_dim
    return Tensor.of(made.name, TYPES["F32"], made.shape, made.values() * np.float32(size**-0.5))


_DISTINCT = packing.packed_six_bit_pairs(*(np.arange(8, dtype=np.uint8).reshape(1, 8) * 8 + n for n in (1, 5)))[0]
_BELOW_16 = packing.packed_six_bit_pairs(*(np.array([[50, 40, 30, 20, 3, 7, 11, 15]], np.uint8) - n for n in (0, 1)))[0]
_CODES = np.arange(128) * 37 % 256


def _q4_k(**fields: Any) -> Any:
    return in_gguf(tensor("Q4_K", blocks("Q4_K", **{"d": 1, "dmin": 0.5, "qs": _CODES, **fields})))


def _aprq8(scale: float) -> Any:
    data = np.float32(scale).tobytes() + bytes(range(4))
    return in_apr(Tensor.of("blk.0.ffn_up.weight", TYPES["AprQ8"], (1, 4), data))


MEMBERS = (
    Member(
        "q3_k-scales-4-bit", "scales", "aprender #2115",
        "sixteen 6-bit signed scales read as 4-bit values minus 8",
        "one scale of 63", "d = 0",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding({"Q3_K": _q3_k_of_nibbles}),
        in_gguf(tensor("Q3_K", blocks("Q3_K", d=1, qs=0xE4, hmask=255, scales=[0x0F] + 7 * [0] + [3, 0, 0, 0]))),
        in_gguf(tensor("Q3_K", blocks("Q3_K", d=0, qs=0xE4, hmask=255, scales=0xFF))),
        "https://github.com/paiml/aprender/pull/2115",
    ),
    Member(
        "k-scales-bit-stream", "scales", "aprender #2141",
        "the 12 scale bytes of Q4_K and Q5_K read as one 6-bit stream",
        "8 distinct (scale, min) pairs, some above 15", "d = dmin = 0; all scales and minima 0",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding(_k_kernels(_stream)),
        _q4_k(scales=_DISTINCT),
        _q4_k(scales=0),
        "https://github.com/paiml/aprender/pull/2141",
    ),
    Member(
        "k-scales-low-bits", "scales", "ours",
        "scales and minima of sub-blocks 4 to 7 of Q4_K and Q5_K without their two upper bits",
        "8 distinct (scale, min) pairs, some above 15", "scales and mins of sub-blocks 4 to 7 below 16",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding(_k_kernels(_low_bits)),
        _q4_k(scales=_DISTINCT),
        _q4_k(scales=_BELOW_16),
    ),
    Member(
        "f16-scale-as-bf16", "scales", "1bit-MONSTER #486",
        "d widened by << 16",
        "d = 1.0", "d in {0, 2, -2}: only those patterns survive",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding_by({name: with_scales(name, _upper_half) for name in _HALF_SCALED}),
        in_gguf(tensor("Q8_0", blocks("Q8_0", d=1, qs=np.arange(32)))),
        in_gguf(tensor("Q8_0", blocks("Q8_0", 3, d=[0, 2, -2], qs=np.arange(32)))),
        "https://github.com/1bit-MONSTER/1bit-MONSTER/pull/486",
    ),
    Member(
        "subnormal-scale-zeroed", "scales", "aprender PMAT-177",
        "a valid f16 subnormal scale becomes 0",
        "d = 2^-20", "normal scales",
        ("G-S", "A-S"), ("gguf", "apr"),
        decoding_by({name: with_scales(name, _normal_only) for name in _HALF_SCALED}),
        in_gguf(tensor("Q8_0", blocks("Q8_0", d=2.0**-20, qs=np.arange(32)))),
        in_gguf(tensor("Q8_0", blocks("Q8_0", d=2.0**-14, qs=np.arange(32)))),
    ),
    Member(
        "aprq8-scale-divides", "scales", "ours",
        "the one scale of AprQ8 is kept as its inverse: codes are divided by it",
        "a scale that is not 1", "a scale of 1 or -1",
        ("A-S", "A-G"), ("apr",),
        decoding_by({"AprQ8": _divided}),
        _aprq8(0.5),
        _aprq8(1.0),
    ),
    Member(
        "query-scale-folded-in", "scales", "ours",
        "the factor of attention is multiplied into the weights of q",
        "any model with heads of more than one element", "q of zeros",
        ("G-S", "A-S"), ("safetensors",),
        replacing(seams.TENSOR_TO_HUGGINGFACE.by(_queries_scaled)),
        model_in("gguf", head_dim=4),
        in_gguf(tensor("F32", np.ones(4, np.float32))),
    ),
)  # fmt: skip
