"""The exact value of every element of every block type, as float64: what a decoder has to round once to float32.

Written from the words of the formats, one function a type, one element at a time (over many blocks at once), by byte offsets.
It shares nothing with the package: no layout, no table, no loop. The grids come from gguf-py. Every value below is exact in float64,
since scales are f16 and products have few bits.

Multi-byte numbers are read as ggml loads them, in either byte order: `values(..., big=True)` is what a big-endian ggml reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import gguf
import numpy as np

F64 = np.ndarray
IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float64)
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
E2M1[8] = 0.0


class Raw:
    """The bytes of n blocks; each method gives one number of every block."""

    def __init__(self, data: bytes, size: int, *, big: bool) -> None:
        self.bytes = np.frombuffer(data, np.uint8).reshape(-1, size)
        self.order = ">" if big else "<"

    def _number(self, at: int, code: str) -> np.ndarray:
        width = int(code[1:])
        return self.bytes[:, at : at + width].copy().view(self.order + code)[:, 0]

    def u8(self, at: int) -> np.ndarray:
        return self.bytes[:, at].astype(np.int64)

    def i8(self, at: int) -> np.ndarray:
        return self._number(at, "i1").astype(np.int64)

    def u16(self, at: int) -> np.ndarray:
        return self._number(at, "u2").astype(np.int64)

    def u32(self, at: int) -> np.ndarray:
        return self._number(at, "u4").astype(np.int64)

    def f16(self, at: int) -> F64:
        return self._number(at, "f2").astype(np.float64)

    def f32(self, at: int) -> F64:
        return self._number(at, "f4").astype(np.float64)

    def nibble(self, at: int, upper: bool) -> np.ndarray:
        return self.u8(at) >> (4 if upper else 0) & 15

    def half_nibble(self, at: int, j: int, width: int = 16) -> np.ndarray:
        """Code j of 2 x width codes: the low nibbles of the bytes first, then the high ones."""
        return self.nibble(at + j % width, j >= width)


Oracle = Callable[[Raw], Iterator[F64]]
ORACLES: dict[str, tuple[int, Oracle]] = {}


def oracle(name: str, size: int) -> Callable[[Oracle], Oracle]:
    def add(function: Oracle) -> Oracle:
        ORACLES[name] = (size, function)
        return function

    return add


def values(name: str, data: bytes, *, big: bool = False) -> np.ndarray:
    """Every element of blocks of that type, rounded once to float32."""
    size, function = ORACLES[name]
    with np.errstate(all="ignore"):
        return np.stack(list(function(Raw(data, size, big=big))), axis=1).astype(np.float32).reshape(-1)


@oracle("F16", 2)
def _f16(raw: Raw) -> Iterator[F64]:
    yield raw.f16(0)


@oracle("BF16", 2)
def _bf16(raw: Raw) -> Iterator[F64]:
    yield (raw.u16(0) << 16).astype(np.uint32).view(np.float32).astype(np.float64)


@oracle("Q4_0", 18)
def _q4_0(raw: Raw) -> Iterator[F64]:
    for j in range(32):
        yield (raw.half_nibble(2, j) - 8) * raw.f16(0)


@oracle("Q4_1", 20)
def _q4_1(raw: Raw) -> Iterator[F64]:
    for j in range(32):
        yield raw.half_nibble(4, j) * raw.f16(0) + raw.f16(2)


@oracle("Q5_0", 22)
def _q5_0(raw: Raw) -> Iterator[F64]:
    for j in range(32):
        yield ((raw.half_nibble(6, j) | (raw.u32(2) >> j & 1) << 4) - 16) * raw.f16(0)


@oracle("Q5_1", 24)
def _q5_1(raw: Raw) -> Iterator[F64]:
    for j in range(32):
        yield (raw.half_nibble(8, j) | (raw.u32(4) >> j & 1) << 4) * raw.f16(0) + raw.f16(2)


@oracle("Q8_0", 34)
def _q8_0(raw: Raw) -> Iterator[F64]:
    for j in range(32):
        yield raw.i8(2 + j) * raw.f16(0)


@oracle("Q8_1", 36)
def _q8_1(raw: Raw) -> Iterator[F64]:
    for j in range(32):
        yield raw.i8(4 + j) * raw.f16(0)


@oracle("Q8_K", 292)
def _q8_k(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        yield raw.i8(4 + j) * raw.f32(0)


def _crumb(raw: Raw, at: int, j: int) -> np.ndarray:
    """Two bits of element j: each half of 128 has 32 bytes, each quarter of a half two of their bits."""
    return raw.u8(at + j // 128 * 32 + j % 32) >> (j // 32 % 4 * 2) & 3


@oracle("Q2_K", 84)
def _q2_k(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        scale, low = raw.nibble(j // 16, False), raw.nibble(j // 16, True)
        yield raw.f16(80) * scale * _crumb(raw, 16, j) - raw.f16(82) * low


@oracle("Q3_K", 110)
def _q3_k(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        i = j // 16
        scale = raw.nibble(96 + i % 8, i >= 8) | (raw.u8(104 + i % 4) >> (i // 4 * 2) & 3) << 4
        high = raw.u8(j % 32) >> (j // 32) & 1
        yield raw.f16(108) * (scale - 32) * (_crumb(raw, 32, j) - 4 * (1 - high))


def _six_bits(raw: Raw, i: int) -> tuple[np.ndarray, np.ndarray]:
    if i < 4:
        return raw.u8(4 + i) & 63, raw.u8(8 + i) & 63
    return (
        raw.nibble(8 + i, False) | raw.u8(i) >> 6 << 4,
        raw.nibble(8 + i, True) | raw.u8(4 + i) >> 6 << 4,
    )


@oracle("Q4_K", 144)
def _q4_k(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        scale, low = _six_bits(raw, j // 32)
        code = raw.nibble(16 + j // 64 * 32 + j % 32, j % 64 >= 32)
        yield raw.f16(0) * scale * code - raw.f16(2) * low


@oracle("Q5_K", 176)
def _q5_k(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        scale, low = _six_bits(raw, j // 32)
        code = raw.nibble(48 + j // 64 * 32 + j % 32, j % 64 >= 32) | (raw.u8(16 + j % 32) >> (j // 32) & 1) << 4
        yield raw.f16(0) * scale * code - raw.f16(2) * low


@oracle("Q6_K", 210)
def _q6_k(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        half, quarter = j // 128, j // 32 % 4
        low = raw.nibble(64 * half + 32 * (quarter % 2) + j % 32, quarter >= 2)
        code = low | (raw.u8(128 + 32 * half + j % 32) >> (2 * quarter) & 3) << 4
        yield raw.f16(208) * raw.i8(192 + j // 16) * (code - 32)


@oracle("IQ4_NL", 18)
def _iq4_nl(raw: Raw) -> Iterator[F64]:
    for j in range(32):
        yield raw.f16(0) * IQ4[raw.half_nibble(2, j)]


@oracle("IQ4_XS", 136)
def _iq4_xs(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        i = j // 32
        scale = raw.nibble(4 + i // 2, i % 2 == 1) | (raw.u16(2) >> (2 * i) & 3) << 4
        yield raw.f16(0) * (scale - 32) * IQ4[raw.half_nibble(8 + 16 * i, j % 32)]


@oracle("TQ1_0", 54)
def _tq1_0(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        if j < 160:
            at, digit = j % 32, j // 32
        elif j < 240:
            at, digit = 32 + (j - 160) % 16, (j - 160) // 16
        else:
            at, digit = 48 + (j - 240) % 4, (j - 240) // 4
        rest = raw.u8(at) * 3**digit % 256
        yield (rest * 3 // 256 - 1) * raw.f16(52)


@oracle("TQ2_0", 66)
def _tq2_0(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        yield (_crumb(raw, 0, j) - 1) * raw.f16(64)


@oracle("MXFP4", 17)
def _mxfp4(raw: Raw) -> Iterator[F64]:
    for j in range(32):
        yield E2M1[raw.half_nibble(1, j)] * 2.0 ** (raw.u8(0) - 127)


@oracle("NVFP4", 36)
def _nvfp4(raw: Raw) -> Iterator[F64]:
    for j in range(64):
        byte = raw.u8(j // 16)
        exponent, mantissa = byte >> 3 & 15, byte & 7
        scale = np.where(exponent > 0, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0**-9)
        scale[byte == 0x7F] = 0
        yield E2M1[raw.half_nibble(4 + j // 16 * 8, j % 16, 8)] * scale


@oracle("Q1_0", 18)
def _q1_0(raw: Raw) -> Iterator[F64]:
    for j in range(128):
        yield np.where(raw.u8(2 + j // 8) >> (j % 8) & 1, raw.f16(0), -raw.f16(0))


@oracle("Q2_0", 18)
def _q2_0(raw: Raw) -> Iterator[F64]:
    for j in range(64):
        yield ((raw.u8(2 + j // 4) >> (j % 4 * 2) & 3) - 1) * raw.f16(0)


# --- grid types ------------------------------------------------------------------------------------------------------------


@cache
def grid(name: str) -> F64:
    kind = getattr(gguf.quants, name)
    kind.init_grid()
    return np.asarray(kind.grid, np.float64).reshape(kind.grid_shape)


def _sign(byte: np.ndarray, i: int) -> np.ndarray:
    return 1 - 2 * (byte >> i & 1)


def _sign_of_seven(seven: np.ndarray, i: int) -> np.ndarray:
    """Sign i of eight, of which seven are stored and the number of minuses is even."""
    if i < 7:
        return _sign(seven, i)
    minuses = sum(seven >> k & 1 for k in range(7))
    return 1 - 2 * (minuses % 2)


@oracle("IQ2_XXS", 66)
def _iq2_xxs(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        at, run = 2 + j // 32 * 8, j // 8 % 4
        word = raw.u32(at + 4)
        scale = raw.f16(0) * (0.5 + (word >> 28)) * 0.25
        yield scale * grid("IQ2_XXS")[raw.u8(at + run), j % 8] * _sign_of_seven(word >> (7 * run) & 127, j % 8)


@oracle("IQ2_XS", 74)
def _iq2_xs(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        word = raw.u16(2 + j // 8 * 2)
        scale = raw.f16(0) * (0.5 + raw.nibble(66 + j // 32, j % 32 >= 16)) * 0.25
        yield scale * grid("IQ2_XS")[word & 511, j % 8] * _sign_of_seven(word >> 9, j % 8)


@oracle("IQ2_S", 82)
def _iq2_s(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        run = j // 8
        index = raw.u8(2 + run) | (raw.u8(66 + run // 4) >> (run % 4 * 2) & 3) << 8
        scale = raw.f16(0) * (0.5 + raw.nibble(74 + j // 32, j % 32 >= 16)) * 0.25
        yield scale * grid("IQ2_S")[index, j % 8] * _sign(raw.u8(34 + run), j % 8)


@oracle("IQ3_XXS", 98)
def _iq3_xxs(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        word = raw.u32(66 + j // 32 * 4)
        scale = raw.f16(0) * (0.5 + (word >> 28)) * 0.5
        sign = _sign_of_seven(word >> (j // 8 % 4 * 7) & 127, j % 8)
        yield scale * grid("IQ3_XXS")[raw.u8(2 + j // 4), j % 4] * sign


@oracle("IQ3_S", 110)
def _iq3_s(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        four = j // 4
        index = raw.u8(2 + four) | (raw.u8(66 + four // 8) >> (four % 8) & 1) << 8
        scale = raw.f16(0) * (1 + 2 * raw.nibble(106 + j // 64, j % 64 >= 32))
        yield scale * grid("IQ3_S")[index, j % 4] * _sign(raw.u8(74 + j // 8), j % 8)


@oracle("IQ1_S", 50)
def _iq1_s(raw: Raw) -> Iterator[F64]:
    for j in range(256):
        word = raw.u16(34 + j // 32 * 2)
        index = raw.u8(2 + j // 8) | (word >> (j // 8 % 4 * 3) & 7) << 8
        delta = np.where(word >> 15, -0.125, 0.125)
        yield raw.f16(0) * (2 * (word >> 12 & 7) + 1) * (grid("IQ1_S")[index, j % 8] + delta)


@oracle("IQ1_M", 56)
def _iq1_m(raw: Raw) -> Iterator[F64]:
    words = [raw.u16(48 + 2 * i) for i in range(4)]
    bits = sum((word >> 12) << (4 * i) for i, word in enumerate(words))
    d = np.asarray(bits).astype(np.uint16).view(np.float16).astype(np.float64)
    for j in range(256):
        scale = words[j // 64] >> (j // 16 % 4 * 3) & 7
        nibble = raw.nibble(32 + j // 16, j % 16 >= 8)
        delta = np.where(nibble >> 3, -0.125, 0.125)
        yield d * (2 * scale + 1) * (grid("IQ1_S")[raw.u8(j // 8) | (nibble & 7) << 8, j % 8] + delta)
