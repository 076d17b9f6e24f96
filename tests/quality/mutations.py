"""The codecs broken on purpose: each line below is one line of `rosetta_ref/quant` with one plausible mistake in it.

A mutation names its place (module and function, or the name that the line defines), a fragment that must stand there exactly
once, and what stands there instead; so a table that no longer fits the code is an error, not a mutation less. It counts
for each of its types by itself. Those of shared steps break several.

`lost` says why a mutation has no judge on one side. Two kinds have none among the properties: searches, where every choice keeps the
laws and only ggml's bytes tell the right one; and among the differential tests: types that nobody else has a codec for.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One line with a mistake in it."""

    types: str
    way: str
    place: str
    old: str
    new: str
    what: str
    lost: str = ""


#: Why a side has no judge.
SEARCH = "properties: any choice of the search keeps the laws; only ggml's bytes know the right one"
ALONE = "differential: ggml and gguf-py have no codec for plain numbers"

FOUR_BITS = "Q4_0 Q4_1 Q5_0 Q5_1"
#: Of all that is packed in planes: which group of codes lies in which bits of a byte.
PLANES = "np.arange(0, 8, bits, dtype=np.uint64)", "np.arange(0, 8, bits, dtype=np.uint64)[::-1]"
COLUMN_D = 'column(blocks["d"])'
NEGATIVE_LOST = "the sign of the scale is lost"


def decoding(types: str, place: str, old: str, new: str, what: str, lost: str = "") -> Mutation:
    return Mutation(types, "decode", place, old, new, what, lost)


def encoding(types: str, place: str, old: str, new: str, what: str, lost: str = "") -> Mutation:
    return Mutation(types, "encode", place, old, new, what, lost)


_PLAIN_NUMBERS = (
    decoding("F16", "scalars:_decode_f16", "~0x70000000", "0x0FFFFFFF", "the sign is lost"),
    decoding("F16", "scalars:_decode_f16", "words <<= 13", "words <<= 12", "shift of the bits"),
    decoding("F16", "scalars:_decode_f16", "special = bits & 0x7C00 == 0x7C00", "special = bits == 0x7C00", "only +Inf is looked at"),
    encoding("F16", "scalars:CODECS", 'encode_as("<f2")', 'encode_as(">f2")', "byte order"),
    encoding("F16", "scalars:encode_as", "floats.astype(dtype)", "np.nextafter(floats, np.float32(0)).astype(dtype)",
             "the middle between two goes towards zero"),
    encoding("F16", "scalars:encode_as", "floats.astype(dtype)", "np.clip(floats, -65504, 65504).astype(dtype)",
             "what is too large becomes the largest"),
    decoding("BF16", "scalars:_decode_bf16", "np.uint32(16)", "np.uint32(15)", "shift of the bits"),
    decoding("BF16", "scalars:_decode_bf16", 'blocks["x"]', 'blocks["x"] & 0x7FFF', "the sign is lost"),
    decoding("BF16", "scalars:_decode_bf16", 'blocks["x"]', 'blocks["x"].byteswap()', "byte order"),
    encoding("BF16", "scalars:encode_bf16", "rounded &= 1", "rounded |= 1; rounded &= 1", "the middle between two goes up, not to even"),
    encoding("BF16", "scalars:encode_bf16", "rounded += 0x7FFF", "rounded[:] = 0", "rounding: truncated"),
    encoding("BF16", "scalars:encode_bf16", "return rounded.astype", "rounded[~is_nan] &= 0x7FFF; return rounded.astype",
             "the sign is lost"),
)  # fmt: skip

