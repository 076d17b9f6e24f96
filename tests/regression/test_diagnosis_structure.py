"""What the data alone tells, each thing done by hand to an output that was right, with no member of the zoo to help.

And next to each: with one element that does not fit, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.diagnosis import UNKNOWN, diagnose
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.quant import TYPES

A, B = "a.weight", "b.weight"
SHAPE = (6, 64)
#: 384 numbers, none twice, some tiny: exact in no narrow type.
NUMBERS = (np.random.default_rng(3).standard_normal(384).astype(np.float32) * 1.7).reshape(SHAPE)
OTHER = np.random.default_rng(4).standard_normal(384).astype(np.float32).reshape(SHAPE)
Values = np.ndarray[Any, np.dtype[np.float32]]


def tensor(name: str, kind: str, values: Values) -> Tensor:
    encode = TYPES[kind].encode
    assert encode is not None
    return Tensor.of(name, TYPES[kind], values.shape, encode(values.reshape(-1)))


def write(folder: Path, kind: str, *tensors: Tensor, suffix: str = "gguf") -> Path:
    path = folder / f"{kind}.{suffix}"
    metadata: dict[str, Any] = {"general.alignment": Value.scalar(Kind.U32, 32)} if suffix == "gguf" else {}
    module = {"gguf": gguf, "apr": apr, "safetensors": safetensors}[suffix]
    if suffix == "apr":
        metadata = {"model_type": "none"}
    module.write(Archive(suffix, metadata, {one.name: one for one in tensors}), path)
    return path


def source_of(kind: str, folder: Path) -> tuple[Path, Values]:
    """A file of two tensors of a type, and what the first one decodes to."""
    first = tensor(A, kind, NUMBERS)
    return write(folder, "source", first, tensor(B, kind, OTHER)), first.values()


def causes(source: Path, output: Path) -> dict[str, tuple[str, ...]]:
    return {name: one.ids for one in diagnose(source, output, members=[]) for name in one.tensors}


def text(source: Path, output: Path) -> str:
    return next(one.causes[-1].text for one in diagnose(source, output, members=[]) if A in one.tensors)


def roped(values: Values) -> Values:
    return values[[3, 1, 0, 2, 5, 4]]


def cut(values: Values) -> Values:
    bits = values.view(np.uint32) & 0xFFFF0000
    return bits.view(np.float32)


def first_rows(values: Values) -> Values:
    made = np.zeros_like(values)
    made.reshape(-1)[:96] = values.reshape(-1)[:96]
    return made


#: What was done to the numbers, the types of source and target, the cause, and a word of its text.
DONE: dict[str, tuple[Callable[[Values], Values], str, str, str, str]] = {
    "another's data": (lambda _: OTHER, "F32", "F32", "another-tensors-data", B),
    "factor": (lambda x: x * np.float32(8), "F32", "F32", "factor", "times 8"),
    "root": (lambda x: x * np.float32(24**-0.5), "F32", "F32", "factor", "0.20412"),
    "factor of decoded": (lambda x: x * np.float32(3), "Q8_0", "F32", "factor", "times 3"),
    "summand": (lambda x: x + np.float32(1), "F32", "F32", "summand", "+1"),
    "minus one": (lambda x: x - np.float32(1), "F32", "F32", "summand", "-1"),
    "sign": (lambda x: -x, "Q8_0", "F32", "sign-flipped", "other sign"),
    "bytes": (lambda x: x.byteswap(), "F32", "F32", "bytes-swapped", "F32"),
    "rows": (roped, "F32", "F32", "rows-permuted", "3, 1, 0, 2, 5, 4"),
    "rows of decoded": (roped, "Q4_0", "F32", "rows-permuted", "3, 1, 0, 2, 5, 4"),
    "rows upside down": (lambda x: x[::-1], "F32", "F32", "rows-permuted", "back to front"),
    "rows rolled": (lambda x: np.roll(x, -2, 0), "F32", "F32", "rows-permuted", "begun at row 2"),
    "rows, narrow": (roped, "F32", "F16", "rows-permuted", "3, 1, 0, 2, 5, 4"),
    "cut": (cut, "F32", "BF16", "truncated", "BF16"),
    "first only": (first_rows, "Q8_0", "F32", "first-part-only", "first 96 elements"),
    "again and again": (lambda x: np.resize(x.reshape(-1)[:32], SHAPE), "Q8_0", "F32", "first-part-repeated", "32"),
}


@pytest.mark.parametrize("case", DONE)
def test_what_was_done_to_the_numbers(case: str, tmp_path: Path) -> None:
    do, kind, other, cause, word = DONE[case]
    source, values = source_of(kind, tmp_path)
    made = np.ascontiguousarray(do(values))
    output = write(
        tmp_path,
        "out",
        tensor(A, other, made),
        tensor(B, kind, OTHER),
        suffix="safetensors" if kind == "F32" else "apr",
    )
    found = causes(source, output)
    assert found == {A: (cause,)}
    assert word in text(source, output)


@pytest.mark.parametrize("case", DONE)
def test_but_for_one_element(case: str, tmp_path: Path) -> None:
    do, kind, other, _, _ = DONE[case]
    source, values = source_of(kind, tmp_path)
    made = np.array(do(values))
    made[4, 3] = 0.5 if made[4, 3] != 0.5 else 0.25
    output = write(
        tmp_path,
        "out",
        tensor(A, other, made),
        tensor(B, kind, OTHER),
        suffix="safetensors" if kind == "F32" else "apr",
    )
    assert causes(source, output) == {A: (UNKNOWN,)}


def test_two_numbers_are_needed_for_a_factor(tmp_path: Path) -> None:
    """Of one number everything is a multiple."""
    source = write(tmp_path, "source", tensor(A, "F32", np.full((4, 4), 3.0, np.float32)))
    output = write(tmp_path, "out", tensor(A, "F32", np.full((4, 4), 4.0, np.float32)), suffix="safetensors")
    assert causes(source, output) == {A: (UNKNOWN,)}


def test_a_row_that_is_there_twice_proves_no_order(tmp_path: Path) -> None:
    values = NUMBERS.copy()
    values[1] = values[0]
    source = write(tmp_path, "source", tensor(A, "F32", values))
    output = write(tmp_path, "out", tensor(A, "F32", values[[2, 1, 0, 3, 4, 5]]), suffix="safetensors")
    assert causes(source, output) == {A: (UNKNOWN,)}


def test_the_shape_and_what_is_behind_it(tmp_path: Path) -> None:
    source, values = source_of("Q8_0", tmp_path)
    flat = values.reshape(-1)
    for number, (made, expected) in enumerate(
        [
            (values.reshape(64, 6), ("shape-not-reversed",)),
            (values.T, ("data-transposed-too",)),
            (values.reshape(1, *SHAPE), ("reshaped",)),
            ((flat * np.float32(2)).reshape(64, 6), ("shape-not-reversed", "factor")),
            ((values * np.float32(2)).T, ("data-transposed-too", "factor")),
            (-flat.reshape(64, 6) * np.float32(3.3) + 1, ("shape-not-reversed", UNKNOWN)),
        ]
    ):
        output = write(
            tmp_path,
            f"out{number}",
            tensor(A, "F32", np.ascontiguousarray(made)),
            tensor(B, "Q8_0", OTHER),
            suffix="apr",
        )
        assert causes(source, output) == {A: expected}


@pytest.mark.parametrize("shift", [-32, -8, 1, 8, 32, 64])
@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_bytes_from_another_place(kind: str, shift: int, tmp_path: Path) -> None:
    """Carried or decoded; of the second tensor, so that there is something before it and not much behind."""
    source, _ = source_of(kind, tmp_path)
    data = source.read_bytes()
    with gguf.read(source) as archive:
        start, nbytes = archive.tensors[B].offset + shift, archive.tensors[B].nbytes
        first = Tensor.of(A, TYPES[kind], SHAPE, archive.tensors[A].data.copy())
    moved = Tensor.of(B, TYPES[kind], SHAPE, data[start : start + nbytes].ljust(nbytes, b"\0"))
    with np.errstate(all="ignore"):
        decoded = Tensor.of(B, TYPES["F32"], SHAPE, moved.values())
    where = f"{abs(shift)} bytes {'later' if shift > 0 else 'earlier'}"
    for name, one in (("carried", moved), ("decoded", decoded)):
        (found,) = diagnose(source, write(tmp_path, name, first, one, suffix="apr"), members=[])
        assert (found.tensors, found.ids) == ((B,), ("shifted",))
        assert where in found.causes[0].text


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_1", "Q4_K", "Q6_K"])
def test_nibbles_in_each_others_place(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(5).standard_normal((2, 256)).astype(np.float32)
    right = tensor(A, kind, values)
    blocks = right.type.blocks(right.data).copy()
    field = "ql" if kind == "Q6_K" else "qs"
    blocks[field] = blocks[field] << 4 | blocks[field] >> 4
    wrong = Tensor.of(A, right.type, right.shape, blocks)
    source = write(tmp_path, "source", right)
    for number, made in enumerate((wrong, tensor(A, "F32", wrong.values()))):
        assert causes(source, write(tmp_path, f"out{number}", made, suffix="apr")) == {A: ("nibbles-swapped",)}


def test_blocks_read_as_numbers(tmp_path: Path) -> None:
    """As issue 177 has it: in the shape of the tensor with zeros behind the words, in a row of their own, or as other blocks."""
    source, _ = source_of("Q8_0", tmp_path)
    with gguf.read(source) as archive:
        raw = archive.tensors[A].data.tobytes()
    words = np.frombuffer(raw, "<f4")
    padded = np.zeros(SHAPE, np.float32)
    padded.reshape(-1)[: words.size] = words
    for number, made in enumerate((words, words.reshape(1, -1), padded)):
        one = Tensor.of(A, TYPES["F32"], made.shape, made)
        output = write(tmp_path, f"out{number}", one, tensor(B, "Q8_0", OTHER), suffix="apr")
        assert causes(source, output) == {A: ("quant-bytes-read-as-f32",)}
        assert "reading Q8_0 blocks as f32" in text(source, output)
    other = Tensor.of(A, TYPES["Q5_0"], SHAPE, raw[: TYPES["Q5_0"].nbytes(SHAPE)])
    output = write(tmp_path, "blocks", tensor(A, "F32", other.values()), tensor(B, "Q8_0", OTHER), suffix="apr")
    assert causes(source, output) == {A: ("bytes-read-as-another-type",)}
    assert "Q8_0, read as Q5_0" in text(source, output)


def test_a_half_read_as_the_other_half(tmp_path: Path) -> None:
    source, _ = source_of("BF16", tmp_path)
    with gguf.read(source) as archive:
        made = Tensor.of(A, TYPES["F16"], SHAPE, archive.tensors[A].data.copy())
    output = write(tmp_path, "out", made, tensor(B, "BF16", OTHER), suffix="safetensors")
    assert causes(source, output) == {A: ("bytes-read-as-another-type",)}
