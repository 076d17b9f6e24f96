"""Every cell of the table of types: carried, repacked, decoded, or refused by name."""

from __future__ import annotations

from pathlib import Path

import gguf as gguf_py
import numpy as np
import pytest

import rosetta_ref
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.convert.policy import RefusedTypeError, document, rule_for
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.quant import TYPES
from tests.support import ggml

SHAPE = (3, 512)
READ = {"gguf": gguf.read, "apr": apr.read, "safetensors": safetensors.read}
WRITE = {"gguf": gguf.write, "apr": apr.write, "safetensors": safetensors.write}
#: What the README's table says, cell by cell, for the types of each row: to GGUF, to APR, to APR natively, to SafeTensors.
EXPECTED = {
    ("F32", "F16", "BF16", "F64", "I8", "I32", "I64"): ("carried",) * 4,
    ("I16",): ("carried", "carried", "decoded F32", "carried"),
    ("Q4_K", "Q6_K"): ("carried", "carried", "carried", "decoded F32"),
    ("Q4_0",): ("carried", "repacked AprQ4", "repacked AprQ4", "decoded F32"),
    ("Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q5_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL",
     "IQ3_S", "IQ2_S", "IQ4_XS", "IQ1_M", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0"): (
         "carried", "carried", "decoded F32", "decoded F32"),
    ("AprQ4",): ("repacked Q4_0", "carried", "carried", "decoded F32"),
    ("AprQ8",): ("decoded F32", "carried", "carried", "decoded F32"),
    ("U8",): ("refused", "carried", "carried", "carried"),
    ("U16", "U32", "U64", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"): ("refused", "refused", "refused", "carried"),
}  # fmt: skip
TARGETS = ("gguf", "apr", "apr-native", "safetensors")
#: Types of ggml that have no decoder yet: they are carried, and nothing else.
CARRIED: set[str] = set()
CELLS = [
    (name, target, row[i]) for names, row in EXPECTED.items() for name in names for i, target in enumerate(TARGETS)
]


def payload(name: str) -> Tensor:
    """Blocks of small random numbers: every scale is 2^-3 or so, all codes are random."""
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    kind = TYPES[name].sized(SHAPE[0] * SHAPE[1])
    if kind.is_scalar and "f" in kind.layout.split(":")[1]:
        return Tensor.of(name, TYPES[name], SHAPE, rng.standard_normal(SHAPE).astype(kind.dtype["x"]))
    raw = rng.integers(0, 2 if name == "BOOL" else 120, TYPES[name].nbytes(SHAPE), dtype=np.uint8)
    blocks = raw.view(kind.dtype)
    for field in ("d", "dmin", "m", "s"):
        if field in kind.dtype.fields and name != "NVFP4":
            blocks[field] = rng.choice([0.125, -0.25, 0.3], blocks.shape)
    return Tensor.of(name, TYPES[name], SHAPE, raw)


def source_format(name: str) -> str:
    return "gguf" if TYPES[name].id is not None else "apr" if name.startswith("Apr") else "safetensors"


def test_the_document_is_current() -> None:
    assert (Path(__file__).parents[2] / "docs" / "conversions.md").read_text("utf-8") == document()


def test_no_type_is_forgotten() -> None:
    """Every type of ggml has a row; the others are SafeTensors' own, without a decoder and refused elsewhere."""
    named = {name for names in EXPECTED for name in names}
    rest = TYPES.keys() - named
    assert rest == {"C64", "F4", "F6_E2M3", "F6_E3M2"}
    for name in rest:
        for target in ("gguf", "apr"):
            assert rule_for(TYPES[name], target, 512).action == "refused"
    assert {kind.name for kind in TYPES.values() if kind.id is not None and kind.decode is None} == CARRIED


@pytest.mark.parametrize(("name", "target", "cell"), CELLS, ids=[f"{n}-{t}" for n, t, _ in CELLS])
def test_cell(name: str, target: str, cell: str, tmp_path: Path) -> None:
    origin, (kind, _, native) = source_format(name), target.partition("-")
    action, _, wanted = cell.partition(" ")
    tensor = payload(name)
    if origin == kind:
        assert rule_for(TYPES[name], kind, SHAPE[-1], apr_native=bool(native)).action == action
        return
    source, out = tmp_path / f"in.{origin}", tmp_path / f"out.{kind}"
    WRITE[origin](Archive(origin, {}, {name: tensor}), source)
    options = {"dtype": "f32"} if kind == "safetensors" else {"apr_native": bool(native)}
    if action == "refused":
        with pytest.raises(RefusedTypeError, match=name):
            rosetta_ref.convert(source, out, keep_names=True, **options)
        assert not out.exists()
        return
    report = rosetta_ref.convert(source, out, keep_names=True, **options)
    if not (kind == "safetensors" and name in ("F16", "BF16")):
        assert dict(report.actions) == {action: 1}
    with READ[kind](out) as written:
        found = written.tensors[name]
        assert found.shape == SHAPE
        if action == "carried" and not (kind == "safetensors" and name in ("F16", "BF16")):
            assert found.type.name == name
            assert found.data.tobytes() == tensor.data.tobytes()
        else:
            assert found.type.name == (wanted or "F32")
            np.testing.assert_array_equal(found.values(), expected_values(name, tensor))


def expected_values(name: str, tensor: Tensor) -> np.ndarray:
    """By gguf-py where it knows the type, else by ggml or the formula of the type."""
    raw = tensor.data.reshape(SHAPE[0], -1) if not name.startswith("Apr") else tensor.data
    if name in ("Q8_K", "Q8_1"):
        blocks = tensor.data.view(TYPES[name].dtype)
        return (blocks["qs"].astype(np.float32) * blocks["d"].astype(np.float32)[:, None]).reshape(SHAPE)
    if name in ("Q1_0", "Q2_0"):
        return ggml.decode(TYPES[name].id, tensor.data.tobytes(), SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    if name == "AprQ4":
        blocks = tensor.data.reshape(-1, 18)
        codes = np.stack([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=2).reshape(-1, 32).astype(np.float32) - 8
        return (codes * blocks[:, :2].copy().view("<f2").astype(np.float32)).reshape(SHAPE)
    if name == "AprQ8":
        return (raw[4:].view(np.int8).astype(np.float32) * raw[:4].view("<f4")).reshape(SHAPE)
    if name == "I16":
        return raw.view("<i2").astype(np.float32).reshape(SHAPE)
    return gguf_py.quants.dequantize(raw, gguf_py.GGMLQuantizationType[name]).reshape(SHAPE)
