"""ggml's IQ1, IQ2 and IQ3 types: elements come in fours or eights, out of a list of allowed patterns, the grid.

Read IQ2_XS first. Its 256 elements are 32 runs of 8; each run has a 16-bit word: nine bits of index into a grid of 512
patterns of magnitudes, and seven of signs. The eighth sign is the parity of the seven, so that their number is even. Sixteen
elements share a 4-bit scale s; value = d (s + 1/2) / 4 x pattern x sign. The others differ in where the bits are:

    IQ2_XXS  per 32 elements two words: four 8-bit indices, then four times 7 signs and a scale on top
    IQ2_S    10-bit indices (low bytes, high bits apart), all eight signs
    IQ3_XXS  patterns of 4: eight 8-bit indices; signs and scales as in IQ2_XXS
    IQ3_S    9-bit indices, all signs, a scale for 32 elements that counts in odd numbers
    IQ1_S    patterns of 8 out of -1, 0, 1 with 11-bit indices; 1/8 is added to all elements or taken off
    IQ1_M    the same for 16 elements at a time; the f16 `d` is spread over the top nibbles of four scale words

The grids themselves are data (`grids.txt`). Every product is exact in float32, so there is one right answer. There is no
encoder: see `WHY_NOT`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant.block import Decoder, Floats
from rosetta_ref.quant.kernel import Words, column, decoder, scaled

_SEARCH = "its codes are what ggml's search among the neighbours in the grid finds, and that search is not written here"
_SORT = _SEARCH + "; its outcome depends on how the C library sorts equal numbers"

#: Why a type has no encoder.
WHY_NOT = dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"), _SEARCH) | dict.fromkeys(
    ("IQ1_S", "IQ1_M"), _SORT
)


def grid(name: str) -> NDArray[np.int8]:
    """The patterns of a grid, shape (entries, 8) or (entries, 4), from `grids.txt`."""
    text = files(__package__).joinpath("grids.txt").read_text("ascii")
    head, _, rest = text[text.index(f"\n{name} ") + 1 :].partition("\n")
    size, _, levels = head.partition(":")
    digits = rest.partition("\n\n")[0].replace("\n", "").encode("ascii")
    codes = np.frombuffer(digits, np.uint8) - np.uint8(ord("0"))
    entries: NDArray[np.int8] = np.array(levels.split(), np.int8)[codes]
    return entries.reshape(int(size.split()[1]), -1)


@cache
def _patterns(name: str) -> Any:
    """A grid with each pattern as one word of 4 or 8 bytes, so that a gather fetches it whole."""
    entries = grid(name)
    return entries.view(f"<u{entries.shape[1]}")[:, 0]


def _words(eights: Any) -> Words:
    """Rows of eight bytes, a word each."""
    return np.ascontiguousarray(eights).view(np.uint64).reshape(-1)


@cache
def _shifted_patterns() -> Words:
    """IQ1's grid in eighths: 8 x pattern + 1, and from 2048 on 8 x pattern - 1."""
    eighths = grid("IQ1_S") * np.int8(8)
    return _words(np.concatenate([eighths + np.int8(1), eighths - np.int8(1)]))


