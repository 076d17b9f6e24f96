"""Where the bits of the K types are: each packing beside its way back, as arrays of the shape (block, ...).

Unpacking works on words of eight bytes (see `kernel`) or four, packing on bytes: encoding spends its time in the searches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.kernel import Words, planes


def _words_of_four(packed: Any) -> Any:
    """The three words in 12 bytes, shape (3, n)."""
    return np.ascontiguousarray(packed.view(np.uint32).T)


def _bytes(words: Any) -> Any:
    """Words of shape (..., n), one after the other, as bytes of shape (..., n, 4 x how many)."""
    return np.stack(words, axis=-1).view(np.uint8)


def _each(byte: int) -> np.uint32:
    """A word that has this byte in each of its four places."""
    return np.uint32(byte * 0x01010101)


#: Shifts to the low nibbles and to the high ones.
_NIBBLES = np.array([[0], [4]], np.uint32)

# --- scales and minima of Q4_K and Q5_K ------------------------------------------------------------------------------------


def six_bit_pairs(packed: Any) -> tuple[Any, Any]:
    """The 8 scales and 8 minima in the 12 bytes of Q4_K and Q5_K, as uint8 arrays of shape (n, 8).

    Bytes 0..3 and 4..7 hold scales and minima 0..3 in their low six bits. Scales and minima 4..7 have their low four bits
    in the nibbles of bytes 8..11, and their high two in the top bits of bytes 0..3 and 4..7.
    """
    words = _words_of_four(packed)
    both, third = words[:2], words[2]  # what holds for scales holds for minima
    first_four = both & _each(63)
    last_four = third >> _NIBBLES & _each(15) | both >> 2 & _each(0x30)
    scales, minima = _bytes([first_four, last_four])
    return scales, minima


def packed_six_bit_pairs(scales: Any, minima: Any) -> Any:
    """The way back. Of the first four of each all eight bits are stored, as ggml does, should a number be above 63.

    >>> numbers = np.arange(16, dtype=np.uint8).reshape(2, 1, 8) * np.uint8(4)
    >>> [part.tolist() for part in six_bit_pairs(packed_six_bit_pairs(*numbers))]
    [[[0, 4, 8, 12, 16, 20, 24, 28]], [[32, 36, 40, 44, 48, 52, 56, 60]]]
    """
    tops = [numbers[:, :4] | (numbers[:, 4:] >> 4) << 6 for numbers in (scales, minima)]
    return np.concatenate([*tops, scales[:, 4:] & 15 | (minima[:, 4:] & 15) << 4], axis=1)


# --- scales and minima of Q2_K ----------------------------------------------------------------------------------------------


def four_bit_pairs(packed: Any) -> tuple[Any, Any]:
    """The 16 scales, in the low nibbles, and the 16 minima, in the high ones, of Q2_K."""
    packed = np.ascontiguousarray(packed)
    return packed & 15, packed >> 4


def packed_four_bit_pairs(scales: Any, minima: Any) -> Any:
    """The way back; of the scales all eight bits are stored, as ggml does."""
    return scales | minima << 4


# --- scales of Q3_K --------------------------------------------------------------------------------------------------------


def six_bit_scales(packed: Any) -> Any:
    """The 16 signed scales (minus 32) in the 12 bytes of Q3_K, as int8 of shape (n, 16).

    Bytes 0..7 hold the low four bits: of scales 0..7 in their low nibbles, of 8..15 in the high ones. Bytes 8..11 hold the
    high two bits: byte 8 + i % 4, bits 2 (i // 4) and up, for scale i.
    """
    first, second, third = _words_of_four(packed)
    low = first & _each(15), second & _each(15), first >> 4 & _each(15), second >> 4 & _each(15)
    stored = _bytes([four | (third >> 2 * k & _each(3)) << 4 for k, four in enumerate(low)])
    return stored.view(np.int8) - np.int8(32)


def packed_six_bit_scales(stored: Any) -> Any:
    """The way back, from the scales plus 32 as uint8.

    >>> six_bit_scales(packed_six_bit_scales(np.arange(16, dtype=np.uint8)[None] * np.uint8(4))).tolist()[0]
    [-32, -28, -24, -20, -16, -12, -8, -4, 0, 4, 8, 12, 16, 20, 24, 28]
    """
    low, high = stored & 15, (stored >> 4).reshape(-1, 4, 4)
    tops = high[:, 0] | high[:, 1] << 2 | high[:, 2] << 4 | high[:, 3] << 6
    return np.concatenate([low[:, :8] | low[:, 8:] << 4, tops], axis=1)


# --- codes -----------------------------------------------------------------------------------------------------------------


def nibble_groups(qs: Any) -> Words:
    """The codes of 8 groups of 32: each run of 32 bytes holds one group in its low nibbles, the next in its high ones."""
    return planes(qs, width=32, bits=4)


def packed_nibble_groups(codes: Any) -> Any:
    """The way back, from codes of shape (n, 256); bits above the fourth are left out."""
    pairs = codes.reshape(-1, 4, 2, 32)
    return (pairs[:, :, 0] & 15 | pairs[:, :, 1] << 4).reshape(-1, 128)


def two_bit_planes(qs: Any) -> Words:
    """The codes of 8 groups of 32: in each half of 32 bytes, bits 2k and 2k+1 belong to group k."""
    return planes(qs, width=32, bits=2)


def packed_two_bit_planes(codes: Any) -> Any:
    """The way back, from codes of shape (n, 256); bits above the second are left out."""
    planes = (codes & 3).reshape(-1, 2, 4, 32)
    return (planes[:, :, 0] | planes[:, :, 1] << 2 | planes[:, :, 2] << 4 | planes[:, :, 3] << 6).reshape(-1, 64)


def bit_planes(bits: Any) -> Words:
    """The bits of 8 groups of 32, as 0 or 1: bit g of byte i is that of element i of group g."""
    return planes(bits, width=32, bits=1)


def packed_bit_plane(bits: Any) -> Any:
    """The way back, from 0 or 1 for each of 256 elements."""
    groups = bits.reshape(-1, 8, 32)
    plane = groups[:, 0].copy()
    for group in range(1, 8):
        plane |= groups[:, group] << group
    return plane