_INTEGERS = "I8 I16 I32 I64"
_ALONE = (
    decoding("F32 F64", "scalars:_decode_plain", 'blocks["x"]', 'np.abs(blocks["x"])', "the sign is lost", ALONE),
    decoding("F32 F64", "scalars:_decode_plain", 'blocks["x"]', 'blocks["x"].byteswap()', "byte order", ALONE),
    encoding("F32", "scalars:CODECS", 'encode_as("<f4")', 'encode_as(">f4")', "byte order", ALONE),
    encoding("F64", "scalars:CODECS", 'encode_as("<f8")', 'encode_as(">f8")', "byte order", ALONE),
    decoding("I8", "table:_TABLE", "I8 24 1 x:i8", "I8 24 1 x:u8", "the sign is lost", ALONE),
    decoding("I16", "table:_TABLE", "I16 25 1 x:i16", "I16 25 1 x:u16", "the sign is lost", ALONE),
    decoding("I32", "table:_TABLE", "I32 26 1 x:i32", "I32 26 1 x:u32", "the sign is lost", ALONE),
    decoding("I64", "table:_TABLE", "I64 27 1 x:i64", "I64 27 1 x:u64", "the sign is lost", ALONE),
    encoding(_INTEGERS, "scalars:_to_integers", "np.rint(", "np.trunc(", "rounding: truncated", ALONE),
    encoding(_INTEGERS, "scalars:_to_integers", "rounded <= low] = low", "rounded <= low] = high", "the other limit", ALONE),
)  # fmt: skip

_LEGACY = (
    decoding(FOUR_BITS, "kernel:_shifts", *PLANES, "nibble order"),
    decoding("Q4_0", "legacy:_decode_q4_0", "8)", "7)", "codes are off by one"),
    decoding("Q4_0", "legacy:_decode_q4_0", COLUMN_D, f"np.abs({COLUMN_D})", NEGATIVE_LOST),
    decoding("Q4_1", "legacy:_decode_q4_1", "out += ", "out -= ", "the sign of the minimum"),
    decoding("Q4_1", "table:_TABLE", "Q4_1 3 32 d:f16 | m:f16", "Q4_1 3 32 m:f16 | d:f16", "field order"),
    decoding("Q5_0 Q5_1", "legacy:_five_bit_codes", '"little"', '"big"', "order of the fifth bits"),
    decoding("Q5_0", "legacy:_decode_q5_0", "16)", "15)", "codes are off by one"),
    decoding("Q5_1", "legacy:_decode_q5_1", "out += ", "out -= ", "the sign of the minimum"),
    decoding("Q8_0 Q8_1", "legacy:_decode_q8", 'blocks["qs"]', 'blocks["qs"].view(np.uint8)', "the sign of codes is lost"),
    decoding("Q8_0 Q8_1", "legacy:_decode_q8", 'blocks["qs"]', 'blocks["qs"][:, ::-1]', "lane order"),
    decoding("Q8_0 Q8_1", "legacy:_decode_q8", COLUMN_D, f"np.abs({COLUMN_D})", NEGATIVE_LOST),
    decoding("Q8_1", "table:_TABLE", "Q8_1 9 32 d:f16 | s:f16", "Q8_1 9 32 s:f16 | d:f16", "field order"),
    encoding(FOUR_BITS, "legacy:_packed", "codes[:, :16] | codes[:, 16:] << 4", "codes[:, 0::2] | codes[:, 1::2] << 4", "nibble order"),
    encoding("Q4_0 Q5_0", "legacy:_symmetric", "half + 0.5", "half", "rounding: truncated"),
    encoding("Q4_0 Q5_0", "legacy:_symmetric", "np.float32(-half)", "np.float32(half)", "the sign of the scale"),
    encoding("Q4_1 Q5_1", "legacy:_affine", "np.float32(0.5)", "np.float32(0)", "rounding: truncated"),
    encoding("Q4_1 Q5_1", "legacy:_affine", "= d, low", "= d, high", "the maximum stored as the minimum"),
    encoding("Q5_0 Q5_1", "legacy:_store", "codes >> 4 & 1", "codes >> 3 & 1", "the fifth bit is the fourth"),
    encoding("Q8_0 Q8_1", "legacy:_eight_bits", "half_away(x * inverse(d)[:, None])", "np.rint(x * inverse(d)[:, None])",
             "half to even, not away from zero"),
    encoding("Q8_0 Q8_1", "legacy:_eight_bits", "np.max(np.abs(x)", "np.max((x)", "negative elements have no magnitude"),
    encoding("Q8_0 Q8_1", "legacy:_eight_bits", "np.float32(127)", "np.float32(128)", "off by one, the largest code wraps around"),
    encoding("Q8_1", "legacy:_eight_bits", ".astype(np.float32) * d", ".astype(np.float32)", "the sum is that of codes"),
)  # fmt: skip

