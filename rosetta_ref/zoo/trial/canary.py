"""The canary: a converter that must never live. It is no bug of anybody's and no member."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.zoo.files import floats, in_gguf
from rosetta_ref.zoo.member import Member, writing_of


def _swapped(archive: Archive) -> Archive:
    """The first two neighbouring bytes that differ, in the first tensor that has such, in each other's place."""
    for name, one in archive.tensors.items():
        data = one.data.copy()
        places = np.flatnonzero(data[:-1] != data[1:])
        if places.size:
            first = int(places[0])
            data[[first, first + 1]] = data[[first + 1, first]]
            return replace(archive, tensors=archive.tensors | {name: Tensor.of(name, one.type, one.shape, data)})
    return archive


CANARY = Member(
    "canary", "canary", "ours",
    "swaps two bytes of a tensor's data in the output",
    "any", "tensors whose bytes are all equal",
    ("G-A", "A-G", "G-S", "S-G", "A-S", "S-A"), ("gguf", "apr", "safetensors"),
    writing_of(_swapped),
    in_gguf(floats("F32", 1, 2)),
    in_gguf(floats("F32", 0, 0)),
)  # fmt: skip
