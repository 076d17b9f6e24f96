"""Importance matrices that are damaged, foreign or incomplete, and mixes that cannot be made: refused by name, nothing is written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert import imatrix
from rosetta_ref.formats import gguf
from rosetta_ref.quant import TYPES
from tests.support.sketch import Sketch, write_imatrix

SKETCH = Sketch(layers=1, width=64, inner=64)
FIRST = "blk.0.attn_q.weight"


def floats(values: object, kind: str = "F32") -> Tensor:
    array = np.asarray(values, np.float32)
    encode = TYPES[kind].encode
    assert encode is not None
    return Tensor.of("t", TYPES[kind], array.shape, np.ascontiguousarray(encode(array)).view(np.uint8))


def rewritten(path: Path, change: Callable[[Archive], object]) -> Path:
    """The file with something changed, beside it."""
    target = path.with_name("changed.gguf")
    with gguf.read(path) as archive:
        change(archive)
        tensors = {n: Tensor(n, t.type, t.shape, t.source) for n, t in archive.tensors.items()}
        gguf.write(Archive("gguf", archive.metadata, tensors), target)
    return target


def refused(source: Path, folder: Path, **options: object) -> RosettaError:
    __tracebackhide__ = True
    (folder / "out").mkdir(exist_ok=True)
    with pytest.raises(RosettaError) as caught:
        rosetta_ref.convert(source, folder / "out" / "m.gguf", **options)
    assert list((folder / "out").iterdir()) == [], "something is left behind"
    return caught.value


DAMAGE: dict[str, tuple[Callable[[Archive], object], type[RosettaError], str]] = {
    "a model": (lambda a: a.metadata.pop("general.type"), imatrix.NotImatrixError, "general.type is None"),
    "another type": (
        lambda a: a.metadata.update({"general.type": Value.scalar(Kind.STRING, "model")}),
        imatrix.NotImatrixError,
        "general.type is 'model'",
    ),
    "no datasets": (lambda a: a.metadata.pop("imatrix.datasets"), imatrix.NotImatrixError, "imatrix.datasets is missing"),
    "no chunk size": (lambda a: a.metadata.pop("imatrix.chunk_size"), imatrix.NotImatrixError, "chunk_size is missing"),
    "a count that is a text": (
        lambda a: a.metadata.update({"imatrix.chunk_count": Value.scalar(Kind.STRING, "3")}),
        imatrix.NotImatrixError,
        "chunk_count is of kind STRING",
    ),
    "no entry": (lambda a: a.tensors.clear(), imatrix.NotImatrixError, "no tensor is a sum"),
    "no counts": (lambda a: a.tensors.pop(f"{FIRST}.counts"), imatrix.ImatrixEntryError, "counts is missing"),
    "no sums": (lambda a: a.tensors.pop(f"{FIRST}.in_sum2"), imatrix.ImatrixEntryError, "in_sum2 is missing"),
    "sums of F16": (
        lambda a: a.tensors.update({f"{FIRST}.in_sum2": floats(np.ones((1, 64)), "F16")}),
        imatrix.ImatrixEntryError,
        "in_sum2 is F16",
    ),
    "a NaN": (
        lambda a: a.tensors.update({f"{FIRST}.in_sum2": floats([[np.nan] + [1] * 63])}),
        imatrix.ImatrixEntryError,
        "in_sum2 has NaN",
    ),
    "an infinite count": (
        lambda a: a.tensors.update({f"{FIRST}.counts": floats([[np.inf]])}),
        imatrix.ImatrixEntryError,
        "counts has NaN",
    ),
    "a negative square": (
        lambda a: a.tensors.update({f"{FIRST}.in_sum2": floats([[-1] + [1] * 63])}),
        imatrix.ImatrixEntryError,
        "negative",
    ),
    "counts that do not divide": (
        lambda a: a.tensors.update({f"{FIRST}.counts": floats([[1], [1], [1]])}),
        imatrix.ImatrixEntryError,
        "64 sums and 3 counts",
    ),
    "too few columns": (
        lambda a: a.tensors.update({f"{FIRST}.in_sum2": floats(np.ones((1, 32)))}),
        imatrix.ImatrixSizeError,
        "32 weights for 1 x 64 columns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage(what: str, tmp_path: Path) -> None:
    change, error, problem = DAMAGE[what]
    source = SKETCH.write(tmp_path / "m.gguf")
    sound = write_imatrix(tmp_path / "sound.gguf", SKETCH.weights())
    rosetta_ref.convert(source, tmp_path / "sound-out.gguf", type="q4_0", imatrix=sound)
    caught = refused(source, tmp_path, type="q4_0", imatrix=rewritten(sound, change))
    assert type(caught) is error
    assert problem in caught.problem
    assert caught.file == tmp_path / "changed.gguf"
    assert caught.tensor in (None, FIRST)


def test_the_legacy_form(tmp_path: Path) -> None:
    name = FIRST.encode()
    values = np.ones(64, "<f4").tobytes()
    (tmp_path / "old.dat").write_bytes(struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii", 7, 64) + values)
    caught = refused(SKETCH.write(tmp_path / "m.gguf"), tmp_path, type="q4_0", imatrix=tmp_path / "old.dat")
    assert type(caught) is imatrix.LegacyImatrixError
    assert "llama-imatrix --in-file" in str(caught)


@pytest.mark.parametrize(
    "content", [b"", b"GGU", b"\x01\0\0\0\xff\xff\xff\xffabc", b"\x01\0\0\0\x03\0\0\0\x01\x02\x03", b"{}" * 40]
)
def test_what_is_no_matrix_of_any_form(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    caught = refused(SKETCH.write(tmp_path / "m.gguf"), tmp_path, type="q4_0", imatrix=tmp_path / "bad.gguf")
    assert not isinstance(caught, imatrix.LegacyImatrixError)
    assert caught.file == tmp_path / "bad.gguf"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rosetta_ref.convert(
            SKETCH.write(tmp_path / "m.gguf"), tmp_path / "o.gguf", type="q4_0", imatrix=tmp_path / "none.gguf"
        )
    assert not (tmp_path / "o.gguf").exists()


def test_the_matrix_of_another_model(tmp_path: Path) -> None:
    matrix = write_imatrix(tmp_path / "other.gguf", {"v.blk.0.attn_q.weight": np.ones((1, 64), np.float32)})
    caught = refused(SKETCH.write(tmp_path / "m.gguf"), tmp_path, type="q4_0", imatrix=matrix)
    assert type(caught) is imatrix.ForeignImatrixError


def test_what_an_entry_means(tmp_path: Path) -> None:
    """Sums by counts, a count to the nearest whole number; an expert that was never asked weighs all columns the same."""
    path = tmp_path / "i.gguf"
    write_imatrix(path, {"a": np.array([[2, 4], [6, 8], [10, 12]], np.float32)}, count=1)
    path = rewritten(path, lambda a: a.tensors.update({"a.counts": floats([[2.4], [0.5], [0]])}))
    read = imatrix.read_imatrix(path)
    assert read.weights["a"].tolist() == [1, 2, 6, 8, 1, 1]
    experts = Tensor("a", TYPES["F32"], (3, 5, 2), floats(np.ones((3, 5, 2))).source)
    assert read.of(experts).tolist() == [[1, 2], [6, 8], [1, 1]]
    assert (read.datasets, read.chunks) == (("calibration.txt", "more.txt"), 3)


def test_an_embedding_of_another_size_is_left_out(tmp_path: Path) -> None:
    weights = SKETCH.weights() | {"token_embd.weight": np.ones((1, 96), np.float32)}
    matrix = write_imatrix(tmp_path / "i.gguf", weights)
    report = rosetta_ref.convert(
        SKETCH.write(tmp_path / "m.gguf"), tmp_path / "o.gguf", type="q4_0", pure=True, imatrix=matrix
    )
    assert report.notes == ["1 tensors have no entry in the importance matrix: token_embd.weight"]


def test_the_keys_of_a_matrix_are_short_and_whole(tmp_path: Path) -> None:
    """Its path takes 127 bytes at most, and no part of a character: of two paths that differ in a byte, one is cut earlier."""
    source = SKETCH.write(tmp_path / "m.gguf")
    lengths = []
    for name in ("é" * 100, "x" + "é" * 100):
        (tmp_path / name).mkdir()
        matrix = write_imatrix(tmp_path / name / "i.gguf", SKETCH.weights(), chunks=0)
        rosetta_ref.convert(source, tmp_path / "o.gguf", type="q8_0", imatrix=matrix, force=True)
        with gguf.read(tmp_path / "o.gguf") as made:
            kept = made.metadata["quantize.imatrix.file"].plain()
            assert str(matrix).startswith(kept)
            lengths.append(len(kept.encode()))
            assert "quantize.imatrix.chunks_count" not in made.metadata
    assert sorted(lengths) == [126, 127]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"imatrix": "i.gguf", "force": True}, "--imatrix goes with --type"),
        ({"pure": True, "force": True}, "--pure goes with --type"),
        ({"type": "q9_k"}, "--type q9_k is not a type"),
    ],
)
def test_options_that_say_nothing(options: dict[str, object], problem: str, tmp_path: Path) -> None:
    source = tmp_path / "m.apr"
    rosetta_ref.convert(SKETCH.write(tmp_path / "m.gguf"), source, keep_names=True)
    caught = refused(source, tmp_path, **options)
    assert type(caught).__name__ == "OptionError"
    assert caught.problem == problem


def test_what_is_rounded_already_is_not_rounded_again(tmp_path: Path) -> None:
    source = SKETCH.write(tmp_path / "m.gguf")
    rosetta_ref.convert(source, tmp_path / "q8.gguf", type="q8_0")
    caught = refused(tmp_path / "q8.gguf", tmp_path, type="q4_0")
    assert (type(caught).__name__, caught.tensor) == ("RequantizedError", "blk.0.attn_k.weight")
    rosetta_ref.convert(tmp_path / "q8.gguf", tmp_path / "again.gguf", type="q8_0")
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "q8.gguf").read_bytes()


def test_few_bits_need_weights(tmp_path: Path) -> None:
    """Q2_K in a Q2_K_S file: without a matrix, and with one that does not know the tensor."""
    sketch = Sketch(layers=1)
    source = sketch.write(tmp_path / "m.gguf")
    matrix = write_imatrix(tmp_path / "i.gguf", {FIRST: np.ones((1, 256), np.float32)})
    for options in ({}, {"imatrix": matrix}):
        caught = refused(source, tmp_path, type="q2_k_s", **options)
        assert type(caught) is imatrix.MissingImportanceError
        assert caught.tensor == "blk.0.attn_k.weight"
        assert ("no entry" if options else "--imatrix") in str(caught)


@pytest.mark.parametrize(
    ("change", "kind", "error"),
    [
        (lambda a: a.metadata.pop("llama.block_count"), "q4_k_m", "MissingKeyError"),
        (lambda a: a.metadata.update({"general.architecture": Value.scalar(Kind.STRING, "glm5-next")}), "q4_k_m", "UnknownMixRulesError"),
        (lambda a: a.tensors.update({FIRST: floats(np.ones((2, 96)))}), "q1_0", "RaggedRowError"),
        (lambda a: a.tensors.update({FIRST: floats(np.ones((2, 64)), "I32")}), "q8_0", "RequantizedError"),
    ],
    ids=["no number of layers", "rules of its own", "rows without a stand-in", "integers"],
)  # fmt: skip
def test_a_mix_that_cannot_be_made(change: Callable[[Archive], object], kind: str, error: str, tmp_path: Path) -> None:
    source = rewritten(Sketch(layers=1, width=256).write(tmp_path / "m.gguf"), change)
    assert type(refused(source, tmp_path, type=kind)).__name__ == error