_K_TYPES = (
    decoding("Q4_K Q5_K", "packing:six_bit_pairs", "both >> 2", "both[::-1] >> 2",
             "top bits of scale and minimum swapped"),
    decoding("Q4_K Q5_K", "packing:six_bit_pairs", "both & _each(63)", "both[::-1] & _each(63)",
             "scale and minimum swapped"),
    decoding("Q4_K Q5_K Q6_K", "kernel:_shifts", *PLANES, "order of the planes"),
    decoding("Q4_K Q5_K Q2_K", "affine:scales_and_minima", 'column(blocks["dmin"])', '-column(blocks["dmin"])',
             "the sign of the minimum"),
    decoding("Q5_K", "affine:_decode_q5_k", "np.uint64(4)", "np.uint64(3)", "the fifth bit set for the fourth"),
    decoding("Q2_K", "packing:four_bit_pairs", "packed & 15, packed >> 4", "packed >> 4, packed & 15", "scale and minimum swapped"),
    decoding("Q2_K Q3_K", "packing:two_bit_planes", "width=32", "width=64", "lane order"),
    decoding("Q3_K", "symmetric:_decode_q3_k", "np.int8(4)", "np.int8(3)", "codes are off by one"),
    decoding("Q3_K", "packing:six_bit_scales", "third >> 2 * k", "third >> 6 - 2 * k", "scale bits"),
    decoding("Q3_K", "packing:six_bit_scales", "np.int8(32)", "np.int8(31)", "scales are off by one"),
    decoding("Q6_K", "symmetric:_decode_q6_k", "np.uint64(4)", "np.uint64(3)", "the top bits are one too low"),
    decoding("Q6_K", "symmetric:_decode_q6_k", 'blocks["scales"]', 'blocks["scales"].view(np.uint8)', "the sign of scales is lost"),
    decoding("Q6_K", "symmetric:_decode_q6_k", "np.int8(32)", "np.int8(31)", "codes are off by one"),
    decoding("Q8_K", "symmetric:_decode_q8_k", 'blocks["qs"]', 'blocks["qs"].view(np.uint8)', "the sign of codes is lost"),
    decoding("Q8_K", "symmetric:_decode_q8_k", 'blocks["qs"]', 'blocks["qs"][:, ::-1]', "lane order"),
    decoding("Q8_K", "symmetric:_decode_q8_k", COLUMN_D, f"np.abs({COLUMN_D})", NEGATIVE_LOST),
    encoding("Q4_K Q5_K", "packing:packed_six_bit_pairs", "(numbers[:, 4:] >> 4) << 6", "(numbers[:, 4:] >> 5) << 6", "scale bits"),
    encoding("Q4_K Q5_K", "packing:packed_nibble_groups", "pairs[:, :, 0] & 15 | pairs[:, :, 1] << 4",
             "pairs[:, :, 1] & 15 | pairs[:, :, 0] << 4", "nibble order"),
    encoding("Q4_K Q5_K Q2_K", "affine:_codes", "group + minimum", "group - minimum", "the sign of the minimum"),
    encoding("Q4_K Q5_K Q2_K", "affine:proportional", "largest[:, 0] / top", "largest[:, 0] / (top + 1)", "off by one"),
    encoding("Q5_K", "affine:_store_q5_k", "codes >> 4", "codes >> 3", "the fifth bit set for the fourth"),
    encoding("Q2_K", "packing:packed_four_bit_pairs", "scales | minima << 4", "minima | scales << 4", "scale and minimum swapped"),
    encoding("Q2_K Q3_K", "packing:packed_two_bit_planes", "planes[:, :, 1] << 2 | planes[:, :, 2] << 4",
             "planes[:, :, 2] << 2 | planes[:, :, 1] << 4", "lane order"),
    encoding("Q3_K", "packing:packed_six_bit_scales", "low[:, :8] | low[:, 8:] << 4", "low[:, 8:] | low[:, :8] << 4", "scale bits"),
    encoding("Q3_K", "symmetric:store_q3_k", "codes >> 2", "codes >> 1", "the third bit set for the second"),
    encoding("Q3_K", "symmetric:scales_of_q3_k", "np.float32(-32)", "np.float32(32)", "the sign of the scales"),
    encoding("Q6_K", "symmetric:scales_of_q6_k", "np.float32(-128)", "np.float32(128)", "the sign of the scales"),
    encoding("Q6_K", "symmetric:store_q6_k", "codes >> 4", "codes >> 3", "the top bits are one too low"),
    encoding("Q6_K", "symmetric:store_q6_k", "quarters[:, :, 0] & 15 | quarters[:, :, 1] << 4",
             "quarters[:, :, 1] & 15 | quarters[:, :, 0] << 4", "nibble order"),
    encoding("Q8_K", "symmetric:_encode_q8_k", "np.float32(-127)", "np.float32(127)", "the sign of the scale"),
    encoding("Q8_K", "symmetric:_encode_q8_k", "codes.reshape(-1, 16, 16)", "codes[:, ::-1].reshape(-1, 16, 16)", "order of the sums"),
    encoding("Q8_K", "symmetric:_encode_q8_k", "nearest_int(x * factor[:, None])", "np.trunc(x * factor[:, None])",
             "rounding: truncated"),
    encoding("Q4_K", "affine:_Q4", "21", "20", "one trial less", SEARCH),
    encoding("Q4_K Q5_K", "affine:Encoding", "-0.9, 0.05, 37", "-0.9, 0.05, 36", "one trial less with a matrix", SEARCH),
    encoding("Q6_K", "search:symmetric", "range(-9, 0)", "range(-8, 0)", "one trial less", SEARCH),
    encoding("Q3_K", "search:descend", "range(4)", "range(3)", "one pass less", SEARCH),
)  # fmt: skip