@cache
def _negated() -> Words:
    """For each byte of signs a word with 0xFF where the element is negative."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return _words(bits * np.uint8(255))


@cache
def _negated_even() -> Words:
    """The same for the seven signs that are stored where their number is even: the eighth makes it so."""
    seven = np.arange(128)
    odd = np.array([i.bit_count() & 1 for i in range(128)])
    return np.take(_negated(), seven | odd << 7)


def _at(table: Any, index: Any) -> Any:
    return np.take(table, index, mode="clip")


def _fill(patterns: Any, negated: Any, scale: Floats, out: Floats) -> None:
    """Fill in scale x pattern x sign; a scale for each group of shape (n, groups), patterns and signs in element order."""
    flat = np.ascontiguousarray(patterns).view(np.uint64).reshape(-1)
    if negated is not None:  # in two's complement -v is (v ^ 0xFF) - 0xFF
        mask = negated.reshape(-1)
        flat ^= mask
        signed = flat.view(np.uint8)
        signed -= mask.view(np.uint8)
    scaled(flat.view(np.int8), scale, out)


def _nibbles(packed: Any) -> Any:
    """Bytes of shape (n, k) to nibbles of shape (n, 2k), the low one first."""
    return np.stack([packed & 15, packed >> 4], axis=2).reshape(packed.shape[0], -1)


def _fine(scales: Any, step: float) -> Floats:
    """(s + 1/2) x step."""
    return (np.asarray(scales, np.float32) + np.float32(0.5)) * np.float32(step)


def _odd(scales: Any) -> Floats:
    """2s + 1."""
    return np.asarray(scales, np.float32) * np.float32(2) + np.float32(1)


_SEVENS = np.array([0, 7, 14, 21], np.uint32)


def _signs_and_scale(word: Any) -> tuple[Any, Any]:
    """The four times seven signs, as masks of shape (n, 8, 4), and the scale in the top four bits, of words of shape (n, 8)."""
    return _at(_negated_even(), word[:, :, None] >> _SEVENS & np.uint32(127)), word >> np.uint32(28)


def _decode_iq2_xxs(blocks: Any, out: Floats) -> None:
    packed = np.ascontiguousarray(blocks["qs"])
    index = packed.view(np.uint8).reshape(-1, 8, 8)[:, :, :4]
    negated, scales = _signs_and_scale(packed.view("<u4").reshape(-1, 8, 2)[:, :, 1])
    _fill(_at(_patterns("IQ2_XXS"), index), negated, column(blocks["d"]) * _fine(scales, 0.25), out)


def _decode_iq2_xs(blocks: Any, out: Floats) -> None:
    packed = np.ascontiguousarray(blocks["qs"])
    scale = column(blocks["d"]) * _fine(_nibbles(blocks["scales"]), 0.25)
    negated = _at(_negated_even(), packed >> np.uint16(9))
    _fill(_at(_patterns("IQ2_XS"), packed & np.uint16(511)), negated, scale, out)


def _decode_iq2_s(blocks: Any, out: Floats) -> None:
    low, signs = blocks["qs"][:, :32], blocks["qs"][:, 32:]
    high = (blocks["qh"][:, :, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1, 32)
    scale = column(blocks["d"]) * _fine(_nibbles(blocks["scales"]), 0.25)
    _fill(_at(_patterns("IQ2_S"), low | high.astype(np.uint16) << 8), _at(_negated(), signs), scale, out)


def _decode_iq3_xxs(blocks: Any, out: Floats) -> None:
    negated, scales = _signs_and_scale(blocks["signs"])
    _fill(_at(_patterns("IQ3_XXS"), blocks["qs"]), negated, column(blocks["d"]) * _fine(scales, 0.5), out)


def _decode_iq3_s(blocks: Any, out: Floats) -> None:
    ninth = np.unpackbits(np.ascontiguousarray(blocks["qh"]), axis=1, bitorder="little")
    index = blocks["qs"] | ninth.astype(np.uint16) << 8
    scale = column(blocks["d"]) * _odd(_nibbles(blocks["scales"]))
    _fill(_at(_patterns("IQ3_S"), index), _at(_negated(), blocks["signs"]), scale, out)


def _decode_iq1_s(blocks: Any, out: Floats) -> None:
    word = blocks["qh"]
    high = (word[:, :, None] >> np.array([0, 3, 6, 9], np.uint16) & 7) | (word >> 15 << 3)[:, :, None]
    index = blocks["qs"] | high.reshape(-1, 32) << 8
    scale = column(blocks["d"]) * _odd(word >> 12 & 7) / np.float32(8)
    _fill(_at(_shifted_patterns(), index), None, scale, out)


def _decode_iq1_m(blocks: Any, out: Floats) -> None:
    word = np.ascontiguousarray(blocks["scales"]).view("<u2")
    bits = (word[:, 0] >> 12) | (word[:, 1] >> 12 << 4) | (word[:, 2] >> 12 << 8) | (word[:, 3] >> 12 << 12)
    scales = (word[:, :, None] >> np.array([0, 3, 6, 9], np.uint16) & 7).reshape(-1, 16)
    scale = column(bits.view("<f2")) * _odd(scales) / np.float32(8)
    index = blocks["qs"] | _nibbles(blocks["qh"]).astype(np.uint16) << 8  # three bits of index, then the sign of 1/8
    _fill(_at(_shifted_patterns(), index), None, scale, out)


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, None]] = {
    "IQ2_XXS": (decoder(256, _decode_iq2_xxs), None),
    "IQ2_XS": (decoder(256, _decode_iq2_xs), None),
    "IQ2_S": (decoder(256, _decode_iq2_s), None),
    "IQ3_XXS": (decoder(256, _decode_iq3_xxs), None),
    "IQ3_S": (decoder(256, _decode_iq3_s), None),
    "IQ1_S": (decoder(256, _decode_iq1_s), None),
    "IQ1_M": (decoder(256, _decode_iq1_m), None),
}
