"""Random blocks, rows and tensors of any type, for tests of decoders, writers and whatever carries bytes.

Only sizes, a seed and the name of a pattern are drawn; the bytes are computed from them (`patterns.blocks` says what each shows).
So an example is small to print and quick to shrink, whatever its size; what fails is one block wherever one is enough. How much of
each field is left is drawn as well, mostly all: so blocks shrink to zeros but for the bits that a failure needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from rosetta_ref.archive import Bytes, Tensor
from rosetta_ref.patterns.blocks import PATTERNS, block_bytes
from rosetta_ref.quant import TYPES, BlockType
from rosetta_ref.quant.block import Blocks

_SEEDS = st.integers(0, 2**32 - 1)
#: Zeros are simpler than bytes that say where they stand.
_SIMPLEST_FIRST = ("zero", *(pattern for pattern in PATTERNS if pattern != "zero"))
#: The longest field is whole for all but one of so many numbers.
_WHOLE = 32
#: Where numbers begin that are all alike to Hypothesis.
_FAR = 1 << 40
#: What a float field may be instead of what the pattern has.
_FLOATS = (0, 1, -1)


def known(type_name: str) -> BlockType:
    """The type of that name; a ValueError with all names when there is none."""
    if type_name not in TYPES:
        raise ValueError(f"no type {type_name!r}; there are {', '.join(TYPES)}")
    return TYPES[type_name]


def _checked(patterns: Sequence[str], least: int, most: int) -> None:
    unknown = [pattern for pattern in patterns if pattern not in PATTERNS]
    if unknown or not patterns:
        raise ValueError(f"no pattern {unknown[0] if unknown else 'given'}; there are {', '.join(PATTERNS)}")
    if not 0 <= least <= most:
        raise ValueError(f"there are no numbers from {least} to {most}")


def blocks(
    type_name: str, *, min_blocks: int = 1, max_blocks: int = 40, patterns: Sequence[str] = PATTERNS
) -> st.SearchStrategy[Blocks]:
    """Arrays of blocks of a type, shape (n,), each of one of the patterns; of AprQ8 one block of n elements.

    For decoders: every field at its ends, all scales distinct, every single bit of the codes. Shrinks towards
    `min_blocks` blocks of the first pattern, float fields of 0, 1 or -1, and no bits in the others but those that a failure needs.
    Raises ValueError for names of types and patterns that do not exist.
    """
    kind = known(type_name)
    _checked(patterns, min_blocks, max_blocks)

    def make(count: int, first: int, pattern: str, seed: int, left: Sequence[Any]) -> Blocks:
        if kind.is_whole:
            return _with_left(kind.sized(count).blocks(block_bytes(kind.sized(count), 1, pattern, seed)), left)
        # Cut out of more: with fewer blocks the others stay as they are, so the one that matters can be found.
        return _with_left(kind.blocks(block_bytes(kind, 2 * max_blocks, pattern, seed))[first : first + count], left)

    counts, firsts = st.integers(min_blocks, max_blocks), st.integers(0, max_blocks)
    left = _left(kind.sized(max_blocks))
    return st.builds(make, counts, firsts, st.sampled_from(tuple(patterns)), _SEEDS, left)


def _left(kind: BlockType) -> st.SearchStrategy[Sequence[int]]:
    """What is left of each field: of a float the number instead, or more; of others the first bits. At the end: of these the last.

    As many numbers whatever is left, since the shorter one of two examples is the simpler one; each can be lowered by halves. All
    are of one range: Hypothesis likes to repeat a number elsewhere, where it should mean the whole as well.
    """
    longest = max(kind.dtype[name].itemsize for name in kind.dtype.names or ())
    some = _uniform(8 * longest * _WHOLE)
    return st.tuples(*(some for _ in (*(kind.dtype.names or ()), "the last")))


def _uniform(most: int) -> st.SearchStrategy[int]:
    """Numbers from 0, each as likely as the others: far from zero Hypothesis has no liking for small ones."""
    return st.integers(_FAR, _FAR + most).map(lambda number: number - _FAR)


def _with_left(blocks: Blocks, left: Sequence[int]) -> Blocks:
    made = blocks.copy()
    *each, last = left
    for name, some in zip(blocks.dtype.names or (), each, strict=True):
        field = blocks.dtype[name]
        if field.base.kind == "f":
            if some < len(_FLOATS):
                made[name] = _FLOATS[some]
            continue
        first = min(some, 8 * field.itemsize)
        bits = np.zeros(8 * field.itemsize, np.uint8)
        bits[max(first - last, 0) : first] = 1
        raw = np.ascontiguousarray(made[name]).view(np.uint8).reshape(made.size, field.itemsize)
        made[name] = (raw & np.packbits(bits, bitorder="little")).view(field.base).reshape(made[name].shape)
    return made


def rows(
    type_name: str, *, max_rows: int = 4, max_blocks: int = 6, patterns: Sequence[str] = PATTERNS
) -> st.SearchStrategy[Blocks]:
    """Arrays of blocks of a type, shape (rows, blocks in a row), each row with a pattern and a seed of its own.

    For what must treat rows apart (slices, threads, permutations of heads): a row that takes part of its neighbour is seen,
    since the neighbour is of another kind. Shrinks towards one row of one block of the first pattern. AprQ8 has no rows.
    """
    kind = known(type_name)
    _checked(patterns, 1, min(max_rows, max_blocks))
    if kind.is_whole:
        raise ValueError(f"{type_name} is one block for a whole tensor")

    def make(width: int, made_of: list[tuple[str, int]]) -> Blocks:
        parts = [kind.blocks(block_bytes(kind, width, pattern, seed)) for pattern, seed in made_of]
        return np.stack(parts)

    each = st.tuples(st.sampled_from(tuple(patterns)), _SEEDS)
    return st.builds(make, st.integers(1, max_blocks), st.lists(each, min_size=1, max_size=max_rows))


@st.composite
def payload(draw: Any, type_name: str, shape: Sequence[int]) -> Bytes:
    """The bytes of a tensor of that type and logical shape, as uint8 of exactly `nbytes(shape)`. Shrinks towards zeros."""
    kind = known(type_name)
    size = kind.nbytes(shape)
    if kind.is_whole:
        kind = kind.sized(int(np.prod(shape)))
    return block_bytes(kind, size // kind.block_bytes, draw(st.sampled_from(_SIMPLEST_FIRST)), draw(_SEEDS))


def tensors(
    *types: str, names: st.SearchStrategy[str] | None = None, max_dims: int = 4, max_blocks: int = 4
) -> st.SearchStrategy[Tensor]:
    """Tensors of the given types (all, without any), of whole rows of blocks, with data of any of the patterns.

    For writers, converters and diffs. Shapes have up to `max_dims` dimensions with at most `max_blocks` blocks in the last one;
    scalars (no dimensions) and sizes of zero only in types of one element a block, or without rows. Names are lower-case
    letters and dots unless `names` says otherwise. Shrinks towards the first type, the least dimensions and zeros.
    """
    kinds = [known(name) for name in types] or list(TYPES.values())
    if max_dims < 1 or max_blocks < 1:
        raise ValueError("a tensor of blocks has a dimension and a block")
    titles = st.text("abcdefgh.", min_size=1, max_size=12) if names is None else names

    @st.composite
    def make(draw: st.DrawFn) -> Tensor:
        kind = draw(st.sampled_from(kinds))
        whole = not (kind.is_scalar or kind.is_whole or kind.padded)
        shape = draw(st.lists(st.integers(1 if whole else 0, 3), max_size=max_dims - 1))
        if whole:
            shape.append(kind.elements * draw(st.integers(1, max_blocks)))
        return Tensor.of(draw(titles), kind, tuple(shape), draw(payload(kind.name, shape)))

    return make()
