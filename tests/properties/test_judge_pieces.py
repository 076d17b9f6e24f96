"""What the judge says of a tensor does not hang on the size of the pieces that it looks at: kind, count, words, and the first element.

Each case makes a source and a target of which one thing is to be said; the smallest pieces are a block, the largest the tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge import mapping, pairs
from rosetta_ref.gate.judge import values as right_values
from rosetta_ref.gate.judge.elsewhere import same
from rosetta_ref.gate.judge.values import Verdict
from rosetta_ref.quant import TYPES

Array = NDArray[Any]
Rng = np.random.Generator
Made = tuple[Tensor, Tensor, dict[str, Any]]
SHAPE, HEADS = (8, 512), 2


def of(kind: str, values: Array) -> Tensor:
    """A tensor of these values in a type, by the reference's encoder."""
    encode = TYPES[kind].encode
    assert encode is not None
    with np.errstate(all="ignore"):
        return Tensor.of(
            "a", TYPES[kind], values.shape, np.ascontiguousarray(encode(values.reshape(-1))).view(np.uint8)
        )


def raw(kind: str, values: Array) -> Tensor:
    """Values as they are stored."""
    return Tensor.of("a", TYPES[kind], values.shape, np.ascontiguousarray(values))


def gaussian(rng: Rng, shape: tuple[int, ...] = SHAPE) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def somewhere(rng: Rng, values: Array, *others: float) -> Array:
    """A few elements, at random places, are others, each of them once at least."""
    made = values.copy()
    places = rng.choice(made.size, size=int(rng.integers(len(others), 12)), replace=False)
    made.reshape(-1)[places] = rng.choice(np.array(others, made.dtype), places.size)
    made.reshape(-1)[places[: len(others)]] = others
    return made


def cut(values: Array) -> Array:
    made = values.astype(np.float16)
    return np.where(np.abs(made.astype(np.float32)) > np.abs(values), np.nextafter(made, np.float16(0)), made)


def half(values: Array) -> Array:
    return values.astype(np.float16)


def flushed(made: Array, values: Array) -> Array:
    return np.where(np.abs(values) < 2.0**-14, np.float16(0), made)


def tiny(rng: Rng) -> Array:
    """Among them numbers that are subnormal in F16."""
    return gaussian(rng) * np.exp2(rng.integers(-20, 1, SHAPE)).astype(np.float32)


def turn(values: Array) -> Array:
    return mapping.to_halves(values, HEADS)


def to(source: str, target: str, **more: Any) -> Callable[[Rng], Made]:
    """A right conversion of Gaussian numbers, by way of their float32."""

    def made(rng: Rng) -> Made:
        before = of(source, gaussian(rng))
        return before, of(target, before.values()), more

    return made


def worse(
    source: str, target: str, factor: float, shape: tuple[int, ...] = SHAPE, **more: Any
) -> Callable[[Rng], Made]:
    """Encoded from numbers that are too large by a factor, in some of the rows."""

    def made(rng: Rng) -> Made:
        before = of(source, gaussian(rng, shape))
        rows = np.where(rng.random((shape[0], *[1] * (len(shape) - 1))) < 0.7, np.float32(factor), np.float32(1))
        rows[int(rng.integers(shape[0]))] = factor
        return before, of(target, before.values() * rows), more

    return made


def damaged(kind: str, before: tuple[float, ...], after: tuple[float, ...], target: str = "") -> Callable[[Rng], Made]:
    """Some numbers are these in the source, some are those in the target; all others are carried or rounded."""

    def made(rng: Rng) -> Made:
        values = gaussian(rng)
        was = somewhere(rng, values, *before) if before else values
        return of(kind, was), of(target or kind, somewhere(rng, was, *after)), {}

    return made


def turned(kind: str, target: str, *, right: bool = True) -> Callable[[Rng], Made]:
    def made(rng: Rng) -> Made:
        before = of(kind, gaussian(rng))
        after = of(target, turn(before.values()) if right else before.values())
        return before, after, {"turn": (HEADS, True)}

    return made


