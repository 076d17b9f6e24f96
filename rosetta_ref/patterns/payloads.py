"""What the tensors of the gate's samples hold: bytes from a type, a number of elements, the name of a payload and a seed.

Random numbers are weak: values that repeat hide what was exchanged, scales that are ordinary hide how they are read. So:

    index-coded  all elements of a tensor of floats or integers differ, in a random order of their place; in blocks all scales
                 of a block differ, use all their bits, and codes are random: any two places of a block differ in some block
    edges        floats only: zeros of both signs, subnormals, the smallest normal, ordinary numbers among them, all up to 65504
    halfway      F32 only: half-way between two F16 or two BF16 numbers, and one step beside; F16's subnormals and below
    large        F32 and BF16 only: what F16 does not hold, up to the largest, 65520 (the first that rounds to Inf) among it
    subnormal    blocks only: scales that are subnormal as floats, no two blocks with the same
    special      NaN with payloads, signalling ones too, and Inf among the others: as numbers, or as scales of blocks
    gaussian     what models are made of, encoded: an engine's answers depend on all of it
    rough        F32 only, for encoders: runs of 256 that are gaussian, zero, constant, of one sign, with an outlier, tiny, ...
    zero         all bits zero

Only `special` has NaN or Inf, and only `large` what no F16 is. Each number of edges, halfway and large stands beside its opposite,
so that their mean is 0: some converters refuse weights by their mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Bytes
from rosetta_ref.patterns.blocks import block_bytes, hard_bits
from rosetta_ref.patterns.scales import SUBSCALES, float_scales, put_scale_bits, scale_bits
from rosetta_ref.quant import TYPES, BlockType

#: Floats: bits of the mantissa, bias of the exponent.
_FLOATS = {"F16": (10, 15), "BF16": (7, 127), "F32": (23, 127), "F64": (52, 1023)}
#: Binades that index-coded floats take at least, below 1: the range of real weights.
_BINADES = 6
#: One-byte scales of 1/8 to 1, and subnormal ones, of the two types that have them (E8M0, UE4M3).
_ORDINARY_BYTES = {"MXFP4": (0x7A, 6), "NVFP4": (0x20, 32)}
_SUBNORMAL_BYTES = {"MXFP4": (0x00, 2), "NVFP4": (0x01, 7)}
_LARGEST_F16 = 65504
#: f16 and f32 subnormals by the size of the field.
_SUBNORMALS = {2: 0x3FF, 4: 0x7FFFFF}


def payloads_of(kind: BlockType) -> tuple[str, ...]:
    """The payloads that a type has, finite ones first, but for `gaussian` and `rough`."""
    if not kind.is_scalar:
        return ("index-coded", "subnormal", "zero", "special")
    if kind.name not in _FLOATS:
        return ("index-coded", "zero")
    more = {"F32": ("halfway", "large"), "BF16": ("large",)}
    return ("index-coded", "edges", *more.get(kind.name, ()), "zero", "special")


#: Every payload that some type has.
PAYLOADS = tuple(dict.fromkeys([each for kind in TYPES.values() for each in payloads_of(kind)] + ["gaussian", "rough"]))


def payload(kind: BlockType, count: int, name: str, seed: int) -> Bytes:
    """The bytes of `count` elements, in whole blocks; the same for the same arguments.

    Raises ValueError where a type has no such payload, or not enough numbers to make so many elements differ.
    """
    rng = np.random.default_rng([seed, count, *name.encode(), *kind.name.encode()])
    if name == "gaussian":
        return _gaussian(kind, count, rng)
    if name == "rough" and kind.name == "F32":
        return _rough(count, rng)
    if name not in payloads_of(kind):
        raise ValueError(f"{kind.name} has no payload {name!r}; it has {', '.join(payloads_of(kind))}")
    if name == "zero":
        return np.zeros(count // kind.elements * kind.block_bytes, np.uint8)
    if not kind.is_scalar:
        return _blocks(kind, count // kind.elements, name, rng)
    if kind.name not in _FLOATS:
        return _integers(kind, count, rng)
    numbers = {"index-coded": _distinct_floats, "halfway": _halfway, "large": _large}.get(name)
    made = numbers(kind, count, rng) if numbers else _hard(kind, count, rng, finite=name == "edges")
    return np.ascontiguousarray(made).view(np.uint8)


def near_one(kind: BlockType, count: int, seed: int) -> NDArray[np.float32]:
    """Weights of a norm: numbers from 1/2 to 2, all different, that F16, BF16 or F32 hold exactly; as float32."""
    mantissa, bias = _FLOATS[kind.name]
    if count > 2 << mantissa:
        raise ValueError(f"{kind.name} has no {count} different numbers from 1/2 to 2")
    place = np.random.default_rng([seed, count]).permutation(count)
    bits = (bias - 1 << mantissa) + (place * (2 << mantissa) // count)
    return _decoded(kind, bits.astype(f"<u{kind.block_bytes}"))


def small(kind: BlockType, count: int, seed: int) -> NDArray[np.float32]:
    """Biases: index-coded numbers of F16, BF16 or F32, as float32."""
    return _decoded(kind, payload(kind, count, "index-coded", seed))


def _decoded(kind: BlockType, data: Any) -> NDArray[np.float32]:
    if kind.decode is None:
        raise ValueError(f"{kind.name} has no decoder")
    return kind.decode(kind.blocks(data))


def _gaussian(kind: BlockType, count: int, rng: np.random.Generator) -> Bytes:
    if kind.encode is None:
        raise ValueError(f"{kind.name} has no encoder")
    values = rng.standard_normal(count, np.float32) / np.float32(16)
    return np.ascontiguousarray(kind.encode(values)).view(np.uint8)


def _rough(count: int, rng: np.random.Generator) -> Bytes:
    """Every run of 256 another one of eight kinds, and of a size of its own."""
    runs = rng.standard_normal((-(-count // 256), 256)) * 10 ** rng.uniform(-2, 0, (-(-count // 256), 1))
    runs[1::8] = 0
    runs[2::8, 32:64] = 0  # within others: a group of most types, two of some
    runs[3::8] = runs[3::8, :1]
    runs[4::8] = np.abs(runs[4::8]) + 5
    runs[5::8, 7] *= 1000
    runs[6::8] *= np.repeat(10 ** rng.uniform(-6, 1, (1, 16)), 16, axis=1)
    runs[7::8] *= 1e-7
    return np.ascontiguousarray(runs.reshape(-1)[:count], np.float32).view(np.uint8)


def _distinct_floats(kind: BlockType, count: int, rng: np.random.Generator) -> Any:
    """Numbers of both signs below 1, evenly spaced as bits; those with bits to spare end in a one, so no narrower type has them."""
    mantissa, bias = _FLOATS[kind.name]
    magnitudes = -(-count // 2)
    binades = max(_BINADES, -(-magnitudes >> mantissa))
    if binades >= bias:
        raise ValueError(f"{kind.name} has no {count} different numbers below 1")
    place = rng.permutation(count).astype(np.uint64)
    step = (binades << mantissa) / magnitudes
    bits = ((bias - binades) << mantissa) + (place // 2 * step).astype(np.uint64)
    if step >= 2:
        bits |= np.uint64(1)
    sign = place % 2 << np.uint64(8 * kind.block_bytes - 1)
    return (bits | sign).astype(f"<u{kind.block_bytes}")


def _integers(kind: BlockType, count: int, rng: np.random.Generator) -> Bytes:
    """Evenly spaced over all that the type holds, its ends included."""
    values = 1 << 8 * kind.block_bytes
    if count > values:
        raise ValueError(f"{kind.name} has no {count} different numbers")
    last = max(count - 1, 1)
    made = np.array([place * (values - 1) // last for place in range(count)], np.uint64)[rng.permutation(count)]
    made ^= np.uint64(values // 2)  # from the smallest, where the type has a sign
    return made.astype(f"<u{kind.block_bytes}").view(np.uint8)


def _cycled(bits: Any, count: int, rng: np.random.Generator) -> Any:
    """All patterns as often as there is room, in a random order."""
    return rng.permutation(np.resize(rng.permutation(bits), count))


def _in_pairs(bits: Any, count: int, rng: np.random.Generator) -> Any:
    """Likewise, each with its opposite, so that their sum is 0."""
    sign = bits.dtype.type(1 << 8 * bits.itemsize - 1)
    half = np.resize(rng.permutation(np.unique(bits & ~sign)), (count + 1) // 2)
    return rng.permutation(np.concatenate([half, half | sign])[:count])


def _hard(kind: BlockType, count: int, rng: np.random.Generator, *, finite: bool) -> Any:
    mantissa, _ = _FLOATS[kind.name]
    bits = hard_bits(kind)
    if finite:
        top = np.uint64((1 << 8 * kind.block_bytes - 1) - (1 << mantissa))
        bits = bits[bits.astype(np.uint64) & top != top]
        bits = bits[np.abs(_decoded(kind, bits)) <= _LARGEST_F16]
    both = np.concatenate([bits, _distinct_floats(kind, len(bits), rng)])
    return (_in_pairs if finite else _cycled)(both, count, rng)


def _halfway(kind: BlockType, count: int, rng: np.random.Generator) -> Any:
    """Bits of F32 numbers that the two ways of narrowing round one way or the other."""
    exponent = rng.integers(113, 142, (8, 1)).astype(np.uint32) << np.uint32(23)  # within F16's normal numbers
    last_bits = np.arange(4, dtype=np.uint32)  # odd and even: ties go to even
    to_bf16 = exponent | last_bits << np.uint32(16) | np.uint32(1 << 15)
    to_f16 = exponent | last_bits << np.uint32(13) | np.uint32(1 << 12)
    exact = np.concatenate([to_bf16.ravel(), to_f16.ravel()])
    # Halves of F16's smallest step (2^-24), odd and even, and numbers between its subnormals: 6.0e-5.
    below = np.array([2.0**-25, 3 * 2.0**-25, 5 * 2.0**-25, 2.0**-26, 6.0e-5, 6.1e-5, 1.0004883, 3.14], "<f4").view(
        "<u4"
    )
    return _in_pairs(np.concatenate([exact, exact + np.uint32(1), exact - np.uint32(1), below]), count, rng)


def _large(kind: BlockType, count: int, rng: np.random.Generator) -> Any:
    """From 65504, F16's largest, to the largest of the type, and 1e-6 beside them."""
    numbers = np.array([65504, 65519.996, 65520, 65536, 1e5, 3.0e38, 3.3961776e38, 3.4028235e38, 1e-6, 1e-30], "<f4")
    bits = numbers.view("<u4")
    if kind.name == "BF16":
        bits = np.unique(bits >> np.uint32(16))
    return _in_pairs(bits.astype(f"<u{kind.block_bytes}"), count, rng)


