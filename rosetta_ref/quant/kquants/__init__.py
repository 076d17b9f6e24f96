"""ggml's K types: super-blocks of 256 elements with scales that are quantised themselves.

Read `affine` first, and in it Q4_K: 8 groups of 32 elements, with a 6-bit scale s and a 6-bit minimum m each; value =
d s q - dmin m. Every product is exact in float32, so the subtraction is the only rounding, and decoding has one right answer.
`symmetric` holds the types without a minimum, `packing` the bits of all of them, and `rosetta_ref.quant.search` what encoding
is about: each group's best scale, before the scales of a super-block are rounded and the codes once more with what they became.
"""

from rosetta_ref.quant.block import Decoder, Encoder
from rosetta_ref.quant.kquants import affine, symmetric

#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder]] = affine.CODECS | symmetric.CODECS
