"""Converters that are wrong, each in a way of its own, as functions of (source, target)."""

from __future__ import annotations

import time
from pathlib import Path

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.convert import convert
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import MEMBERS


def wrong_values(src: Path, dst: Path) -> None:
    """Another reading of the scales of Q4_K."""
    MEMBERS["k-scales-bit-stream"].convert(src, dst)


def wrong_in_two_types(src: Path, dst: Path) -> None:
    """Two bugs that nobody knows: in the last element of a row of Q5_0, and in the first one of Q4_1. To SafeTensors."""
    made = {}
    for name, tensor in gguf.read(src).tensors.items():
        values = tensor.values().reshape(tensor.shape).copy()
        if tensor.type.name == "Q5_0":
            values[..., -1] = 3 * values[..., -1] + 1
        if tensor.type.name == "Q4_1":
            values[..., 0] -= 0.375
        made[name] = Tensor.of(name, TYPES["F32"], tensor.shape, values.reshape(-1))
    Path(dst).mkdir()
    safetensors.write(Archive("safetensors", {}, made), Path(dst) / "model.safetensors")


def takes_what_is_cut(src: Path, dst: Path) -> None:
    """A cut file is filled up."""
    MEMBERS["truncation-accepted"].convert(src, dst)


def wrong_on_the_way_back(src: Path, dst: Path) -> None:
    """Right as long as nobody comes back to GGUF."""
    if Path(dst).suffix == ".gguf":
        MEMBERS["gate-and-up-exchanged"].convert(src, dst)
    else:
        convert(src, dst, keep_blocks=False, extra_keys=False)


def refuses(src: Path, dst: Path) -> None:
    """Nothing is good enough."""
    raise ValueError(f"no {Path(src).name} today")


def crashes(src: Path, dst: Path) -> None:
    """Dies."""
    raise SystemError("dead")


def hangs(src: Path, dst: Path) -> None:
    """Takes its time."""
    time.sleep(600)


def writes_nothing(src: Path, dst: Path) -> None:
    """Says that all is well."""


def writes_what_nobody_reads(src: Path, dst: Path) -> None:
    """A file of another version."""
    Path(dst).write_bytes(b"GGUF of tomorrow")