def _blocks(kind: BlockType, count: int, name: str, rng: np.random.Generator) -> Bytes:
    seed = int(rng.integers(2**32))
    if name == "special":
        return block_bytes(kind, count, "special", seed)
    data = block_bytes(kind, count, "scales", seed)
    blocks = data.view(kind.dtype)
    low = name == "subnormal"
    if kind.name in _ORDINARY_BYTES:
        first, values = (_SUBNORMAL_BYTES if low else _ORDINARY_BYTES)[kind.name]
        scales = SUBSCALES[kind.name]
        place = np.arange(count * scales.places).reshape(count, -1)
        scales.put(blocks, (first + (place + seed % values) % values).astype(np.uint16))
    for field in float_scales(kind) if low else ():
        size = scale_bits(kind, blocks, field).dtype.itemsize
        put_scale_bits(kind, blocks, field, _subnormals(count, size, rng))
    return data


def _subnormals(count: int, size: int, rng: np.random.Generator) -> NDArray[np.unsignedinteger[Any]]:
    """Patterns of subnormal floats of `size` bytes, all different as far as there are so many; 2^-20 is the first of F16's."""
    largest = _SUBNORMALS[size]
    bits = 0x10 + np.arange(count) * 31 % (largest - 0x10)
    sign = (rng.random(count) < 0.25).astype(np.uint64) << np.uint64(8 * size - 1)
    return (bits.astype(np.uint64) | sign).astype(f"<u{size}")
