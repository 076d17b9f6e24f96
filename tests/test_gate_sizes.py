"""What 16 bits do not count, and the longest names: wrong converters of which nothing else is wrong are seen, and right ones pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.converter import bundled, named
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import CORROBORATED, Result
from rosetta_ref.gate.inputs import large
from rosetta_ref.gate.inputs.default import default
from rosetta_ref.gate.run.engine import large_samples_for, run
from rosetta_ref.zoo.member import writing_each

CASES = ("F-CONV-003/floats/f32/long-rows/*", "F-CONV-003/floats/f32/many-rows/*", "F-CONV-003/legacy/q8_0/long-rows/*",
         "F-CONV-NAME-001/G-S/floats")  # fmt: skip


def columns_in_16_bits(one: Tensor) -> Tensor:
    """Of a longer row the columns are counted from 0 again, as a kernel with an index of 16 bits does it."""
    if not one.shape or one.shape[-1] <= 1 << 16 or not one.type.is_scalar:
        return one
    rows = one.data.view(f"V{one.type.block_bytes}").reshape(one.shape)
    return Tensor.of(one.name, one.type, one.shape, rows[..., np.arange(one.shape[-1]) & 0xFFFF])


def rows_in_16_bits(one: Tensor) -> Tensor:
    """The same of rows."""
    if len(one.shape) < 2 or one.shape[0] <= 1 << 16:
        return one
    rows = one.data.reshape(one.shape[0], -1)
    return Tensor.of(one.name, one.type, one.shape, rows[np.arange(one.shape[0]) & 0xFFFF])


def name_in_62_bytes(one: Tensor) -> Tensor:
    """One byte too few for the longest name."""
    return replace(one, name=one.name[:62])


@pytest.fixture
def reference() -> Callable[[], list[Result]]:
    return lambda: run(named.made(bundled.entry("reference")), only=CASES, jobs=1)


@pytest.mark.parametrize("wrong", [columns_in_16_bits, rows_in_16_bits, name_in_62_bytes])
def test_each_is_seen(wrong: Callable[[Tensor], Tensor], reference: Callable[[], list[Result]]) -> None:
    with writing_each(wrong, "safetensors")():
        results = reference()
    assert [result.case for result in results if result.outcome != CORROBORATED]


def test_a_right_one_passes(reference: Callable[[], list[Result]]) -> None:
    results = reference()
    assert len(results) == len(CASES)
    assert [result.case for result in results if result.outcome != CORROBORATED] == []


def test_names_are_the_longest_that_ggml_loads(tmp_path: Path) -> None:
    """64 bytes with the zero behind them (GGML_MAX_NAME); they are read by gguf-py, and more than 16 bits of them are rows."""
    sample = next(sample for sample in default(0) if sample.name == "floats")
    named_so = [tensor for name, tensor in sample.model.tensors.items() if len(name.encode()) == 63]
    assert {max(tensor.shape) for tensor in named_so} == {large.BEYOND}
    from rosetta_ref.gate.inputs.write import write

    read = gguf.GGUFReader(write(sample, "gguf", tmp_path))
    assert {int(max(tensor.shape)) for tensor in read.tensors if len(tensor.name) == 63} == {large.BEYOND}


def test_the_nightly_profile_has_what_is_larger() -> None:
    found = {sample.name: sample for sample in large_samples_for(Entry("any", function="any:any"), 0)}
    assert len(found["many-tensors"].model.tensors) > 1 << 16
    layers = {name.split(".")[1] for name in found["llama-255-layers"].model.tensors if name.startswith("blk.")}
    assert len(layers) == 255
    assert large_samples_for(Entry("any", function="any:any", types=("F16",)), 0) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_reference_takes_what_is_larger() -> None:
    entry = bundled.entry("reference")
    samples = large_samples_for(entry, 0)
    results = run(named.made(entry), samples=samples, only=("F-CONV-00?/*", "F-CONV-CARD-001/*", "F-CONV-META-001/*"))
    assert len(results) > 30
    assert [result.case for result in results if result.outcome != CORROBORATED] == []