_LEVELS = (
    decoding("IQ4_NL IQ4_XS MXFP4 NVFP4", "kernel:_shifts", *PLANES, "nibble order"),
    decoding("IQ4_NL IQ4_XS MXFP4 NVFP4", "levels:Levels", "self.levels[pair & 15], self.levels[pair >> 8]",
             "self.levels[pair >> 8], self.levels[pair & 15]", "neighbours swapped"),
    decoding("IQ4_NL IQ4_XS", "iq4:LEVELS", "-83", "-84", "a level"),
    decoding("IQ4_NL", "iq4:_decode_iq4_nl", COLUMN_D, f"np.abs({COLUMN_D})", NEGATIVE_LOST),
    decoding("IQ4_XS", "iq4:six_bit_scales", "low & 15, low >> 4", "low >> 4, low & 15", "scale bits: nibble order"),
    decoding("IQ4_XS", "iq4:six_bit_scales", "np.arange(0, 16, 2", "np.arange(14, -2, -2", "scale bits: order of the tops"),
    decoding("IQ4_XS", "iq4:six_bit_scales", "np.int8(32)", "np.int8(31)", "scales are off by one"),
    decoding("MXFP4", "fp4:E8M0", "- 128", "- 127", "the exponent is off by one"),
    decoding("MXFP4 NVFP4", "fp4:LEVELS", "-level", "level", "the sign of codes is lost"),
    decoding("NVFP4", "fp4:_ue4m3", "mantissa * 2.0**-9", "mantissa * 2.0**-10", "subnormal scales are halved"),
    decoding("NVFP4", "fp4:_ue4m3", "code == 0x7F", "code == 0xFF", "the code that is no number"),
    encoding("IQ4_NL IQ4_XS MXFP4 NVFP4", "levels:packed_halves", "low | high << 4", "high | low << 4", "nibble order"),
    encoding("IQ4_NL", "iq4:_fill_iq4_nl", '["d"] = scale', '["d"] = -scale', "the sign of the scale"),
    encoding("IQ4_NL IQ4_XS", "iq4:_place", "place -= _FIRST", "place -= _FIRST - 1", "the middles are off by one half"),
    encoding("IQ4_NL IQ4_XS", "iq4:_search", "np.argmax(np.abs(x), axis=0)", "np.argmax(x, axis=0)", "negative elements have no magnitude"),
    encoding("IQ4_XS", "iq4:scales_of_iq4_xs", "stored[:, 0::2] & 15 | (stored[:, 1::2] & 15) << 4",
             "stored[:, 1::2] & 15 | (stored[:, 0::2] & 15) << 4", "scale bits: nibble order"),
    encoding("IQ4_XS", "iq4:scales_of_iq4_xs", "scales + 32", "scales + 31", "scales are off by one"),
    encoding("MXFP4", "fp4:_exponents", "+ 125", "+ 124", "the exponent is off by one"),
    encoding("MXFP4 NVFP4", "fp4:_nearest", "(x < 0) & (codes > 0)", "(x > 0) & (codes > 0)", "the sign of codes"),
    encoding("NVFP4", "fp4:to_ue4m3", "bits >> 19 & 1", "0", "scales rounded down"),
    encoding("NVFP4", "fp4:to_ue4m3", "0x7E", "0x7F", "the largest scale is the code that is no number"),
    encoding("IQ4_NL IQ4_XS", "iq4:_search", "range(-7, 8)", "range(-6, 8)", "one trial less", SEARCH),
)  # fmt: skip

