"""The one table of types: name, ggml id (- for types that ggml does not have), elements in a block, layout."""

from __future__ import annotations

import numpy as np

from rosetta_ref.quant.block import layout_dtype

_TABLE = """
F32 0 1 x:f32
F16 1 1 x:f16
BF16 30 1 x:u16
F64 28 1 x:f64
I8 24 1 x:i8
I16 25 1 x:i16
I32 26 1 x:i32
I64 27 1 x:i64
U8 - 1 x:u8
U16 - 1 x:u16
U32 - 1 x:u32
U64 - 1 x:u64
BOOL - 1 x:u8
F8_E4M3 - 1 x:u8
F8_E5M2 - 1 x:u8
F8_E8M0 - 1 x:u8
C64 - 1 re:f32 | im:f32
F4 - 2 x:u8
F6_E2M3 - 4 x:3xu8
F6_E3M2 - 4 x:3xu8
Q4_0 2 32 d:f16 | qs:16xu8
Q4_1 3 32 d:f16 | m:f16 | qs:16xu8
Q5_0 6 32 d:f16 | qh:u32 | qs:16xu8
Q5_1 7 32 d:f16 | m:f16 | qh:u32 | qs:16xu8
Q8_0 8 32 d:f16 | qs:32xi8
Q8_1 9 32 d:f16 | s:f16 | qs:32xi8
Q2_K 10 256 scales:16xu8 | qs:64xu8 | d:f16 | dmin:f16
Q3_K 11 256 hmask:32xu8 | qs:64xu8 | scales:12xu8 | d:f16
Q4_K 12 256 d:f16 | dmin:f16 | scales:12xu8 | qs:128xu8
Q5_K 13 256 d:f16 | dmin:f16 | scales:12xu8 | qh:32xu8 | qs:128xu8
Q6_K 14 256 ql:128xu8 | qh:64xu8 | scales:16xi8 | d:f16
Q8_K 15 256 d:f32 | qs:256xi8 | bsums:16xi16
IQ2_XXS 16 256 d:f16 | qs:32xu16
IQ2_XS 17 256 d:f16 | qs:32xu16 | scales:8xu8
IQ3_XXS 18 256 d:f16 | qs:64xu8 | signs:8xu32
IQ1_S 19 256 d:f16 | qs:32xu8 | qh:8xu16
IQ4_NL 20 32 d:f16 | qs:16xu8
IQ3_S 21 256 d:f16 | qs:64xu8 | qh:8xu8 | signs:32xu8 | scales:4xu8
IQ2_S 22 256 d:f16 | qs:64xu8 | qh:8xu8 | scales:8xu8
IQ4_XS 23 256 d:f16 | scales_h:u16 | scales_l:4xu8 | qs:128xu8
IQ1_M 29 256 qs:32xu8 | qh:16xu8 | scales:8xu8
TQ1_0 34 256 qs:48xu8 | qh:4xu8 | d:f16
TQ2_0 35 256 qs:64xu8 | d:f16
MXFP4 39 32 e:u8 | qs:16xu8
NVFP4 40 64 d:4xu8 | qs:32xu8
Q1_0 41 128 d:f16 | qs:16xu8
Q2_0 42 64 d:f16 | qs:16xu8
AprQ4 - 32 d:f16 | qs:16xu8
AprQ8 - 0 d:f32 | qs:*xi8
"""

#: name: (ggml id or None, elements in a block, layout)
ROWS: dict[str, tuple[int | None, int, str]] = {
    name: (None if number == "-" else int(number), int(elements), layout)
    for name, number, elements, layout in (line.split(maxsplit=3) for line in _TABLE.strip().splitlines())
}


def block_dtype(name: str) -> np.dtype[np.void]:
    """The structured dtype of that type's blocks."""
    _, elements, layout = ROWS[name]
    return layout_dtype(layout, elements)