def lost(rng: Rng) -> Made:
    values = somewhere(rng, gaussian(rng), np.nan, np.inf)
    return raw("F32", values), of("F64", np.nan_to_num(values, nan=0, posinf=0)), {}


def payload(rng: Rng) -> Made:
    values = somewhere(rng, gaussian(rng), np.nan)
    bits = values.view(np.uint32)
    return raw("F32", values), raw("F32", np.where(np.isnan(values), bits ^ np.uint32(5), bits)), {}


def narrowed(how: Callable[[Array], Array], make: Callable[[Rng], Array] = tiny) -> Callable[[Rng], Made]:
    def made(rng: Rng) -> Made:
        values = make(rng)
        with np.errstate(all="ignore"):
            return raw("F32", values), raw("F16", how(values)), {}

    return made


def anew(rng: Rng) -> Made:
    before = of("Q4_K", gaussian(rng))
    return before, of("Q4_K", before.values() * np.float32(1.01)), {}


def nobody_encodes(rng: Rng) -> Made:
    blocks = np.zeros(SHAPE[0] * SHAPE[1] // 256, TYPES["IQ2_XXS"].dtype)
    return of("F32", gaussian(rng)), Tensor.of("a", TYPES["IQ2_XXS"], SHAPE, blocks), {"asked": True}


def nobody_knows(rng: Rng) -> Made:
    blocks = np.zeros(SHAPE[0] * SHAPE[1] // 2, TYPES["F4"].dtype)
    return of("F32", gaussian(rng)), Tensor.of("a", TYPES["F4"], SHAPE, blocks), {"asked": True}


def bias(rng: Rng) -> Made:
    values = gaussian(rng, (64,))
    return raw("F32", values), raw("F32", turn(values)), {"turn": (HEADS, True)}


def large(rng: Rng) -> Array:
    return somewhere(rng, gaussian(rng), 1e6, -7e4)


def repacked(rng: Rng) -> Made:
    """Q4_0's blocks in the order of AprQ4."""
    before = of("Q4_0", gaussian(rng))
    blocks = before.type.blocks(before.data)
    codes = np.concatenate([blocks["qs"] & 15, blocks["qs"] >> 4], axis=1)
    made = np.zeros(len(blocks), TYPES["AprQ4"].dtype)
    made["d"], made["qs"] = blocks["d"], codes[:, 0::2] | codes[:, 1::2] << 4
    return before, Tensor.of("a", TYPES["AprQ4"], SHAPE, made), {}


#: What is to be said, and of what.
CASES: dict[str, tuple[str, Callable[[Rng], Made]]] = {
    "bytes": ("carried", to("F32", "F32")),
    "decoded": ("decoded", to("Q4_1", "F32")),
    "decoded superblocks": ("decoded", to("Q4_K", "F32")),
    "decoded from one block": ("decoded", to("AprQ8", "F32")),
    "widened": ("widened", to("BF16", "F32")),
    "repacked": ("repacked", repacked),
    "rounded to F16": ("narrowed", to("F32", "F16")),
    "rounded to BF16": ("narrowed", to("F32", "BF16")),
    "exact": ("narrowed exactly", narrowed(half, lambda rng: half(gaussian(rng)).astype(np.float32))),
    "another type": ("type", to("F32", "I32")),
    "another size": ("size", lambda rng: (of("F32", gaussian(rng)), raw("F32", gaussian(rng, (8, 511))), {})),
    "wrong numbers": ("values", damaged("F32", (), (1.5, -2.0))),
    "wrong numbers, rounded": ("values", damaged("F32", (), (1.5, -2.0), "F16")),
    "invented": ("nan", damaged("F32", (), (np.nan, np.inf, 3.0), "F64")),
    "invented, rounded": ("nan", damaged("F32", (), (np.nan, 3.0), "BF16")),
    "lost": ("nan-lost", lost),
    "payload": ("nan-payload", payload),
    "truncated": ("truncated", narrowed(cut, gaussian)),
    "flushed": ("flushed", narrowed(lambda values: flushed(half(values), values))),
    "both": ("truncated-and-flushed", narrowed(lambda values: flushed(cut(values), values))),
    "beyond the range": ("out-of-range", narrowed(half, large)),
    "wrong blocks": ("values", worse("Q4_0", "Q4_0", 1.5)),
    "encoded anew": ("lossy-unasked", worse("F32", "Q8_0", 1.0)),
    "encoded anew, badly": ("lossy-unasked", worse("F32", "Q8_0", 1.002)),
    "encoded anew as it was": ("lossy-unasked", anew),
    "asked": ("encoded", to("F32", "Q8_0", asked=True)),
    "asked, badly": ("error-too-large", worse("F32", "Q8_0", 1.02, asked=True)),
    "asked for one block": ("encoded", to("F32", "AprQ8", asked=True)),
    "asked for one block, badly": ("error-too-large", worse("F32", "AprQ8", 1.02, asked=True)),
    "not asked for one block": ("error-too-large", worse("F32", "AprQ8", 1.02)),
    "asked for a padded block": ("error-too-large", worse("F32", "AprQ4", 1.3, (7, 515), asked=True)),
    "asked for what nobody encodes": ("error-too-large", nobody_encodes),
    "asked for what nobody knows": ("unknown-type", nobody_knows),
    "turned bytes": ("carried", turned("Q8_0", "Q8_0")),
    "turned numbers": ("decoded", turned("Q4_K", "F32")),
    "turned, one block": ("decoded", turned("AprQ8", "F32")),
    "turned biases": ("carried", bias),
    "not turned": ("values", turned("F32", "F32", right=False)),
    "not turned, decoded": ("values", turned("Q4_1", "F32", right=False)),
}


def judged(made: Made, step: int, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    source, target, options = made
    with monkeypatch.context() as patch:
        patch.setattr(pairs, "STEP", step)
        return right_values.judge(source, target, **options)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), step=st.integers(60, 3000))
def test_pieces_say_what_the_whole_says(name: str, seed: int, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said, make = CASES[name]
    made = make(np.random.default_rng(seed))
    whole, found = judged(made, 1 << 60, monkeypatch), judged(made, step, monkeypatch)
    assert (whole.kind or whole.done) == said
    assert found == whole


def test_the_smallest_pieces_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is compared above are pieces, of whole blocks, that cover the tensor once."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(pairs, "STEP", 1)
    for source, target, width in (("Q4_1", "F32", 32), ("F32", "Q4_K", 256), ("F16", "F32", 1), ("AprQ8", "Q8_0", 32)):
        made = pairs.Pair(of(source, gaussian(rng, (2, 256))), of(target, gaussian(rng, (2, 256))))
        assert [first for first, _, _ in made.numbers()] == list(range(0, 512, width))
        assert all(len(before) == len(after) == width for _, before, after in made.numbers())


@pytest.mark.parametrize("step", [1, 700, 1 << 60])
@pytest.mark.parametrize("kind", ["F32", "F16", "F64", "I32"])
def test_transposed_in_pieces(kind: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "STEP", step)
    values = np.arange(7 * 5 * 3).reshape(7, 5, 3).astype(np.float32)
    source, target = of(kind, values), of(kind, np.ascontiguousarray(values.T))
    assert pairs.transposed(source, target)
    other = values.copy()
    other[-1, -1, -1] += 1
    assert not pairs.transposed(of(kind, other), target)


def test_tensors_that_begin_alike_are_not_the_same() -> None:
    values = gaussian(np.random.default_rng(0))
    other = values.copy()
    other[-1, -1] += 1
    assert same(raw("F32", values), raw("F32", values))
    assert not same(raw("F32", values), raw("F32", other))
    assert not same(raw("F32", values), raw("F32", -values))