_FEW_BITS = (
    decoding("TQ1_0", "fewbits:_decode_tq1_0", "rest > 170", "rest > 171", "a threshold"),
    decoding("TQ1_0", "fewbits:_decode_tq1_0", "rest < 86", "rest < 85", "a threshold"),
    decoding("TQ1_0", "fewbits:_decode_tq1_0", "60 + k", "63 - k", "lane order of the last elements"),
    decoding("TQ2_0", "kernel:_shifts", *PLANES, "lane order"),
    decoding("TQ2_0", "fewbits:_decode_tq2_0", "np.int8(1)", "np.int8(2)", "codes are off by one"),
    decoding("TQ2_0", "fewbits:_decode_tq2_0", COLUMN_D, f"np.abs({COLUMN_D})", NEGATIVE_LOST),
    decoding("Q2_0", "fewbits:_FOURS", "np.arange(0, 8, 2)", "np.arange(6, -2, -2)", "lane order"),
    decoding("Q2_0", "fewbits:_FOURS", "np.int8(1)", "np.int8(2)", "codes are off by one"),
    decoding("Q2_0", "fewbits:_decode_q2_0", COLUMN_D, f"np.abs({COLUMN_D})", NEGATIVE_LOST),
    decoding("Q1_0", "fewbits:_EIGHTS", "np.arange(8) &", "np.arange(7, -1, -1) &", "lane order"),
    decoding("Q1_0", "fewbits:_EIGHTS", "np.int8(2) - np.int8(1)", "np.int8(-2) + np.int8(1)", "the sign"),
    decoding("Q1_0", "fewbits:_decode_q1_0", COLUMN_D, f"np.abs({COLUMN_D})", NEGATIVE_LOST),
    encoding("TQ1_0 TQ2_0 Q2_0", "fewbits:_rounded", "half_away(", "np.trunc(", "rounding: truncated"),
    encoding("TQ1_0", "fewbits:_fractions", " + 242", "", "fractions are rounded down"),
    encoding("TQ1_0", "fewbits:_encode_tq1_0", "reshape(-1, 5, 16)", "reshape(-1, 16, 5).swapaxes(1, 2)", "lane order"),
    encoding("TQ2_0", "fewbits:_encode_tq2_0", "codes[:, :, 1] << 2 | codes[:, :, 2] << 4",
             "codes[:, :, 2] << 2 | codes[:, :, 1] << 4", "lane order"),
    encoding("TQ2_0", "fewbits:_encode_tq2_0", "whole + 1", "1 - whole", "the sign"),
    encoding("Q2_0", "fewbits:_encode_q2_0", "codes[:, :, 1] << 2 | codes[:, :, 2] << 4",
             "codes[:, :, 2] << 2 | codes[:, :, 1] << 4", "lane order"),
    encoding("Q2_0", "fewbits:_encode_q2_0", "whole + 1", "1 - whole", "the sign"),
    encoding("Q1_0", "fewbits:_encode_q1_0", "rows >= 0", "rows > 0", "zero is negative"),
    encoding("Q1_0", "fewbits:_encode_q1_0", '"little"', '"big"', "lane order"),
    encoding("Q1_0", "fewbits:_encode_q1_0", "np.float32(128)", "np.float32(127)", "the mean of one element less"),
)  # fmt: skip

_GRIDS = (
    decoding("IQ2_XXS IQ3_XXS", "grid:_SEVENS", "[0, 7, 14, 21]", "[0, 8, 16, 24]", "place of the signs"),
    decoding("IQ2_XXS IQ3_XXS", "grid:_signs_and_scale", "np.uint32(28)", "np.uint32(29)", "scale bits"),
    decoding("IQ2_XXS IQ2_XS IQ3_XXS", "grid:_negated_even", "seven | odd << 7", "seven", "the eighth sign is lost"),
    decoding("IQ2_XXS", "grids.txt:IQ2_XXS", "0000000020000000110000000200000022", "0000000020000000110000000200000012", "a level of the grid"),
    decoding("IQ2_XS", "grid:_decode_iq2_xs", "np.uint16(511)", "np.uint16(255)", "the top bit of the index is lost"),
    decoding("IQ2_XS IQ2_S IQ3_S", "grid:_nibbles", "packed & 15, packed >> 4", "packed >> 4, packed & 15", "scale bits: nibble order"),
    decoding("IQ2_S", "grid:_decode_iq2_s", "[0, 2, 4, 6]", "[6, 4, 2, 0]", "order of the top bits of the indices"),
    decoding("IQ2_S IQ3_S", "grid:_negated", '"little"', '"big"', "order of the signs"),
    decoding("IQ3_XXS", "grid:_decode_iq3_xxs", "0.5", "0.25", "half the scale"),
    decoding("IQ3_S", "grid:_decode_iq3_s", '"little"', '"big"', "order of the top bits of the indices"),
    decoding("IQ3_S IQ1_S IQ1_M", "grid:_odd", "np.float32(1)", "np.float32(0)", "scales are off by one"),
    decoding("IQ1_S", "grid:_decode_iq1_s", "[0, 3, 6, 9]", "[9, 6, 3, 0]", "order of the top bits of the indices"),
    decoding("IQ1_S IQ1_M", "grid:_shifted_patterns", "[eighths + np.int8(1), eighths - np.int8(1)]",
             "[eighths - np.int8(1), eighths + np.int8(1)]", "the sign of the shift"),
    decoding("IQ1_M", "grid:_decode_iq1_m", "(word[:, 1] >> 12 << 4)", "(word[:, 1] >> 12 << 8)", "scale bits"),
    decoding("IQ1_M", "grid:_decode_iq1_m", "[0, 3, 6, 9]", "[9, 6, 3, 0]", "scale order"),
)  # fmt: skip

_APR = (
    decoding("AprQ4", "aprender:_decode_aprq4", "view(np.int8).reshape", "view(np.int8).swapaxes(1, 2).reshape", "nibble order: Q4_0's"),
    decoding("AprQ4", "aprender:_decode_aprq4", "np.int8(8)", "np.int8(7)", "codes are off by one"),
    decoding("AprQ4", "aprender:_decode_aprq4", 'np.asarray(blocks["d"], np.float32)', 'np.abs(np.asarray(blocks["d"], np.float32))',
             NEGATIVE_LOST),
    decoding("AprQ8", "aprender:decode_aprq8", 'blocks["qs"].reshape', 'blocks["qs"].view(np.uint8).reshape', "the sign of codes is lost"),
    decoding("AprQ8", "aprender:decode_aprq8", 'blocks["qs"].reshape', 'blocks["qs"][:, ::-1].reshape', "lane order"),
    decoding("AprQ8", "aprender:decode_aprq8", 'np.asarray(blocks["d"], np.float32)', 'np.float16(blocks["d"])', "the scale as f16"),
    encoding("AprQ4", "aprender:encode_aprq4", "codes[0::2] | codes[1::2] << 4", "codes[1::2] | codes[0::2] << 4", "nibble order"),
    encoding("AprQ4", "aprender:encode_aprq4", "_scale(rows, 7)", "_scale(rows, 8)", "the scale of one code more"),
    encoding("AprQ4 AprQ8", "aprender:_rounded_away", ">= 0.5", ">= 1", "rounding: truncated"),
    encoding("AprQ8", "aprender:encode_aprq8", "_scale(flat[None], 127)", "_scale(flat[None], 128)", "the scale of one code more"),
    encoding("AprQ8", "aprender:encode_aprq8", "-127, 127)", "0, 127)", "negative codes are lost"),
)  # fmt: skip

MUTATIONS = (*_PLAIN_NUMBERS, *_ALONE, *_LEGACY, *_K_TYPES, *_LEVELS, *_FEW_BITS, *_GRIDS, *_APR)
